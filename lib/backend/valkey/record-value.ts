import { DIGEST, isDigest } from '../arguments.ts'
import { ETAG_BYTES, MAX_ENDING_BYTES, type StoredRecord } from '../backend.ts'
import type { CommandRunner } from './commands/command-runner.ts'

// format '1' | expiry, 13 digits | hard end, 13 digits | owner, 43 characters | blob. See docs/VALKEY.md.
const HEADER = new RegExp(`^1(\\d{13})(\\d{13})(${DIGEST}|\\.{43})$`)

/** The bytes before the blob. */
export const HEADER_BYTES = 70

/** The owner field of a record that has no owner. */
export const NO_OWNER = '.'.repeat(43)

type Found = StoredRecord | 'unreadable' | 'absent'

/** Reads the record under a key. */
export function readRecord(runner: CommandRunner, key: string, maxBytes: number): Promise<Found> {
  return runner.read<Found>({
    to: { key },
    // One byte more than a record may have, so that a larger one shows.
    send: (client) => client.callBuffer('getrange', key, 0, HEADER_BYTES + maxBytes),
    decode: (reply) =>
      Buffer.isBuffer(reply) ? (decodeRecordValue(reply, maxBytes) ?? 'absent') : undefined,
    unreadable: 'unreadable',
  })
}

/** Decodes strictly what {@link readRecord} is sent. */
export function decodeRecordValue(value: Buffer, maxBytes: number): StoredRecord | 'unreadable' | undefined {
  if (value.length === 0) return undefined
  const blobBytes = value.length - HEADER_BYTES
  const header = value.toString('latin1', 0, HEADER_BYTES)
  if (blobBytes < ETAG_BYTES || blobBytes > maxBytes || !HEADER.test(header)) return 'unreadable'
  // A copy: the reply is a slice of a much larger buffer of the client.
  return { blob: Buffer.from(value.subarray(HEADER_BYTES)), expiresAtMs: Number(header.slice(1, 14)) }
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
