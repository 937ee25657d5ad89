import { isDigest } from '../arguments.ts'
import { ETAG_BYTES, type StoredRecord } from '../backend.ts'

// format '1' | expiry, 13 digits | hard end, 13 digits | owner, 43 characters | blob. See docs/VALKEY.md.
const HEADER = /^1(\d{13})(\d{13})([A-Za-z0-9_-]{43}|\.{43})$/

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
  return { blob, expiresAtMs: Number(expiresAt) }
}

/** The owner in an owner field, `undefined` if there is none. */
export function decodeOwner(field: string): string | undefined {
  return isDigest(field) ? field : undefined
}
