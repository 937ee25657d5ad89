import { MAX_TTL_MS } from '../option.ts'
import type { RecordEnding, RecordWrite } from './backend.ts'
import { ETAG_BYTES, MAX_ENDING_BYTES } from './backend.ts'
import {
  type Enrolment,
  type Extension,
  MAX_DEPARTED,
  MAX_DEPARTED_BYTES,
  PAGE_SIZE,
  type Raising,
  type Withdrawal,
} from './registry.ts'

// A day more than any option allows, as a place in a registry outlives its record: now plus this still has 13 digits.
const LONGEST_MS = MAX_TTL_MS + 86_400_000
const MAX_TIME_MS = 9_999_999_999_999

/** The pattern of a SHA-256 digest in base64url, as handles and owners are, for patterns that hold one. */
export const DIGEST = '[A-Za-z0-9_-]{43}'
const WHOLE_DIGEST = new RegExp(`^${DIGEST}$`)

/** Whether the text is such a digest. */
export function isDigest(text: unknown): text is string {
  return typeof text === 'string' && WHOLE_DIGEST.test(text)
}

/** Throws a `TypeError` for anything but a handle; what was given is not quoted. */
export function checkHandle(handle: unknown): void {
  if (!isDigest(handle)) throw new TypeError('A handle must be 43 characters of base64url')
}

/** Throws a `TypeError` for anything but an owner; what was given is not quoted. */
export function checkOwner(owner: unknown): void {
  if (!isDigest(owner)) throw new TypeError('An owner must be 43 characters of base64url')
}

/** Throws a `TypeError` for anything but a time in whole ms that a record or member could end at. */
export function checkHardEnd(endsAtMs: number | undefined): void {
  if (endsAtMs !== undefined && !(Number.isInteger(endsAtMs) && endsAtMs > 0 && endsAtMs <= MAX_TIME_MS)) {
    throw new TypeError(`A hard end must be a time in whole ms, got ${endsAtMs}`)
  }
}

/** A lifetime in whole ms, at least 1. */
export function wholeTtl(ttlMs: number): number {
  if (!(ttlMs > 0 && ttlMs <= LONGEST_MS)) {
    throw new TypeError(`A lifetime must be a positive number of ms of at most 100 years, got ${ttlMs}`)
  }
  return Math.ceil(ttlMs)
}

/** Throws a `TypeError` for a write no backend could keep. */
export function checkWrite(write: RecordWrite): void {
  const { blob, expect, endsAtMs, owner } = write
  if (blob.length < ETAG_BYTES) throw new TypeError(`A blob must have at least ${ETAG_BYTES} bytes`)
  if (expect.kind === 'version' && expect.etag.length !== ETAG_BYTES) {
    throw new TypeError(`An etag must have ${ETAG_BYTES} bytes, got ${expect.etag.length}`)
  }
  if (owner !== undefined) checkOwner(owner)
  checkHardEnd(endsAtMs)
}

/** The ending with whole lifetimes. */
export function wholeEnding(ending: RecordEnding): RecordEnding {
  if (ending.blob.length > MAX_ENDING_BYTES) {
    throw new TypeError(`A tombstone keeps at most ${MAX_ENDING_BYTES} bytes, got ${ending.blob.length}`)
  }
  return {
    blob: ending.blob,
    ownedTtlMs: wholeTtl(ending.ownedTtlMs),
    fenceTtlMs: wholeTtl(ending.fenceTtlMs),
  }
}

/** The extension with a whole lifetime. */
export function wholeExtension(extension: Extension): Extension {
  const { handle, ttlMs, endsAtMs, isExtension } = extension
  checkHandle(handle)
  checkHardEnd(endsAtMs)
  return { handle, ttlMs: wholeTtl(ttlMs), endsAtMs, isExtension }
}

/** The enrolment with a whole lifetime. */
export function wholeEnrolment(enrolment: Enrolment): Enrolment {
  const { cap, beyondCap, takenWithinMs } = enrolment
  if (cap !== undefined && !(Number.isSafeInteger(cap) && cap > 0)) {
    throw new TypeError(`A cap must be a whole number of at least 1, got ${cap}`)
  }
  return { ...wholeExtension(enrolment), cap, beyondCap, takenWithinMs: wholeTtl(takenWithinMs) }
}

/** The withdrawal with a whole lifetime, and no more departed than are remembered. */
export function wholeWithdrawal(withdrawal: Withdrawal): Withdrawal {
  const { handles, seenAtMs, departed = [], departedTtlMs, taken } = withdrawal
  if (handles.length > PAGE_SIZE)
    throw new TypeError(`At most ${PAGE_SIZE} handles can be withdrawn at once, got ${handles.length}`)
  for (const handle of handles) checkHandle(handle)
  for (const { handle, blob } of departed) {
    checkHandle(handle)
    if (blob.length > MAX_DEPARTED_BYTES)
      throw new TypeError(`A departed handle keeps at most ${MAX_DEPARTED_BYTES} bytes, got ${blob.length}`)
  }
  if (taken !== undefined) checkHandle(taken)
  checkHardEnd(seenAtMs)
  return {
    handles,
    seenAtMs,
    departed: departed.slice(-MAX_DEPARTED),
    departedTtlMs: wholeTtl(departedTtlMs),
    taken,
  }
}

/** The raising with a whole lifetime. */
export function wholeRaising(raising: Raising): Raising {
  const { keepMs, epoch } = raising
  if (epoch !== undefined && !(Number.isSafeInteger(epoch) && epoch > 0)) {
    throw new TypeError(`An epoch must be a whole number of at least 1, got ${epoch}`)
  }
  return { keepMs: wholeTtl(keepMs), epoch }
}

/** The order that a page of a roster stays below, as {@link Roster.next} names it. */
export function orderOf(cursor: string): number {
  // The server's words for what somebody plants.
  const order = Number(cursor.replace('inf', 'Infinity'))
  if (Number.isNaN(order)) throw new TypeError('A cursor must be one that a roster answered')
  return order
}
