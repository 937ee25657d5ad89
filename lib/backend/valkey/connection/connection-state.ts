import { Patience } from '../../../patience.ts'
import {
  causeOf,
  classifyFailure,
  type Failure,
  notConnected,
  placeOf,
  unexpectedReply,
} from '../commands/failures.ts'
import type { CommandSender, ValkeyClient } from './client.ts'
import { isSocketOwner, outliveErrors, primaryAt } from './client.ts'
import { type ConnectionTrouble, troubleOf } from './connection-trouble.ts'

/** For how long a connection whose user or database was refused is not asked for it again. */
const REFUSED_FOR_MS = 1000

const known = new WeakMap<ValkeyClient, ConnectionState>()

/**
 * The state of a client's connection: one for all who share it, so that its listeners do not add up. Those for `error`
 * also keep the client from printing its errors, and the process from dying of them; its commands tell of them.
 */
export function connectionStateOf(client: ValkeyClient): ConnectionState {
  const state = known.get(client) ?? new ConnectionState(client)
  known.set(client, state)
  return state
}

interface Unready {
  readonly failure: Failure
  readonly isDoubtful: boolean
}

/** Whether a client can send, and waiting until it can: its commands would fail at once, as it keeps no offline queue. */
export class ConnectionState {
  readonly #client: ValkeyClient
  readonly #waiting = new Set<() => void>()
  readonly #onConnection = new Set<() => void>()
  readonly #onRefresh = new Set<() => void>()
  readonly #trouble: ConnectionTrouble
  /** By connection: a cluster's client has a new one for each, that of one server stays the same. */
  #setUps = new WeakMap<CommandSender, Promise<Failure | undefined>>()
  /** The connections that need no set-up, or have had it. */
  #usable = new WeakSet<CommandSender>()

  constructor(client: ValkeyClient) {
    this.#client = client
    this.#trouble = troubleOf(client)
    client.on('ready', () => {
      this.#setUps = new WeakMap()
      this.#usable = new WeakSet()
      for (const listener of this.#onConnection) listener()
      this.#wake()
    })
    client.on('refresh', () => {
      // The first comes before the client's own ready check, which fails if anything else was sent.
      if (this.isReady) for (const listener of this.#onRefresh) listener()
    })
    client.on('end', () => this.#wake())
    client.on('connect', () => makeRoom(client))
    outliveErrors(client)
    for (const node of client.nodes?.('all') ?? []) outliveErrorsOf(node)
    client.on('+node', outliveErrorsOf)
  }

  get isReady(): boolean {
    return this.#client.status === 'ready' && !this.#trouble.isImpostor
  }

  /**
   * Why the connection to the primary at an address, or the only one, cannot be used, if so; `undefined` if it is known
   * to be usable. A client whose SELECT or
   * AUTH is refused says so in an event, or on the console, and goes on with database 0 or as the default user; asked
   * again on the same connection, the refusal shows.
   */
  setUp(address: string | undefined): Promise<Failure | undefined> | undefined {
    const sender = address === undefined ? this.#client : primaryAt(this.#client, address)
    if (sender === undefined || this.#usable.has(sender)) return undefined
    const commands = setUpOf(sender)
    if (commands.length === 0) {
      this.#usable.add(sender)
      return undefined
    }
    const setUp = this.#setUps.get(sender) ?? this.#run(sender, commands)
    this.#setUps.set(sender, setUp)
    return setUp
  }

  /** Calls the listener, which must not throw, for this connection and each later one. Returns what ends the calls. */
  onConnection(listener: () => void): () => void {
    this.#onConnection.add(listener)
    if (this.isReady) listener()
    return () => this.#onConnection.delete(listener)
  }

  /** Calls the listener, which must not throw, whenever a cluster's client has asked which node serves which slot. */
  onRefresh(listener: () => void): () => void {
    this.#onRefresh.add(listener)
    return () => this.#onRefresh.delete(listener)
  }

  /**
   * Resolves to `undefined` once commands can be sent, or to why they could not within `waitMs`, which is in doubt if this
   * process was busy meanwhile: its client's own limit passed, too. With `mayRevive` a
   * client that has given up is told to connect again: iovalkey's gives up for good when a failover is announced
   * while it asks the sentinels for the primary.
   */
  async wait(waitMs: number, { mayRevive = false } = {}): Promise<Unready | undefined> {
    const isIdle = this.#client.status === 'wait' || (mayRevive && this.#client.status === 'end')
    if (isIdle) this.#client.connect().catch(() => {})
    const isDoubtful = this.#client.status !== 'end' && (await this.#nextChange(waitMs))
    if (this.isReady) return undefined
    const { cause } = this.#trouble
    return { failure: { ...notConnected, ...(cause && { reason: cause.reason, cause }) }, isDoubtful }
  }

  async #run(sender: CommandSender, commands: readonly SetUpCommand[]): Promise<Failure | undefined> {
    const setUps = this.#setUps
    try {
      const replies = await Promise.all(commands.map((command) => sender.callBuffer(...command)))
      if (replies.every((reply) => String(reply) === 'OK')) {
        if (this.#setUps === setUps) this.#usable.add(sender)
        return undefined
      }
      this.#forgetSetUp(sender, 0)
      return { ...unexpectedReply, mayBeApplied: false }
    } catch (error) {
      const failure = classifyFailure(error)
      this.#forgetSetUp(sender, failure.isWorthRepeating ? 0 : REFUSED_FOR_MS)
      return { ...failure, mayBeApplied: false, cause: causeOf(error, placeOf(sender)) }
    }
  }

  #forgetSetUp(sender: CommandSender, afterMs: number): void {
    setTimeout(() => this.#setUps.delete(sender), afterMs).unref()
  }

  /** Resolves to whether this process was busy meanwhile. */
  #nextChange(waitMs: number): Promise<boolean> {
    return new Promise((resolve) => {
      const done = () => {
        patience.end()
        this.#waiting.delete(done)
        resolve(patience.wasBusy)
      }
      const patience = new Patience(waitMs, done)
      this.#waiting.add(done)
    })
  }

  #wake(): void {
    for (const done of this.#waiting) done()
  }
}

type SetUpCommand = readonly [name: string, argument: string | number]

/** What is to be asked again on each connection. A user that is refused by name shows in an event. */
function setUpOf(sender: CommandSender): readonly SetUpCommand[] {
  // Not a connection, but what has one to each node.
  if ('nodes' in sender) return []
  const { options } = sender as {
    readonly options?: { readonly username?: unknown; readonly password?: unknown }
  }
  const database = databaseOf(sender)
  const isDefaultUser = typeof options?.password === 'string' && !options.username
  return [
    ...(isDefaultUser ? [['auth', options.password] as const] : []),
    ...(database === 0 ? [] : [['select', database] as const]),
  ]
}

// Of a cluster's client each node has a socket.
function outliveErrorsOf(node: object): void {
  if (isSocketOwner(node)) outliveErrors(node)
}

// Every READONLY of a pipeline makes iovalkey leave the socket once more, with a listener each time; more than ten make
// Node print a warning about a leak that is none.
function makeRoom({ stream }: ValkeyClient): void {
  stream?.setMaxListeners(0)
}

interface ClientState {
  readonly mode?: string
  readonly condition?: { readonly select?: number } | undefined
  readonly options?: { readonly db?: number; readonly keyPrefix?: string } | undefined
}

/** Where the commands of a client go, as its options say. */
export interface Usage {
  readonly database: number
  readonly keyPrefix: string
}

export function usageOf(client: object): Usage {
  return { database: databaseOf(client), keyPrefix: (client as ClientState).options?.keyPrefix ?? '' }
}

/** The database that a client selects for each connection; 0 is the default. */
export function databaseOf(client: object): number {
  return (client as ClientState).options?.db ?? 0
}

/**
 * What an app that shares its client has changed of it, if anything under which commands would go elsewhere: to other
 * keys, or nowhere. A transaction it has begun shows by the replies alone.
 */
export function changeOf(client: object, { database, keyPrefix }: Usage): string | undefined {
  const { mode = 'normal', condition, options } = client as ClientState
  if (mode !== 'normal') return `it is in ${mode} mode`
  if (databaseOf(client) !== database) return 'its option "db" was changed'
  // Not known before the first connection.
  if ((condition?.select ?? database) !== database)
    return 'it is in another database than its option "db" says'
  return (options?.keyPrefix ?? '') === keyPrefix ? undefined : 'its option "keyPrefix" was changed'
}
