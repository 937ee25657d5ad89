import type { Finding } from '../../finding.ts'
import type { Gate } from '../commands/command-runner.ts'
import { classifyFailure, type Failure, notConnected } from '../commands/failures.ts'
import { type CommandSender, primaryAt, type ValkeyClient } from '../connection/client.ts'
import { connectionStateOf } from '../connection/connection-state.ts'
import { distinct, infoFindings, plaintextOf } from './server-inspection.ts'

export interface ServerGateOptions {
  readonly client: ValkeyClient
  /** Whether an unsafe server is not used at all, so that one which became a replica must be left by us. */
  readonly isRefused: boolean
  /** Whether a connection to another machine may be without TLS. */
  readonly acceptsPlaintext: boolean
  /** Called with each new problem, once. Must not throw. */
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
export class ServerGate implements Gate {
  readonly #options: ServerGateOptions
  readonly #stops: readonly (() => void)[]
  #verdicts = new WeakMap<CommandSender, Promise<Failure | undefined>>()
  #errors = new Map<CommandSender, readonly Finding[]>()
  /** Those found to be safe. */
  #passed = new WeakSet<CommandSender>()
  #hasUnsafe = false
  #reported = ''

  constructor(options: ServerGateOptions) {
    this.#options = options
    const connection = connectionStateOf(options.client)
    this.#stops = [
      connection.onConnection(() => this.#lookAnew()),
      connection.onRefresh(() => this.#lookAtAll()),
    ]
  }

  /** Why nothing may be sent, if so: to the primary at an address, where there are several, or else to any. */
  refusal(address?: string): Promise<Failure | undefined> | undefined {
    const { client } = this.#options
    const sender = address === undefined ? client : primaryAt(client, address)
    if (!this.#hasUnsafe && sender !== undefined && this.#passed.has(sender)) return undefined
    return this.#refusal(address === undefined ? sendersOf(client) : [sender])
  }

  async #refusal(asked: readonly (CommandSender | undefined)[]): Promise<Failure | undefined> {
    const unsafe = sendersOf(this.#options.client).filter((sender) => this.#errors.get(sender)?.length)
    const verdicts = await Promise.all([...asked, ...unsafe].map((sender) => this.#verdictOn(sender)))
    return verdicts.find((verdict) => verdict !== undefined)
  }

  close(): void {
    this.#verdicts = new WeakMap()
    this.#passed = new WeakSet()
    for (const stop of this.#stops) stop()
  }

  #lookAnew(): void {
    this.#verdicts = new WeakMap()
    this.#errors = new Map()
    this.#passed = new WeakSet()
    this.#hasUnsafe = false
    this.#lookAtAll()
  }

  #lookAtAll(): void {
    for (const sender of sendersOf(this.#options.client)) void this.#verdictOn(sender)
  }

  #verdictOn(sender: CommandSender | undefined): Promise<Failure | undefined> {
    if (sender === undefined) return Promise.resolve(notThere)
    const verdict = this.#verdicts.get(sender) ?? this.#look(sender)
    this.#verdicts.set(sender, verdict)
    return verdict
  }

  async #look(sender: CommandSender): Promise<Failure | undefined> {
    const verdicts = this.#verdicts
    try {
      const errors = distinct(await this.#errorsOf(sender))
      if (verdicts !== this.#verdicts) return undefined
      this.#errors.set(sender, errors)
      this.#report()
      if (errors.length === 0) {
        this.#passed.add(sender)
        return undefined
      }
      this.#after(REFUSED_FOR_MS, sender, () => this.#leaveIfReplica(errors))
      return unsafe
    } catch (error) {
      this.#after(0, sender, () => {})
      return { ...classifyFailure(error), mayBeApplied: false }
    }
  }

  /** What is unsafe. Where an unsafe server is refused, so is one that does not show what it is. */
  async #errorsOf(sender: CommandSender): Promise<readonly Finding[]> {
    const { acceptsPlaintext, isRefused } = this.#options
    const told = infoFindings(await this.#info(sender))
    const unsafe = told.filter(
      ({ severity }) => severity === 'error' || (isRefused && severity === 'unknown'),
    )
    return [...(acceptsPlaintext ? [] : plaintextOf(sender)), ...unsafe]
  }

  async #info(sender: CommandSender): Promise<unknown> {
    try {
      return await sender.callBuffer('info')
    } catch (error) {
      if (classifyFailure(error).reason === 'no-permission') return undefined
      throw error
    }
  }

  /** Forgets the verdict on a connection that is still in use. The operator may mend a server while it runs. */
  #after(ms: number, sender: CommandSender, then: () => void): void {
    const verdicts = this.#verdicts
    setTimeout(() => {
      if (verdicts !== this.#verdicts) return
      verdicts.delete(sender)
      then()
    }, ms).unref()
  }

  // Sends nothing that READONLY could reply to, at which the client would look for the primary by itself.
  #leaveIfReplica(errors: readonly Finding[]): void {
    const { client, isRefused } = this.#options
    if (!isRefused || !errors.some(({ code }) => code === 'replica')) return
    if (client.refreshSlotsCache) client.refreshSlotsCache()
    else client.disconnect(true)
  }

  #report(): void {
    const current = new Set(sendersOf(this.#options.client))
    for (const sender of this.#errors.keys()) if (!current.has(sender)) this.#errors.delete(sender)
    const errors = distinct([...this.#errors.values()].flat())
    this.#hasUnsafe = errors.length > 0
    const codes = errors.map(({ code }) => code).join(' ')
    if (codes !== '' && codes !== this.#reported) this.#options.report(errors)
    this.#reported = codes
  }
}

function sendersOf(client: ValkeyClient): readonly CommandSender[] {
  const nodes = client.nodes?.('master') ?? []
  return nodes.length > 0 ? nodes : [client]
}
