import type { Finding } from '../finding.ts'
import type { CommandRunner, ValkeyClient } from './client.ts'
import { classifyFailure, type Failure } from './failures.ts'
import { readinessOf } from './readiness.ts'
import { distinct, infoFindings, plaintextOf } from './server-inspection.ts'

export interface AdmissionOptions {
  readonly client: ValkeyClient
  /** Whether an unsafe server is not used at all, so that one which became a replica must be left by us. */
  readonly isRefused: boolean
  /** Whether a connection to another machine may be without TLS. */
  readonly acceptsPlaintext: boolean
  /** Told of what is unsafe, at most once for the same. Must not throw. */
  report(findings: readonly Finding[]): void
}

const unsafe: Failure = { reason: 'unsafe-server', mayBeApplied: false, isWorthRepeating: false }
const REFUSED_FOR_MS = 1000

/**
 * Looks at the server behind each new connection, before anything is sent to it or beside that; and at what becomes a
 * primary of a cluster later, beside that.
 */
export class Admission {
  readonly #options: AdmissionOptions
  readonly #known = new WeakSet<CommandRunner>()
  #verdict: Promise<Failure | undefined> | undefined
  #connections = 0
  #reported = ''

  readonly #stops: readonly (() => void)[]

  constructor(options: AdmissionOptions) {
    this.#options = options
    const readiness = readinessOf(options.client)
    this.#stops = [
      readiness.onConnection(() => this.#lookAnew()),
      readiness.onRefresh(() => void this.#lookAtNew()),
    ]
  }

  /** Why nothing may be sent, if so. */
  refusal(): Promise<Failure | undefined> {
    this.#verdict ??= this.#look(this.#connections)
    return this.#verdict
  }

  close(): void {
    this.#connections += 1
    for (const stop of this.#stops) stop()
  }

  #lookAnew(): void {
    this.#connections += 1
    this.#verdict = undefined
    void this.refusal()
  }

  // Nothing waits for it: a primary that is away must not hold up what goes to the others.
  async #lookAtNew(): Promise<void> {
    const unknown = runnersOf(this.#options.client).filter((runner) => !this.#known.has(runner))
    const looks = await Promise.allSettled(unknown.map((runner) => this.#errorsOf(runner)))
    if (looks.some((look) => look.status === 'fulfilled' && look.value.length > 0)) this.#lookAnew()
  }

  async #look(connection: number): Promise<Failure | undefined> {
    try {
      const found = await Promise.all(runnersOf(this.#options.client).map((runner) => this.#errorsOf(runner)))
      const errors = distinct(found.flat())
      this.#report(errors)
      if (errors.length === 0) return undefined
      this.#after(REFUSED_FOR_MS, connection, () => this.#leaveIfReplica(errors))
      return unsafe
    } catch (error) {
      this.#after(0, connection, () => {})
      return { ...classifyFailure(error), mayBeApplied: false }
    }
  }

  /** What is unsafe, as far as the user may look. */
  async #errorsOf(runner: CommandRunner): Promise<readonly Finding[]> {
    this.#known.add(runner)
    const plaintext = this.#options.acceptsPlaintext ? [] : plaintextOf(runner)
    try {
      const told = infoFindings(await runner.callBuffer('info'))
      return [...plaintext, ...told.filter(({ severity }) => severity === 'error')]
    } catch (error) {
      if (classifyFailure(error).reason === 'no-permission') return plaintext
      this.#known.delete(runner)
      throw error
    }
  }

  /** Forgets the verdict on a connection that is still in use. The operator may mend a server while it runs. */
  #after(ms: number, connection: number, then: () => void): void {
    setTimeout(() => {
      if (connection !== this.#connections) return
      this.#verdict = undefined
      then()
    }, ms).unref()
  }

  // Nothing is sent that READONLY could answer, at which the client would look for the primary by itself.
  #leaveIfReplica(errors: readonly Finding[]): void {
    const { client, isRefused } = this.#options
    if (!isRefused || !errors.some(({ code }) => code === 'replica')) return
    if (client.refreshSlotsCache) client.refreshSlotsCache()
    else client.disconnect(true)
  }

  #report(errors: readonly Finding[]): void {
    const codes = errors.map(({ code }) => code).join(' ')
    if (codes !== '' && codes !== this.#reported) this.#options.report(errors)
    this.#reported = codes
  }
}

function runnersOf(client: ValkeyClient): readonly CommandRunner[] {
  const nodes = client.nodes?.('master') ?? []
  return nodes.length > 0 ? nodes : [client]
}
