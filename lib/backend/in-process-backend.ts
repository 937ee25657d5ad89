import { StoreClosedError } from '../errors.ts'
import { checkHandle, checkWrite, wholeEnding, wholeTtl } from './arguments.ts'
import {
  type Backend,
  type EndReply,
  type Expectation,
  etagOf,
  type Fate,
  type Lookout,
  MARK_KEEP_MS,
  type NoticeListener,
  type PutReply,
  type RecordEnding,
  type RecordWrite,
  type StoredRecord,
} from './backend.ts'
import { InProcessRegistry } from './in-process-registry.ts'
import { Notices } from './notices.ts'

const SWEEP_INTERVAL_MS = 60_000
const BATCH_SIZE = 500

interface Lapsing {
  readonly expiresAtMs: number
}

interface KeptRecord extends StoredRecord {
  /** Infinity if it has none. */
  readonly endsAtMs: number
  readonly owner: string | undefined
}

interface Tombstone extends Lapsing {
  readonly owner: string | undefined
  readonly blob: Buffer
}

export interface InProcessBackendOptions {
  /** The clock, in ms, that decides what has expired. */
  readonly clock: { now(): number }
}

/**
 * Keeps records in the memory of this process. It is the executable specification of {@link Backend}: each verb runs to its end
 * before anything else does, and every other backend must return what it returns.
 */
export class InProcessBackend implements Backend {
  readonly condition = {}
  readonly registry: InProcessRegistry
  readonly lookout: Lookout
  readonly #clock: { now(): number }
  readonly #records = new Map<string, KeptRecord>()
  readonly #tombstones = new Map<string, Tombstone>()
  readonly #marks = new Map<string, Lapsing>()
  readonly #notices = new Notices()
  readonly #sweeper: NodeJS.Timeout
  #isClosed = false

  constructor(options: InProcessBackendOptions) {
    this.#clock = options.clock
    this.registry = new InProcessRegistry(options)
    const { registry } = this
    this.lookout = { registry, fates: async (handles) => handles.map((handle) => this.#fate(handle)) }
    this.#sweeper = sweeperOf(new WeakRef(this))
  }

  async get(handle: string, maxBytes: number): Promise<StoredRecord | 'unreadable' | undefined> {
    const { record } = this.#find(handle)
    if (record === undefined) return undefined
    if (record.blob.length > maxBytes) return 'unreadable'
    return { blob: Buffer.from(record.blob), expiresAtMs: record.expiresAtMs }
  }

  async put(handle: string, write: RecordWrite): Promise<PutReply> {
    const { record, tombstone, nowMs } = this.#find(handle)
    checkWrite(write)
    const ttlMs = wholeTtl(write.ttlMs)
    if (tombstone) return { answer: 'ended' }
    if (record && etagOf(record.blob).equals(etagOf(write.blob))) {
      return { answer: 'stored', expiresAtMs: record.expiresAtMs }
    }
    const refusal = refusalOf(write.expect, record)
    if (refusal !== undefined) return { answer: refusal }

    const { endsAtMs = Number.POSITIVE_INFINITY, owner, isExtension = false } = write
    if (endsAtMs <= nowMs) return { answer: 'gone' }
    const leastMs = isExtension ? (record?.expiresAtMs ?? 0) : 0
    const expiresAtMs = Math.min(Math.max(nowMs + ttlMs, leastMs), endsAtMs)
    this.#records.set(handle, { blob: Buffer.from(write.blob), expiresAtMs, endsAtMs, owner })
    return { answer: 'stored', expiresAtMs }
  }

  async touch(handle: string, ttlMs: number, isExtension = false): Promise<number | undefined> {
    const { record, nowMs } = this.#find(handle)
    const wholeMs = wholeTtl(ttlMs)
    if (record === undefined || record.endsAtMs <= nowMs) return undefined
    const aimMs = isExtension ? Math.max(nowMs + wholeMs, record.expiresAtMs) : nowMs + wholeMs
    const expiresAtMs = Math.min(aimMs, record.endsAtMs)
    this.#records.set(handle, { ...record, expiresAtMs })
    return expiresAtMs
  }

  async end(handle: string, ending: RecordEnding): Promise<EndReply> {
    const { record, tombstone, nowMs } = this.#find(handle)
    const { blob, ownedTtlMs, fenceTtlMs } = wholeEnding(ending)
    if (tombstone) return { answer: 'already-ended', owner: tombstone.owner }

    const owner = record?.owner
    const expiresAtMs = nowMs + (owner === undefined ? fenceTtlMs : ownedTtlMs)
    this.#records.delete(handle)
    this.#tombstones.set(handle, { owner, blob: Buffer.from(blob), expiresAtMs })
    this.#notices.notify({ handle, owner })
    return { answer: record ? 'ended' : 'missing', blob: record?.blob, owner }
  }

  async ending(handle: string): Promise<Buffer | undefined> {
    const { tombstone } = this.#find(handle)
    return tombstone && Buffer.from(tombstone.blob)
  }

  subscribe(listener: NoticeListener): () => void {
    this.#checkOpen()
    const subscriber = this.#notices.add(listener)
    this.#notices.notifyGap(subscriber)
    return () => this.#notices.remove(subscriber)
  }

  async *handles(): AsyncIterable<readonly string[]> {
    this.#checkOpen()
    const handles = [...this.#records.keys()]
    for (let start = 0; start < handles.length; start += BATCH_SIZE) {
      this.#checkOpen()
      const nowMs = this.#now()
      yield handles.slice(start, start + BATCH_SIZE).filter((handle) => living(this.#records, handle, nowMs))
    }
  }

  now(): number | Promise<number> {
    return this.#isClosed ? Promise.reject(new StoreClosedError()) : this.#now()
  }

  async mark(mark: string): Promise<string[]> {
    this.#checkOpen()
    const nowMs = this.#now()
    if (mark !== '') this.#marks.set(mark, { expiresAtMs: nowMs + MARK_KEEP_MS })
    return [...this.#marks.keys()].filter((each) => living(this.#marks, each, nowMs))
  }

  async ping(): Promise<void> {
    this.#checkOpen()
  }

  async confirm(): Promise<0> {
    return 0
  }

  async inspect(): Promise<[]> {
    return []
  }

  async close(): Promise<void> {
    this.#isClosed = true
    clearInterval(this.#sweeper)
    this.#notices.clear()
    this.registry.close()
    this.#records.clear()
    this.#tombstones.clear()
  }

  #find(handle: string): { record: KeptRecord | undefined; tombstone: Tombstone | undefined; nowMs: number } {
    this.#checkOpen()
    checkHandle(handle)
    const nowMs = this.#now()
    return {
      record: living(this.#records, handle, nowMs),
      tombstone: living(this.#tombstones, handle, nowMs),
      nowMs,
    }
  }

  #fate(handle: string): Fate | undefined {
    if (this.#isClosed) return undefined
    const { record, tombstone, nowMs } = this.#find(handle)
    if (tombstone) return { state: 'ended', blob: Buffer.from(tombstone.blob), owner: tombstone.owner }
    return record ? { state: 'active', leftMs: record.expiresAtMs - nowMs } : { state: 'absent' }
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new StoreClosedError()
  }

  #now(): number {
    return Math.floor(this.#clock.now())
  }

  /** Frees what has expired. */
  sweep(): void {
    const nowMs = this.#now()
    for (const handle of this.#records.keys()) living(this.#records, handle, nowMs)
    for (const handle of this.#tombstones.keys()) living(this.#tombstones, handle, nowMs)
    this.registry.sweep()
  }
}

// A timer is never freed, nor is what it holds on to: a backend that was dropped without `close` must not be among that.
function sweeperOf(backend: WeakRef<InProcessBackend>): NodeJS.Timeout {
  const sweeper = setInterval(() => {
    const kept = backend.deref()
    if (kept) kept.sweep()
    else clearInterval(sweeper)
  }, SWEEP_INTERVAL_MS)
  return sweeper.unref()
}

// As a Valkey key does (keyIsExpired: now > when), an entry lives through the ms it expires in.
function living<Entry extends Lapsing>(
  entries: Map<string, Entry>,
  handle: string,
  nowMs: number,
): Entry | undefined {
  const entry = entries.get(handle)
  if (entry === undefined || nowMs <= entry.expiresAtMs) return entry
  entries.delete(handle)
  return undefined
}

function refusalOf(expect: Expectation, record: KeptRecord | undefined): 'conflict' | 'gone' | undefined {
  if (expect.kind === 'any') return undefined
  if (expect.kind === 'absent') return record ? 'conflict' : undefined
  if (record === undefined) return 'gone'
  return etagOf(record.blob).equals(expect.etag) ? undefined : 'conflict'
}
