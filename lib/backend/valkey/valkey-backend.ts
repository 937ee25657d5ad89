import { describeFailure, failureOf, SessionInvalidError, StoreClosedError } from '../../errors.ts'
import { checkWrite, wholeEnding, wholeTtl } from '../arguments.ts'
import {
  type Backend,
  type Condition,
  type EndedHandles,
  type EndReply,
  MARK_KEEP_MS,
  type NoticeListener,
  type PutReply,
  type RecordEnding,
  type RecordWrite,
  type ReplicaTerms,
  type StoredRecord,
} from '../backend.ts'
import type { Finding } from '../finding.ts'
import { probeHearing, probeRights } from './checks/rights-probe.ts'
import { ServerGate } from './checks/server-gate.ts'
import { inspectServers } from './checks/server-inspection.ts'
import type { BreakerOptions } from './commands/breaker.ts'
import { CommandRunner } from './commands/command-runner.ts'
import { askAnyPrimary } from './commands/primaries.ts'
import { ServerClock } from './commands/server-clock.ts'
import type { ValkeyClient } from './connection/client.ts'
import { createKeys, type Keys } from './keys.ts'
import { NoticeChannel } from './notice-channel.ts'
import { decodeTombstoneValue, LAST_TOMBSTONE_BYTE, readRecord } from './record-value.ts'
import { type ConfirmationOptions, confirmReplicas } from './replica-confirmation.ts'
import { scanKeys } from './scan.ts'
import { endRecord } from './scripts/end-record.ts'
import { markPrefix } from './scripts/mark-prefix.ts'
import { putRecord } from './scripts/put-record.ts'
import { touchRecord } from './scripts/touch-record.ts'
import { ValkeyLookout } from './valkey-lookout.ts'
import { ValkeyRegistry } from './valkey-registry.ts'

export interface ValkeyBackendOptions {
  readonly client: ValkeyClient
  /** 1 to 64 characters of `[A-Za-z0-9:_-]` before every key. */
  readonly prefix: string
  /** The largest blob that `end` returns. */
  readonly maxBlobBytes: number
  /** How long one attempt of a call may take. Default 500. */
  readonly commandTimeoutMs?: number | undefined
  /** How long a call waits for a client that is not connected yet. Default 250. */
  readonly connectTimeoutMs?: number | undefined
  /** How often a failed attempt is repeated. Default 1. */
  readonly retries?: number | undefined
  /** As in `CommandRunnerOptions`. */
  readonly breaker?: BreakerOptions | false | undefined
  /** Whether `close` disconnects the client. Default false. */
  readonly ownsClient?: boolean | undefined
  /** Whether a connection to another machine may be without TLS. Default false. */
  readonly acceptsPlaintext?: boolean | undefined
  /** What is done about a server that breaks a promise. Default: it is not looked at. */
  readonly unsafeServer?: UnsafeServerPolicy | undefined
}

export interface UnsafeServerPolicy {
  /** Whether it is not used at all; calls are then refused with the reason `unsafe-server`. */
  readonly isRefused: boolean
  /** Must not throw. */
  report(findings: readonly Finding[]): void
}

/** Keeps records in Valkey; docs/VALKEY.md has the keys, values and scripts. */
export class ValkeyBackend implements Backend {
  readonly registry: ValkeyRegistry
  readonly lookout: ValkeyLookout
  readonly #client: ValkeyClient
  readonly #keys: Keys
  readonly #commands: CommandRunner
  // Also looks at servers that nothing else is sent to.
  readonly #inspecting: CommandRunner
  readonly #looking: CommandRunner
  readonly #gate: ServerGate | undefined
  readonly #notices: NoticeChannel
  readonly #maxBlobBytes: number
  readonly #ownsClient: boolean
  readonly #inspected: { readonly client: ValkeyClient; readonly acceptsPlaintext: boolean }
  readonly #timing: ConfirmationOptions
  readonly #clock = new ServerClock()
  #asking: Promise<number> | undefined
  #closing: Promise<void> | undefined

  constructor(options: ValkeyBackendOptions) {
    const { client, commandTimeoutMs = 500, connectTimeoutMs = 250, retries = 1 } = options
    this.#keys = createKeys(options.prefix)
    this.#client = client
    this.#timing = { client, connectTimeoutMs, commandTimeoutMs }
    this.#maxBlobBytes = options.maxBlobBytes
    this.#ownsClient = options.ownsClient ?? false
    const { ownsClient, breaker, unsafeServer, acceptsPlaintext = false } = options
    const shared = { client, commandTimeoutMs, connectTimeoutMs, retries, ownsClient, clock: this.#clock }
    this.#inspected = { client, acceptsPlaintext }
    this.#gate = unsafeServer && new ServerGate({ client, acceptsPlaintext, ...unsafeServer })
    const gate = unsafeServer?.isRefused ? this.#gate : undefined
    this.#commands = new CommandRunner({ ...shared, breaker, gate })
    this.#inspecting = new CommandRunner({ ...shared, breaker: false })
    this.#notices = new NoticeChannel({ ...this.#timing, channel: this.#keys.notices })
    this.registry = new ValkeyRegistry(this.#commands, this.#keys.registry)
    this.#looking = new CommandRunner({ ...shared, breaker, gate })
    this.lookout = new ValkeyLookout({
      client,
      keys: this.#keys,
      commands: this.#looking,
      registry: new ValkeyRegistry(this.#looking, this.#keys.registry),
      now: async () => this.#clock.read() ?? this.#askTime(this.#looking),
    })
  }

  async get(handle: string, maxBytes: number): Promise<StoredRecord | 'unreadable' | undefined> {
    const found = await readRecord(this.#commands, this.#keys.record(handle), maxBytes)
    return found === 'absent' ? undefined : found
  }

  async put(handle: string, write: RecordWrite): Promise<PutReply> {
    checkWrite(write)
    const [recordKey, tombstoneKey] = [this.#keys.record(handle), this.#keys.tombstone(handle)]
    return await putRecord(this.#commands, { recordKey, tombstoneKey, write })
  }

  async touch(handle: string, ttlMs: number, isExtension = false): Promise<number | undefined> {
    const recordKey = this.#keys.record(handle)
    const touch = { recordKey, ttlMs: wholeTtl(ttlMs), isExtension }
    return (await touchRecord(this.#commands, touch)).expiresAtMs
  }

  async end(handle: string, ending: RecordEnding): Promise<EndReply> {
    return endRecord(this.#commands, {
      recordKey: this.#keys.record(handle),
      tombstoneKey: this.#keys.tombstone(handle),
      handle,
      channel: this.#keys.notices,
      ending: wholeEnding(ending),
      maxBlobBytes: this.#maxBlobBytes,
    })
  }

  async ending(handle: string): Promise<Buffer | undefined> {
    const key = this.#keys.tombstone(handle)
    const value = await this.#commands.read({
      to: { key },
      send: (client) => client.callBuffer('getrange', key, 0, LAST_TOMBSTONE_BYTE),
      decode: (reply) => (Buffer.isBuffer(reply) ? reply : undefined),
    })
    const kept = decodeTombstoneValue(value)
    if (kept === 'unreadable') throw new SessionInvalidError()
    return kept
  }

  subscribe(listener: NoticeListener): () => void {
    this.#commands.checkOpen()
    return this.#notices.subscribe(listener)
  }

  async *handles(): AsyncIterable<readonly string[]> {
    for await (const keys of scanKeys(this.#commands, this.#keys.recordPattern))
      yield keys.map((key) => this.#keys.handleOf(key)).filter((handle) => handle !== undefined)
  }

  /**
   * The server's time without a round trip per call: it comes with every reply of a script, and is asked for when
   * none came for a minute. In a cluster it is the time of the primary that replied last.
   */
  now(): number | Promise<number> {
    if (this.#closing) return Promise.reject(new StoreClosedError())
    const nowMs = this.#clock.read()
    if (nowMs !== undefined) return nowMs
    this.#asking ??= this.#askTime(this.#commands).finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  // By the runner whose failures count for nothing: it goes beside the calls that matter.
  mark(mark: string): Promise<string[]> {
    return markPrefix(this.#inspecting, { key: this.#keys.marks, mark, keepMs: MARK_KEEP_MS })
  }

  async ping(): Promise<void> {
    await askAnyPrimary(this.#commands, 'ping', (reply) => String(reply) === 'PONG' || undefined)
  }

  async confirm({ handles, owner }: EndedHandles, terms: ReplicaTerms): Promise<number> {
    const keys = handles.map((handle) => this.#keys.tombstone(handle))
    const state = owner === undefined ? [] : [this.#keys.registry(owner)[3]]
    return confirmReplicas(this.#timing, { ...terms, keys: [...keys, ...state] })
  }

  get condition(): Condition {
    return this.#commands.condition
  }

  async inspect(): Promise<readonly Finding[]> {
    try {
      this.#commands.checkOpen()
      return [
        ...(await inspectServers(this.#inspecting, this.#inspected)),
        ...(await probeRights(this)),
        ...(await probeHearing({ ...this.#timing, channel: this.#keys.notices })),
      ]
    } catch (error) {
      return [unreachable(error)]
    }
  }

  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#notices.close()
    this.#gate?.close()
    await Promise.all([this.#commands, this.#looking, this.#inspecting].map((commands) => commands.close()))
    if (this.#ownsClient) this.#client.disconnect()
  }

  async #askTime(commands: CommandRunner): Promise<number> {
    const sentAtMs = this.#clock.stamp()
    const serverMs = await askAnyPrimary(commands, 'time', decodeTime)
    this.#clock.observe(serverMs, sentAtMs)
    return this.#clock.read() ?? serverMs
  }
}

function unreachable(error: unknown): Finding {
  const failure = failureOf(error)
  return {
    code: 'unreachable',
    severity: 'error',
    message: `The server could not be asked (${describeFailure(failure)})`,
    action: 'Look the reason up in docs/ERRORS.md',
    failure,
  }
}

function decodeTime(reply: unknown): number | undefined {
  if (!Array.isArray(reply)) return undefined
  const ms = Number(reply[0]) * 1000 + Math.floor(Number(reply[1]) / 1000)
  return Number.isFinite(ms) ? ms : undefined
}
