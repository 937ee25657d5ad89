/** The contract between the store and the backend that keeps its records. */

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
 * - `ended`: a tombstone exists.
 */
export type PutAnswer = 'stored' | 'conflict' | 'unsure' | 'gone' | 'ended'

export interface PutReply {
  readonly answer: PutAnswer
  /** When the record expires; with `stored` only. */
  readonly expiresAtMs?: number | undefined
}

export interface RecordEnding {
  /** The content of the tombstone: opaque here, may be empty, at most {@link MAX_ENDING_BYTES}. */
  readonly blob: Buffer
  /** Lifetime of the tombstone of a record with an owner, in ms. */
  readonly ownedTtlMs: number
  /** Lifetime of any other tombstone, in ms. */
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

/** Endings that replicas should have. */
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

/** The state of a handle. */
export type Fate =
  | { readonly state: 'active'; readonly leftMs: number }
  /** With the content of the tombstone. */
  | { readonly state: 'ended'; readonly blob: Buffer; readonly owner: string | undefined }
  | { readonly state: 'absent' }

/** Reads for watches: their failures do not count against the backend, and they read in bulk. */
export interface Lookout {
  /**
   * Returns the state of each handle, in one round trip, or two if anything has ended; `undefined` where it is unknown. Never
   * rejects.
   */
  fates(handles: readonly string[]): Promise<readonly (Fate | undefined)[]>
  readonly registry: Pick<Registry, 'roster'>
}

/** How the calls to a backend have fared. */
export interface Condition {
  /**
   * Whether calls are sent (`closed`), rejected without being sent (`open`), or one of them probes the server (`half-open`); of
   * several primaries the worst.
   */
  readonly breaker?: BreakerState
  /** The same for each primary of a cluster that was asked, by `host:port`. */
  readonly primaries?: Readonly<Record<string, BreakerState>>
  /** The last attempt that failed, even if a repeat of it succeeded. */
  readonly lastFailure?: LastFailure
}

/** The root cause: a call that was not sent for lack of a connection does not replace it. */
export interface LastFailure extends FailureCause {
  /** `refused`: it was definitely not applied. `unknown`: it may have been. */
  readonly kind: 'refused' | 'unknown'
  readonly at: Date
}

/** Must not throw. */
export interface NoticeListener {
  notice(notice: EndNotice): void
  /** Notices may have been missed: check everything again. */
  gap(): void
}

/**
 * Keeps opaque records until they expire, and tombstones of those that were ended. It never sees a plaintext, a name or a key.
 * Every verb is atomic for its handle. Missing and expired are one result, never an error; a verb rejects only when the backend
 * itself fails: with `StoreUnavailableError` when it was definitely not applied, with `OutcomeUnknownError` when it may have
 * been, with `SessionInvalidError` when something other than a record is stored under the handle.
 */
export interface Backend {
  readonly registry: Registry
  readonly lookout: Lookout
  /** Returns the record; `undefined` if there is none, `'unreadable'` if it is larger than `maxBytes`, and then not fetched whole, or not a record. */
  get(handle: string, maxBytes: number): Promise<StoredRecord | 'unreadable' | undefined>
  put(handle: string, write: RecordWrite): Promise<PutReply>
  /**
   * Moves the expiry of a record to `ttlMs` from now, at most to its hard end; with `isExtension` never nearer than it is.
   * Returns the new expiry; `undefined` if there is no record.
   */
  touch(handle: string, ttlMs: number, isExtension?: boolean): Promise<number | undefined>
  /** Removes the record and leaves a tombstone. The first tombstone stays; ending twice changes nothing. Allowed when memory is full. */
  end(handle: string, ending: RecordEnding): Promise<EndReply>
  /** Returns the content of the tombstone, empty for a fence; `undefined` if there is none. */
  ending(handle: string): Promise<Buffer | undefined>
  /**
   * Calls the listener for every handle that `end` newly ended or fenced, on any node, once the tombstone exists, in no
   * particular order; not for a repeat. Calls its `gap` once the subscription is in force, and again after each interruption.
   * Returns the function that unsubscribes. Throws `StoreClosedError` after `close`.
   */
  subscribe(listener: NoticeListener): () => void
  /** Iterates the handles of all records, in batches, each handle at least once. */
  handles(): AsyncIterable<readonly string[]>
  /**
   * Returns the time of the backend in ms, the only clock that decides what has expired; without a promise where it is known.
   * Never throws: it may reject.
   */
  now(): number | Promise<number>
  /**
   * Returns how many replicas certainly have the endings of these handles and the epoch of the owner; the least of all
   * primaries. 0 if that is unknown. Never rejects.
   */
  confirm(ended: EndedHandles, terms: ReplicaTerms): Promise<number>
  /**
   * Leaves a mark of this process for a day, and returns all marks; an empty one only reads.
   */
  mark(mark: string): Promise<readonly string[]>
  /** Resolves when the backend replies. */
  ping(): Promise<void>
  readonly condition: Condition
  /** Returns the problems of the servers. Never rejects. */
  inspect(): Promise<readonly Finding[]>
  /** Lets calls in flight settle, then frees what the backend itself opened. Later calls reject with `StoreClosedError`. */
  close(): Promise<void>
}

/** Lifetime of a mark. */
export const MARK_KEEP_MS = 86_400_000

/** The most bytes that a tombstone holds. */
export const MAX_ENDING_BYTES = 65_536

/** Bytes at the end of a blob that name its version. */
export const ETAG_BYTES = 16

/** The etag of a blob: its last 16 bytes, the tail of its MAC. */
export function etagOf(blob: Buffer): Buffer {
  return blob.subarray(-ETAG_BYTES)
}
