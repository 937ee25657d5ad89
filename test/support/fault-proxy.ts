import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import type { Fault, FaultCounts, FaultState } from './fault.ts'
import { freePort } from './free-port.ts'
import { ProxiedConnection, type Target } from './proxied-connection.ts'

export type { Fault, FaultCounts } from './fault.ts'

const HOST = '127.0.0.1'
const PASS: Fault = { kind: 'pass' }

/**
 * A TCP proxy in front of a server that can do to its traffic what networks and dying servers do. Begins by passing
 * everything on; `set` changes that while connections are open.
 */
export class FaultProxy {
  readonly host = HOST
  readonly port: number
  readonly counts: FaultCounts = { connections: 0, requestBytes: 0, replyBytes: 0, droppedReplies: 0 }
  readonly #target: Target
  readonly #listener: Server
  readonly #connections = new Set<ProxiedConnection>()
  #state: FaultState
  #announceChange: () => void = () => undefined

  private constructor(target: Target, port: number) {
    this.port = port
    this.#target = target
    this.#state = this.#stateOf(PASS)
    this.#listener = createServer({ allowHalfOpen: true }, (client) => this.#accept(client))
  }

  static async start(target: Target): Promise<FaultProxy> {
    const proxy = new FaultProxy(target, await freePort())
    await proxy.#listen()
    return proxy
  }

  get url(): string {
    return `valkey://${HOST}:${this.port}`
  }

  get fault(): Fault {
    return this.#state.fault
  }

  /** How many connections are open now. */
  get open(): number {
    return this.#connections.size
  }

  /** Brings a fault into force; resolves when it is. `{ kind: 'pass' }` ends one. */
  async set(fault: Fault): Promise<void> {
    const before = this.fault
    const announceChange = this.#announceChange
    this.#state = this.#stateOf(fault)
    for (const connection of this.#connections) apply(fault, connection)
    if (fault.kind === 'refuse' && this.#listener.listening) await this.#unlisten()
    if (before.kind === 'refuse' && fault.kind !== 'refuse') await this.#listen()
    announceChange()
  }

  /** Ends it and all its connections. */
  async stop(): Promise<void> {
    await this.set({ kind: 'refuse' })
  }

  #stateOf(fault: Fault): FaultState {
    let drops = fault.kind === 'drop-reply' ? (fault.times ?? 1) : 0
    const takeDrop = (request: Buffer): boolean => {
      const isMeant = drops > 0 && fault.kind === 'drop-reply' && (fault.when?.(request) ?? true)
      if (isMeant) drops--
      return isMeant
    }
    const changed = new Promise<void>((resolve) => {
      this.#announceChange = resolve
    })
    return { fault, changed, counts: this.counts, takeDrop }
  }

  #accept(client: Socket): void {
    this.counts.connections++
    const connection = new ProxiedConnection(client, this.#target, () => this.#state)
    this.#connections.add(connection)
    void connection.closed.then(() => this.#connections.delete(connection))
    apply(this.fault, connection)
  }

  async #listen(): Promise<void> {
    this.#listener.listen(this.port, HOST)
    await once(this.#listener, 'listening')
  }

  async #unlisten(): Promise<void> {
    const closed = once(this.#listener, 'close')
    this.#listener.close()
    await closed
  }
}

/** Starts a proxy in front of a server; stop it after the test. */
export async function startFaultProxy(target: Target): Promise<FaultProxy> {
  return FaultProxy.start(target)
}

function apply(fault: Fault, connection: ProxiedConnection): void {
  const isHealed = fault.kind !== 'blackhole' && connection.lostBytes
  connection.recount()
  if (fault.kind === 'accept-then-close') connection.close()
  else if (isHealed || fault.kind === 'reset' || fault.kind === 'refuse') connection.reset()
}
