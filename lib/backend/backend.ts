/** The contract between the store and whatever keeps its records. */

import type { FailureCause } from '../errors.ts'
import type { Finding } from './finding.ts'
import type { Registry } from './registry.ts'

/** What a backend keeps under a handle. */
export interface StoredRecord {
  readonly blob: Buffer
  /** When the record expires, in ms of the backend's own clock (see {@link Backend.now}). */
  readonly expiresAtMs: number
}

/** Which state of the record a write asks for: none yet, exactly one version, or any that is not ended. */
export type Expectation =
  | { readonly kind: 'absent' }
  | { readonly kind: 'version'; readonly etag: Buffer }
  | { readonly kind: 'any' }

export interface RecordWrite {
  readonly expect: Expectation
  readonly blob: Buffer
  /** Idle lifetime from now, > 0. */
  readonly ttlMs: number
  /** Hard end in ms of the backend's clock; neither this write nor a later touch passes it. */
  readonly endsAtMs?: number | undefined
  /** Whose record it is: 43 characters of base64url, or none. */
  readonly owner?: string | undefined
  /** Whether the expiry is never to come nearer than that of the record it replaces, which a touch may have moved meanwhile. */
  readonly isExtension?: boolean | undefined
}

/**
 * - `stored`: the record now has these bytes; also when it had them already, so a repeat is harmless.
 * - `conflict`: it exists in another version than expected.
 * - `unsure`: as `conflict`, but on a repeat after a lost reply: the other version may be built upon ours.
 * - `gone`: a version was expected and there is none, or its hard end has passed.
 * - `ended`: a tombstone stands.
 */
export type PutAnswer = 'stored' | 'conflict' | 'unsure' | 'gone' | 'ended'

export interface PutReply {
  readonly answer: PutAnswer
  /** When the record expires; with `stored` only. */
  readonly expiresAtMs?: number | undefined
}

export interface RecordEnding {
  /** What the tombstone keeps: opaque here, may be empty, at most {@link MAX_ENDING_BYTES}. */
  readonly blob: Buffer
  /** How long the tombstone of a record with an owner stands, in ms. */
  readonly ownedTtlMs: number
  /** How long any other tombstone stands, in ms. */
  readonly fenceTtlMs: number
}

export interface EndReply {
  /** `missing`: there was neither a record nor a tombstone; there is a tombstone now. */
  readonly answer: 'ended' | 'already-ended' | 'missing'
  /** The blob that was removed, if there was one of readable size. */
  readonly blob?: Buffer | undefined
  /** The owner of the record that was removed, now or earlier, as far as the tombstone remembers it. */
  readonly owner?: string | undefined
}

/** What replicas should have. */
export interface EndedHandles {
  readonly handles: readonly string[]
  readonly owner?: string | undefined
}

export interface ReplicaTerms {
  readonly replicas: number
  /** How long to wait for them. */
  readonly timeoutMs: number
}

/** Says that a handle was ended, or fenced where there was no record. */
export interface EndNotice {
  readonly handle: string
  /** The owner of the record that was removed, if it had one. */
  readonly owner: string | undefined
}

export type BreakerState = 'closed' | 'open' | 'half-open'

/** What stands under a handle. */
export type Fate =
  | { readonly state: 'living'; readonly leftMs: number }
  /** With what the tombstone keeps. */
  | { readonly state: 'ended'; readonly blob: Buffer; readonly owner: string | undefined }
  | { readonly state: 'absent' }

/** Reads for those who wait for endings: they count as no failure of the backend, and are asked for in bulk. */
export interface Lookout {
  /**
   * What stands under each handle, in one round trip, or two if anything has ended; `undefined` where it cannot be found
   * out. Never rejects.
   */
  fates(handles: readonly string[]): Promise<readonly (Fate | undefined)[]>
  readonly registry: Pick<Registry, 'roster'>
}

/** How the calls to a backend have fared. */
export interface Condition {
  /**
   * Whether calls are sent (`closed`), answered without asking (`open`), or one of them is finding out (`half-open`);
   * of several primaries the worst.
   */
  readonly breaker?: BreakerState
  /** The same for each primary of a cluster that was asked, by `host:port`. */
  readonly primaries?: Readonly<Record<string, BreakerState>>
  /** The last attempt that failed, even if a repeat of it succeeded. */
  readonly lastFailure?: LastFailure
}

/** The root cause: a call that was not sent for want of a working connection does not take its place. */
export interface LastFailure extends FailureCause {
  /** `refused`: it was definitely not applied. `unknown`: it may have been. */
  readonly kind: 'refused' | 'unknown'
  readonly at: Date
}

/** Must not throw. */
export interface NoticeListener {
  notice(notice: EndNotice): void
  /** Notices may have been missed up to now: look again at whatever is waited for. */
  gap(): void
}

/**
 * Keeps opaque records until they expire, and tombstones where they were ended. It never sees a plaintext, a
 * name or a key. Every verb is atomic for its handle. Missing and expired are one answer, never an error; a
 * verb rejects only when the backend itself fails: with `StoreUnavailableError` when it was definitely not
 * applied, with `OutcomeUnknownError` when it may have been, with `SessionInvalidError` when what stands under
 * the handle is not a record.
 */
export interface Backend {
  readonly registry: Registry
  readonly lookout: Lookout
  /** The record, `undefined` if there is none, `'unreadable'` if it is larger than `maxBytes` (and then not fetched whole) or no record at all. */
  get(handle: string, maxBytes: number): Promise<StoredRecord | 'unreadable' | undefined>
  put(handle: string, write: RecordWrite): Promise<PutReply>
  /**
   * Moves the expiry of a living record to `ttlMs` from now, at most to its hard end; with `isExtension` never nearer than
   * it is. Answers the new expiry, or `undefined` if nothing lives there.
   */
  touch(handle: string, ttlMs: number, isExtension?: boolean): Promise<number | undefined>
  /** Removes the record and leaves a tombstone. The first tombstone stands; ending twice changes nothing. Allowed when memory is full. */
  end(handle: string, ending: RecordEnding): Promise<EndReply>
  /** What the tombstone keeps, empty for a mere fence; `undefined` if none stands. */
  ending(handle: string): Promise<Buffer | undefined>
  /**
   * Calls the listener for every handle that `end` newly ended or fenced, on any node, once the tombstone stands, in no
   * particular order; not for a repeat. Calls its `gap` once as soon as notices arrive, and again whenever they do
   * after an interruption. Answers the function that ends the calls. Throws `StoreClosedError` after `close`.
   */
  subscribe(listener: NoticeListener): () => void
  /** The handles of all living records, in batches, each handle at least once. */
  handles(): AsyncIterable<readonly string[]>
  /** The backend's clock in ms, the only one that decides what has expired. */
  now(): Promise<number>
  /**
   * How many replicas certainly have the endings of these handles, and the epoch of that owner; the least of them. 0 if
   * that cannot be found out. Never rejects.
   */
  confirm(ended: EndedHandles, terms: ReplicaTerms): Promise<number>
  /**
   * Leaves a mark of whoever uses the backend, for a day from the last time, and answers all marks that stand; an empty
   * one only looks.
   */
  mark(mark: string): Promise<readonly string[]>
  /** Resolves when the backend answers. */
  ping(): Promise<void>
  readonly condition: Condition
  /** What an operator should know of the servers. Never rejects. */
  inspect(): Promise<readonly Finding[]>
  /** Lets calls in flight settle, then frees what the backend itself opened. Later calls reject with `StoreClosedError`. */
  close(): Promise<void>
}

/** How long a mark stands. */
export const MARK_KEEP_MS = 86_400_000

/** How much a tombstone keeps at most. */
export const MAX_ENDING_BYTES = 65_536

/** Bytes at the end of a blob that name its version. */
export const ETAG_BYTES = 16

/** The etag of a blob: its last 16 bytes, the tail of its MAC. */
export function etagOf(blob: Buffer): Buffer {
  return blob.subarray(-ETAG_BYTES)
}
