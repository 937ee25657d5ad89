import type { Finding } from '../../finding.ts'
import { classifyFailure, type Failure, notConnected } from '../commands/failures.ts'
import { primaryAt } from '../commands/key-slot.ts'
import type { ServerGate } from '../commands/link.ts'
import { readinessOf } from '../commands/readiness.ts'
import type { CommandRunner, ValkeyClient } from '../connection/client.ts'
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
// The client connects to it again when it learns its slots anew.
const notThere: Failure = { ...notConnected, isWorthRepeating: true }
const REFUSED_FOR_MS = 1000

/**
 * Looks at the server behind each new connection, before anything is sent to it or beside that; and at what becomes a
 * primary of a cluster later. Each is looked at by itself: one that is away holds up nothing that goes to others, while
 * one that is unsafe is reason enough to refuse everything.
 */
export class Admission implements ServerGate {
  readonly #options: AdmissionOptions
  readonly #stops: readonly (() => void)[]
  #verdicts = new WeakMap<CommandRunner, Promise<Failure | undefined>>()
  #errors = new Map<CommandRunner, readonly Finding[]>()
  #reported = ''

  constructor(options: AdmissionOptions) {
    this.#options = options
    const readiness = readinessOf(options.client)
    this.#stops = [
      readiness.onConnection(() => this.#lookAnew()),
      readiness.onRefresh(() => this.#lookAtAll()),
    ]
  }

  /** Why nothing may be sent, if so: to the primary at an address, where there are several, or else to any. */
  async refusal(address?: string): Promise<Failure | undefined> {
    const { client } = this.#options
    const asked = address === undefined ? runnersOf(client) : [primaryAt(client, address)]
    const unsafe = runnersOf(client).filter((runner) => this.#errors.get(runner)?.length)
    const verdicts = await Promise.all([...asked, ...unsafe].map((runner) => this.#verdictOn(runner)))
    return verdicts.find((verdict) => verdict !== undefined)
  }

  close(): void {
    this.#verdicts = new WeakMap()
    for (const stop of this.#stops) stop()
  }

  #lookAnew(): void {
    this.#verdicts = new WeakMap()
    this.#errors = new Map()
    this.#lookAtAll()
  }

  #lookAtAll(): void {
    for (const runner of runnersOf(this.#options.client)) void this.#verdictOn(runner)
  }

  #verdictOn(runner: CommandRunner | undefined): Promise<Failure | undefined> {
    if (runner === undefined) return Promise.resolve(notThere)
    const verdict = this.#verdicts.get(runner) ?? this.#look(runner)
    this.#verdicts.set(runner, verdict)
    return verdict
  }

  async #look(runner: CommandRunner): Promise<Failure | undefined> {
    const verdicts = this.#verdicts
    try {
      const errors = distinct(await this.#errorsOf(runner))
      if (verdicts !== this.#verdicts) return undefined
      this.#errors.set(runner, errors)
      this.#report()
      if (errors.length === 0) return undefined
      this.#after(REFUSED_FOR_MS, runner, () => this.#leaveIfReplica(errors))
      return unsafe
    } catch (error) {
      this.#after(0, runner, () => {})
      return { ...classifyFailure(error), mayBeApplied: false }
    }
  }

  /** What is unsafe. Where an unsafe server is refused, so is one that does not show what it is. */
  async #errorsOf(runner: CommandRunner): Promise<readonly Finding[]> {
    const { acceptsPlaintext, isRefused } = this.#options
    const told = infoFindings(await this.#info(runner))
    const unsafe = told.filter(
      ({ severity }) => severity === 'error' || (isRefused && severity === 'unknown'),
    )
    return [...(acceptsPlaintext ? [] : plaintextOf(runner)), ...unsafe]
  }

  async #info(runner: CommandRunner): Promise<unknown> {
    try {
      return await runner.callBuffer('info')
    } catch (error) {
      if (classifyFailure(error).reason === 'no-permission') return undefined
      throw error
    }
  }

  /** Forgets the verdict on a connection that is still in use. The operator may mend a server while it runs. */
  #after(ms: number, runner: CommandRunner, then: () => void): void {
    const verdicts = this.#verdicts
    setTimeout(() => {
      if (verdicts !== this.#verdicts) return
      verdicts.delete(runner)
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

  #report(): void {
    const current = new Set(runnersOf(this.#options.client))
    for (const runner of this.#errors.keys()) if (!current.has(runner)) this.#errors.delete(runner)
    const errors = distinct([...this.#errors.values()].flat())
    const codes = errors.map(({ code }) => code).join(' ')
    if (codes !== '' && codes !== this.#reported) this.#options.report(errors)
    this.#reported = codes
  }
}

function runnersOf(client: ValkeyClient): readonly CommandRunner[] {
  const nodes = client.nodes?.('master') ?? []
  return nodes.length > 0 ? nodes : [client]
}
