/** The wire format of a blob, version 1 (docs/FORMAT.md): header, payload, MAC. No cryptography here. */

/** `signed`: the payload is the plaintext. `encrypted`: it is nonce, ciphertext and tag. */
export type Mode = 'signed' | 'encrypted'

export const KEY_ID_BYTES = 8
export const HEADER_BYTES = 13
export const MAC_BYTES = 32
export const NONCE_BYTES = 24
export const TAG_BYTES = 16

/** The most bytes, in either mode, by which a blob is longer than its plaintext. */
export const MAX_OVERHEAD_BYTES = HEADER_BYTES + NONCE_BYTES + TAG_BYTES + MAC_BYTES

const MAGIC = 'ESV'
const VERSION = 0x01
const VERSION_AT = 3
const MODE_AT = 4
const KEY_ID_AT = 5
const MODE_BYTE: Readonly<Record<Mode, number>> = { signed: 0x01, encrypted: 0x02 }
const MIN_PAYLOAD_BYTES: Readonly<Record<Mode, number>> = { signed: 0, encrypted: NONCE_BYTES + TAG_BYTES }

/** A blob taken apart. The buffers are views of the blob, so what is verified is what was received. */
export interface Envelope {
  readonly mode: Mode
  readonly keyId: Buffer
  /** Header and payload: what the MAC is of, after the context. */
  readonly covered: Buffer
  readonly payload: Buffer
  readonly mac: Buffer
}

export function encodeHeader(mode: Mode, keyId: Buffer): Buffer {
  if (keyId.length !== KEY_ID_BYTES) throw new RangeError(`A key id has ${KEY_ID_BYTES} bytes`)
  // Not of the pool, whose other bytes a printed Buffer can show.
  const header = Buffer.alloc(HEADER_BYTES)
  header.write(MAGIC)
  header[VERSION_AT] = VERSION
  header[MODE_AT] = MODE_BYTE[mode]
  header.set(keyId, KEY_ID_AT)
  return header
}

export function encodeEnvelope(header: Buffer, payload: Buffer, mac: Buffer): Buffer {
  return Buffer.concat([header, payload, mac])
}

/** Returns the parts of a blob, or `undefined` if it is not a whole version 1 envelope. Says nothing about its truth. */
export function decodeEnvelope(blob: Buffer): Envelope | undefined {
  const mode = readMode(blob)
  if (mode === undefined || blob.length < HEADER_BYTES + MIN_PAYLOAD_BYTES[mode] + MAC_BYTES) return undefined
  return {
    mode,
    keyId: blob.subarray(KEY_ID_AT, HEADER_BYTES),
    covered: blob.subarray(0, -MAC_BYTES),
    payload: blob.subarray(HEADER_BYTES, -MAC_BYTES),
    mac: blob.subarray(-MAC_BYTES),
  }
}

function readMode(blob: Buffer): Mode | undefined {
  if (blob.toString('latin1', 0, VERSION_AT) !== MAGIC || blob[VERSION_AT] !== VERSION) return undefined
  if (blob[MODE_AT] === MODE_BYTE.signed) return 'signed'
  return blob[MODE_AT] === MODE_BYTE.encrypted ? 'encrypted' : undefined
}
