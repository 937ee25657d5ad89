import type { Finding } from '../finding.ts'
import type { ValkeyClient } from './client.ts'
import { classifyFailure, type Failure } from './failures.ts'
import { readinessOf } from './readiness.ts'
import { infoFindings } from './server-inspection.ts'

export interface AdmissionOptions {
  readonly client: ValkeyClient
  /** Told of what is unsafe, at most once for the same. Must not throw. */
  report(findings: readonly Finding[]): void
}

const unsafe: Failure = { reason: 'unsafe-server', mayBeApplied: false, isWorthRepeating: false }
const REFUSED_FOR_MS = 1000

/** Looks at the server behind each new connection, before anything is sent to it or beside that. */
export class Admission {
  readonly #options: AdmissionOptions
  #verdict: Promise<Failure | undefined> | undefined
  #reported = ''

  readonly #stop: () => void

  constructor(options: AdmissionOptions) {
    this.#options = options
    this.#stop = readinessOf(options.client).onConnection(() => {
      this.#verdict = undefined
      void this.refusal()
    })
  }

  /** Why nothing may be sent, if so. */
  refusal(): Promise<Failure | undefined> {
    this.#verdict ??= this.#look()
    return this.#verdict
  }

  close(): void {
    this.#stop()
  }

  async #look(): Promise<Failure | undefined> {
    try {
      const replies = await Promise.all(
        runnersOf(this.#options.client).map((runner) => runner.callBuffer('info')),
      )
      const errors = replies.flatMap(infoFindings).filter(({ severity }) => severity === 'error')
      this.#report(errors)
      if (errors.length === 0) return undefined
      this.#forgetIn(REFUSED_FOR_MS)
      return unsafe
    } catch (error) {
      const failure = classifyFailure(error)
      if (failure.reason === 'no-permission') return undefined
      this.#forgetIn(0)
      return { ...failure, mayBeApplied: false }
    }
  }

  // The operator may mend a server while it runs.
  #forgetIn(ms: number): void {
    setTimeout(() => {
      this.#verdict = undefined
    }, ms).unref()
  }

  #report(errors: readonly Finding[]): void {
    const codes = errors.map(({ code }) => code).join(' ')
    if (codes !== '' && codes !== this.#reported) this.#options.report(errors)
    this.#reported = codes
  }
}

function runnersOf(client: ValkeyClient) {
  const nodes = client.nodes?.('master') ?? []
  return nodes.length > 0 ? nodes : [client]
}
