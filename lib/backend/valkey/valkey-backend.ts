import { describeFailure, failureOf, SessionInvalidError } from '../../errors.ts'
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
import { Admission } from './checks/admission.ts'
import { probeHearing, probeRights } from './checks/rights-probe.ts'
import { inspectServers } from './checks/server-inspection.ts'
import type { BreakerOptions } from './commands/breaker.ts'
import { ValkeyLink } from './commands/link.ts'
import { askAnyPrimary } from './commands/primaries.ts'
import { ServerClock } from './commands/server-clock.ts'
import type { ValkeyClient } from './connection/client.ts'
import { createKeys, type Keys } from './keys.ts'
import { NoticeChannel } from './notice-channel.ts'
import {
  decodeRecordValue,
  decodeTombstoneValue,
  LAST_TOMBSTONE_BYTE,
  lastByteToRead,
} from './record-value.ts'
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
  /** As in `ValkeyLinkOptions`. */
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
  readonly #link: ValkeyLink
  // Also looks at servers that nothing else is sent to.
  readonly #inspector: ValkeyLink
  readonly #looking: ValkeyLink
  readonly #admission: Admission | undefined
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
    const link = { client, commandTimeoutMs, connectTimeoutMs, retries, ownsClient }
    this.#inspected = { client, acceptsPlaintext }
    this.#admission = unsafeServer && new Admission({ client, acceptsPlaintext, ...unsafeServer })
    const admission = unsafeServer?.isRefused ? this.#admission : undefined
    this.#link = new ValkeyLink({ ...link, breaker, admission })
    this.#inspector = new ValkeyLink({ ...link, breaker: false })
    this.#notices = new NoticeChannel({ ...this.#timing, channel: this.#keys.notices })
    const registry = { keysOf: this.#keys.registry, clock: this.#clock }
    this.registry = new ValkeyRegistry({ ...registry, link: this.#link })
    this.#looking = new ValkeyLink({ ...link, breaker, admission })
    this.lookout = new ValkeyLookout({
      client,
      keys: this.#keys,
      link: this.#looking,
      registry: new ValkeyRegistry({ ...registry, link: this.#looking }),
      now: async () => this.#clock.read() ?? this.#askTime(this.#looking),
    })
  }

  async get(handle: string, maxBytes: number): Promise<StoredRecord | 'unreadable' | undefined> {
    const key = this.#keys.record(handle)
    try {
      const value = await this.#link.read({
        to: { key },
        send: (client) => client.callBuffer('getrange', key, 0, lastByteToRead(maxBytes)),
        decode: (reply) => (Buffer.isBuffer(reply) ? reply : undefined),
      })
      return decodeRecordValue(value, maxBytes)
    } catch (error) {
      if (error instanceof SessionInvalidError) return 'unreadable'
      throw error
    }
  }

  async put(handle: string, write: RecordWrite): Promise<PutReply> {
    checkWrite(write)
    const sentAtMs = this.#clock.stamp()
    const { value, mayBeRepeated } = await putRecord(this.#link, { ...this.#keysOf(handle), write })
    this.#clock.observe(value.nowMs, sentAtMs)
    if (value.answer === 'stored') return { answer: 'stored', expiresAtMs: value.expiresAtMs }
    return { answer: value.answer === 'conflict' && mayBeRepeated ? 'unsure' : value.answer }
  }

  async touch(handle: string, ttlMs: number, isExtension = false): Promise<number | undefined> {
    const { recordKey } = this.#keysOf(handle)
    const sentAtMs = this.#clock.stamp()
    const { value } = await touchRecord(this.#link, { recordKey, ttlMs: wholeTtl(ttlMs), isExtension })
    this.#clock.observe(value.nowMs, sentAtMs)
    return value.expiresAtMs
  }

  async end(handle: string, ending: RecordEnding): Promise<EndReply> {
    const sentAtMs = this.#clock.stamp()
    const end = {
      ...this.#keysOf(handle),
      handle,
      channel: this.#keys.notices,
      ending: wholeEnding(ending),
      maxBlobBytes: this.#maxBlobBytes,
    }
    const { nowMs, ...reply } = (await endRecord(this.#link, end)).value
    this.#clock.observe(nowMs, sentAtMs)
    return reply
  }

  async ending(handle: string): Promise<Buffer | undefined> {
    const key = this.#keys.tombstone(handle)
    const value = await this.#link.read({
      to: { key },
      send: (client) => client.callBuffer('getrange', key, 0, LAST_TOMBSTONE_BYTE),
      decode: (reply) => (Buffer.isBuffer(reply) ? reply : undefined),
    })
    const kept = decodeTombstoneValue(value)
    if (kept === 'unreadable') throw new SessionInvalidError()
    return kept
  }

  subscribe(listener: NoticeListener): () => void {
    this.#link.checkOpen()
    return this.#notices.subscribe(listener)
  }

  async *handles(): AsyncIterable<readonly string[]> {
    for await (const keys of scanKeys(this.#link, this.#keys.recordPattern))
      yield keys.map((key) => this.#keys.handleOf(key)).filter((handle) => handle !== undefined)
  }

  /**
   * The server's time without a round trip per call: it comes with every reply of a script, and is asked for when
   * none came for a minute. In a cluster it is the time of the primary that answered last.
   */
  async now(): Promise<number> {
    this.#link.checkOpen()
    const nowMs = this.#clock.read()
    if (nowMs !== undefined) return nowMs
    this.#asking ??= this.#askTime(this.#link).finally(() => {
      this.#asking = undefined
    })
    return this.#asking
  }

  // By the link whose failures count for nothing: it goes beside the calls that matter.
  mark(mark: string): Promise<string[]> {
    return markPrefix(this.#inspector, { key: this.#keys.marks, mark, keepMs: MARK_KEEP_MS })
  }

  async ping(): Promise<void> {
    await askAnyPrimary(this.#link, 'ping', (reply) => String(reply) === 'PONG' || undefined)
  }

  async confirm({ handles, owner }: EndedHandles, terms: ReplicaTerms): Promise<number> {
    const keys = handles.map((handle) => this.#keys.tombstone(handle))
    const state = owner === undefined ? [] : [this.#keys.registry(owner)[3]]
    return confirmReplicas(this.#timing, { ...terms, keys: [...keys, ...state] })
  }

  get condition(): Condition {
    return this.#link.condition
  }

  async inspect(): Promise<readonly Finding[]> {
    try {
      this.#link.checkOpen()
      return [
        ...(await inspectServers(this.#inspector, this.#inspected)),
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
    this.#admission?.close()
    await Promise.all([this.#link, this.#looking, this.#inspector].map((link) => link.close()))
    if (this.#ownsClient) this.#client.disconnect()
  }

  #keysOf(handle: string): { recordKey: string; tombstoneKey: string } {
    return { recordKey: this.#keys.record(handle), tombstoneKey: this.#keys.tombstone(handle) }
  }

  async #askTime(link: ValkeyLink): Promise<number> {
    const sentAtMs = this.#clock.stamp()
    const serverMs = await askAnyPrimary(link, 'time', decodeTime)
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
