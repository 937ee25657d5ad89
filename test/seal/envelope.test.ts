import fc from 'fast-check'
import { describe, expect, inject, test } from 'vitest'
import {
  decodeEnvelope,
  encodeEnvelope,
  encodeHeader,
  HEADER_BYTES,
  KEY_ID_BYTES,
  MAC_BYTES,
  MAX_OVERHEAD_BYTES,
  NONCE_BYTES,
  TAG_BYTES,
} from '../../lib/seal/envelope.ts'
import { SEED } from '../support/seed.ts'

const RUNS = inject('suite') === 'long' ? 100_000 : 20_000
const KEY_ID = Buffer.from('0001020304050607', 'hex')
const MAC = Buffer.alloc(MAC_BYTES, 0xaa)

function changed(blob: Buffer, at: number, byte: number): Buffer {
  const copy = Buffer.from(blob)
  copy[at] = byte
  return copy
}

/** Lengths below its own at which a blob still decodes. */
function acceptedPrefixes(blob: Buffer): number[] {
  return [...blob.keys()].filter((bytes) => decodeEnvelope(blob.subarray(0, bytes)) !== undefined)
}

/** Bytes that may stand in this place for the blob to decode. */
function acceptedBytes(blob: Buffer, at: number): number[] {
  return [...Array(256).keys()].filter((byte) => decodeEnvelope(changed(blob, at, byte)) !== undefined)
}

const SIGNED = encodeEnvelope(encodeHeader('signed', KEY_ID), Buffer.from('payload'), MAC)
const ENCRYPTED = encodeEnvelope(encodeHeader('encrypted', KEY_ID), Buffer.alloc(41, 0xbb), MAC)

describe('encodeHeader', () => {
  test('writes magic, version, mode and key id', () => {
    expect(encodeHeader('signed', KEY_ID).toString('hex')).toBe('45535601010001020304050607')
    expect(encodeHeader('encrypted', KEY_ID).toString('hex')).toBe('45535601020001020304050607')
  })

  test('refuses a key id of another length', () => {
    expect(() => encodeHeader('signed', Buffer.alloc(7))).toThrow(RangeError)
    expect(() => encodeHeader('signed', Buffer.alloc(9))).toThrow(RangeError)
  })
})

describe('the sizes', () => {
  test('are those of the specification', () => {
    expect({ HEADER_BYTES, KEY_ID_BYTES, MAC_BYTES, NONCE_BYTES, TAG_BYTES, MAX_OVERHEAD_BYTES }).toEqual({
      HEADER_BYTES: 13,
      KEY_ID_BYTES: 8,
      MAC_BYTES: 32,
      NONCE_BYTES: 24,
      TAG_BYTES: 16,
      MAX_OVERHEAD_BYTES: 85,
    })
  })
})

describe('decodeEnvelope', () => {
  test('takes a blob apart', () => {
    expect(decodeEnvelope(SIGNED)).toEqual({
      mode: 'signed',
      keyId: KEY_ID,
      covered: Buffer.concat([encodeHeader('signed', KEY_ID), Buffer.from('payload')]),
      payload: Buffer.from('payload'),
      mac: MAC,
    })
    expect(decodeEnvelope(ENCRYPTED)?.mode).toBe('encrypted')
  })

  test('takes an empty payload when it is signed, and a nonce with a tag when it is encrypted, and nothing shorter', () => {
    const signed = encodeEnvelope(encodeHeader('signed', KEY_ID), Buffer.alloc(0), MAC)
    const encrypted = encodeEnvelope(encodeHeader('encrypted', KEY_ID), Buffer.alloc(40), MAC)

    expect(decodeEnvelope(signed)?.payload).toHaveLength(0)
    expect(decodeEnvelope(encrypted)?.payload).toHaveLength(40)
    expect(acceptedPrefixes(signed)).toEqual([])
    expect(acceptedPrefixes(encrypted)).toEqual([])
  })

  test.each([0, 1, 2])('refuses every other byte in place %i of the magic', (at) => {
    expect(acceptedBytes(SIGNED, at)).toEqual([SIGNED[at]])
  })

  test('refuses every version but 1', () => {
    expect(acceptedBytes(SIGNED, 3)).toEqual([1])
  })

  test('refuses every mode but 1 and 2', () => {
    expect(acceptedBytes(ENCRYPTED, 4)).toEqual([1, 2])
  })

  test(`reads no blob in two ways: what it accepts encodes back to the same bytes, ${RUNS} times`, () => {
    const starts = fc.constantFrom(
      SIGNED.subarray(0, 5),
      ENCRYPTED.subarray(0, 5),
      SIGNED.subarray(0, 4),
      Buffer.alloc(0),
    )
    const blobs = fc
      .tuple(starts, fc.uint8Array({ maxLength: 120, size: 'max' }))
      .map((parts) => Buffer.concat(parts))
    let accepted = 0
    let refused = 0

    fc.assert(
      fc.property(blobs, (blob) => {
        const envelope = decodeEnvelope(blob)
        if (envelope === undefined) {
          refused++
          return
        }
        accepted++
        const again = encodeEnvelope(
          encodeHeader(envelope.mode, envelope.keyId),
          envelope.payload,
          envelope.mac,
        )
        if (!again.equals(blob)) throw new Error('it does not encode back')
      }),
      { numRuns: RUNS, seed: SEED },
    )

    expect(accepted).toBeGreaterThan(RUNS / 10)
    expect(refused).toBeGreaterThan(RUNS / 10)
  })
})
