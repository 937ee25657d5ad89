import type { RecordEnding, RecordWrite } from './backend.ts'
import { ETAG_BYTES, MAX_ENDING_BYTES } from './backend.ts'

// 100 years, leap days included: now plus this still has 13 digits.
const MAX_TTL_MS = 100 * 366 * 86_400_000
const MAX_TIME_MS = 9_999_999_999_999

const DIGEST = /^[A-Za-z0-9_-]{43}$/

/** Whether the text is a SHA-256 digest in base64url, as handles and owners are. */
export function isDigest(text: unknown): text is string {
  return typeof text === 'string' && DIGEST.test(text)
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
  if (!(ttlMs > 0 && ttlMs <= MAX_TTL_MS)) {
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
