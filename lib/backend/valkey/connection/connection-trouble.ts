import { connect } from 'node:net'
import { connect as connectTls, type ConnectionOptions as TlsOptions } from 'node:tls'
import { describeFailure, type FailureCause } from '../../../errors.ts'
import { Patience } from '../../../patience.ts'
import { causeOf, type Place, parseAddress, placeOf } from '../commands/failures.ts'
import type { ValkeyClient } from './client.ts'

/** How often the same is warned of at most. */
const WARNED_FOR_MS = 60_000
const MAX_WARNINGS = 100
const PROBED_FOR_MS = 1000
const DEFAULT_TIMEOUT_MS = 1000

const known = new WeakMap<ValkeyClient, ConnectionTrouble>()

/** The trouble of a client: one for all who share it, so that each warning is printed once. */
export function troubleOf(client: ValkeyClient): ConnectionTrouble {
  const trouble = known.get(client) ?? new ConnectionTrouble(client)
  known.set(client, trouble)
  return trouble
}

/** Why a client is not connected, as far as its events or a connection of our own show it; and the warnings of that. */
export class ConnectionTrouble {
  readonly #client: ValkeyClient
  readonly #warned = new Map<string, number>()
  #cause: FailureCause | undefined
  /** Whether the connection goes on as the default user, though the server refused the one it was to be. Set here alone. */
  isImpostor = false
  /** Whether the client has said itself why its present attempt to connect fails. */
  #isToldByClient = false
  #probedAt = Number.NEGATIVE_INFINITY

  constructor(client: ValkeyClient) {
    this.#client = client
    client.on('connecting', () => {
      this.#isToldByClient = false
    })
    client.on('connect', () => {
      this.isImpostor = false
    })
    client.on('ready', () => {
      if (!this.isImpostor) this.#cause = undefined
    })
    client.on('error', (error) => {
      const cause = causeOf(error, placeOf(client))
      this.isImpostor ||= cause.reason === 'not-authenticated' && !('startupNodes' in client)
      this.#note(cause)
    })
    // Of a cluster and of sentinels: which node it is.
    client.on('node error', (error, address?: unknown) => this.#note(causeOf(error, parseAddress(address))))
    client.on('sentinelError', (error) => this.#note(causeOfSentinel(error)))
    // A cluster whose names do not resolve has no other event.
    client.on('close', () => {
      if ('startupNodes' in client) void this.#probe()
    })
  }

  /** `undefined` while the client is connected, and as long as nothing is known. */
  get cause(): FailureCause | undefined {
    return this.#cause
  }

  /** Prints a process warning, unless the same was printed within the last minute. */
  warn(cause: FailureCause): void {
    const what = describeFailure(cause)
    const now = performance.now()
    if (now - (this.#warned.get(what) ?? Number.NEGATIVE_INFINITY) < WARNED_FOR_MS) return
    if (this.#warned.size >= MAX_WARNINGS) this.#warned.clear()
    this.#warned.set(what, now)
    process.emitWarning(
      `express-session-valkey cannot use its server (${what}); docs/ERRORS.md says what to do about each reason.`,
      { type: 'StoreUnavailableWarning', code: 'ESV_UNAVAILABLE' },
    )
  }

  #note(told: FailureCause): void {
    const cause = asConnecting(told)
    // An error of a cluster's client about all nodes adds nothing to that of one.
    if (cause.host === undefined && cause.reason === this.#cause?.reason) return
    // A consequence of the first error, such as the loss of commands in flight, does not replace it.
    if (this.#isVague(cause)) {
      this.#cause ??= cause
      if (this.#isConnecting()) void this.#probe(cause)
    } else {
      this.#isToldByClient = true
      this.#learn(cause)
    }
  }

  // A connection that breaks is no news; one that cannot be opened is.
  #learn(cause: FailureCause): void {
    this.#cause = cause
    if (this.#isConnecting()) this.warn(cause)
  }

  /**
   * Whether a connection of our own can show more: that TCP works and TLS does not, what a client keeps to itself, or
   * that only this process was late. A client's time limits do not know that it was busy.
   */
  #isVague({ reason, systemCode }: FailureCause): boolean {
    return systemCode === 'ETIMEDOUT' || (systemCode === undefined && reason === 'connection')
  }

  /** A cluster's client always may be, to one of its nodes. */
  #isConnecting(): boolean {
    return this.#client.status !== 'ready' || this.isImpostor || 'startupNodes' in this.#client
  }

  async #probe(vague?: FailureCause): Promise<void> {
    const now = performance.now()
    if (this.#isToldByClient || now - this.#probedAt < PROBED_FOR_MS) return
    this.#probedAt = now
    const places = vague?.host === undefined ? placesOf(this.#client) : [vague]
    const tls = tlsOf(this.#client)
    const faults = await Promise.all(
      places.map((place) => faultOf(place, { tls, timeoutMs: timeoutOf(this.#client) })),
    )
    const fault = faults.find((found) => found !== undefined) ?? (this.#cause === vague ? vague : undefined)
    const isOver = this.#client.status === 'end' || (vague === undefined && this.#client.status === 'ready')
    if (fault !== undefined && !isOver && !this.#isToldByClient) this.#learn(fault)
  }
}

// Of what fails while a client connects, no command is in doubt.
function asConnecting(cause: FailureCause): FailureCause {
  // Of AUTH, and of whatever the client sent without waiting for it, in no particular order.
  if (cause.reason === 'not-authenticated') return withoutCommand(cause)
  if (cause.reason === 'timeout') return { ...cause, reason: 'connection', systemCode: 'ETIMEDOUT' }
  return cause.reason === 'unknown' ? { ...cause, reason: 'connection' } : cause
}

function withoutCommand({ command: _command, ...cause }: FailureCause): FailureCause {
  return cause
}

function causeOfSentinel({ message }: Error): FailureCause {
  const [, address, why] = /^failed to connect to sentinel (\S+) because (.*)$/s.exec(message) ?? []
  if (why !== undefined) return causeOf(new Error(why), parseAddress(address))
  const [, knowing] = /^connected to sentinel (\S+) successfully/.exec(message) ?? []
  return { ...causeOf(undefined, parseAddress(knowing)), reason: 'unknown-primary' }
}

interface ClientSettings {
  readonly options?: {
    readonly tls?: unknown
    readonly sentinelTLS?: unknown
    readonly sentinels?: readonly Place[]
    readonly connectTimeout?: number
    readonly redisOptions?: { readonly tls?: unknown; readonly connectTimeout?: number }
  }
  readonly startupNodes?: readonly (Place | string | number)[]
}

/** Where the first connection of a cluster or to sentinels goes. */
function placesOf(client: object): readonly Place[] {
  const { options, startupNodes } = client as ClientSettings
  const nodes = startupNodes ?? options?.sentinels ?? [placeOf(client)]
  return nodes.filter((node): node is Place => typeof node === 'object')
}

function tlsOf(client: object): TlsOptions | undefined {
  const { options } = client as ClientSettings
  const tls = options?.sentinels ? options.sentinelTLS : (options?.tls ?? options?.redisOptions?.tls)
  if (typeof tls === 'object' && tls !== null) return tls
  return tls === true ? {} : undefined
}

function timeoutOf(client: object): number {
  const { options } = client as ClientSettings
  return options?.connectTimeout ?? options?.redisOptions?.connectTimeout ?? DEFAULT_TIMEOUT_MS
}

interface ProbeTerms {
  readonly tls: TlsOptions | undefined
  readonly timeoutMs: number
}

/** Opens a connection, over which nothing is sent, and closes it. Why that failed, if it did. */
function faultOf({ host, port }: Place, { tls, timeoutMs }: ProbeTerms): Promise<FailureCause | undefined> {
  if (host === undefined || port === undefined) return Promise.resolve(undefined)
  return new Promise((resolve) => {
    const socket = tls ? connectTls({ ...tls, host, port }) : connect({ host, port })
    let hasConnected = false
    const settle = (fault?: FailureCause) => {
      patience.end()
      socket.destroy()
      const isOfTls = fault?.reason === 'connection' && hasConnected
      resolve(isOfTls ? { ...fault, reason: 'tls' } : fault)
    }
    const late = Object.assign(new Error('late'), { code: 'ETIMEDOUT' })
    const patience = new Patience(timeoutMs, () => settle(causeOf(late, { host, port })))
    socket.unref()
    socket.on('error', (error) => settle(causeOf(error, { host, port })))
    socket.once('connect', () => {
      hasConnected = true
      if (tls === undefined) settle()
    })
    socket.once('secureConnect', () => settle())
  })
}
