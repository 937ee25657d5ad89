import { DIGEST, isDigest } from '../arguments.ts'
import { ETAG_BYTES, MAX_ENDING_BYTES, type StoredRecord } from '../backend.ts'

// format '1' | expiry, 13 digits | hard end, 13 digits | owner, 43 characters | blob. See docs/VALKEY.md.
const HEADER = new RegExp(`^1(\\d{13})(\\d{13})(${DIGEST}|\\.{43})$`)

/** The bytes before the blob. */
export const HEADER_BYTES = 70

/** The owner field of a record that has no owner. */
export const NO_OWNER = '.'.repeat(43)

/** The index of the last byte to ask for: one more than a record may have, so that a larger one shows. */
export function lastByteToRead(maxBytes: number): number {
  return HEADER_BYTES + maxBytes
}

/** Strictly decodes what `GETRANGE key 0 lastByteToRead(maxBytes)` gave. */
export function decodeRecordValue(value: Buffer, maxBytes: number): StoredRecord | 'unreadable' | undefined {
  if (value.length === 0) return undefined
  const blob = value.subarray(HEADER_BYTES)
  const expiresAt = HEADER.exec(value.toString('latin1', 0, HEADER_BYTES))?.[1]
  if (expiresAt === undefined || blob.length < ETAG_BYTES || blob.length > maxBytes) return 'unreadable'
  // A copy: the reply is a slice of a much larger buffer of the client.
  return { blob: Buffer.from(blob), expiresAtMs: Number(expiresAt) }
}

/** When a record expires, by its first {@link HEADER_BYTES} bytes; `undefined` if that is no record. */
export function decodeExpiry(header: Buffer): number | undefined {
  const expiresAt = HEADER.exec(header.toString('latin1'))?.[1]
  return expiresAt === undefined ? undefined : Number(expiresAt)
}

// format '1' | owner, 43 characters | what the tombstone keeps.
const TOMBSTONE_HEADER = new RegExp(`^1(${DIGEST}|\\.{43})$`)
const TOMBSTONE_HEADER_BYTES = 44

/** The index of the last byte of a tombstone to ask for: one more than it may have. */
export const LAST_TOMBSTONE_BYTE = TOMBSTONE_HEADER_BYTES + MAX_ENDING_BYTES

/** Strictly decodes what `GETRANGE key 0 LAST_TOMBSTONE_BYTE` gave. */
export function decodeTombstoneValue(value: Buffer): Buffer | 'unreadable' | undefined {
  if (value.length === 0) return undefined
  const kept = value.subarray(TOMBSTONE_HEADER_BYTES)
  const isWhole = TOMBSTONE_HEADER.test(value.toString('latin1', 0, TOMBSTONE_HEADER_BYTES))
  return isWhole && kept.length <= MAX_ENDING_BYTES ? Buffer.from(kept) : 'unreadable'
}

/** The owner that a tombstone remembers, if any. */
export function tombstoneOwner(value: Buffer): string | undefined {
  return decodeOwner(value.toString('latin1', 1, TOMBSTONE_HEADER_BYTES))
}

/** The owner in an owner field, `undefined` if there is none. */
export function decodeOwner(field: string): string | undefined {
  return isDigest(field) ? field : undefined
}
