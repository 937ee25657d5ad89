import { createHash, createSecretKey } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { deriveMessageKey, xaesDecrypt, xaesEncrypt } from '../../lib/seal/xaes.ts'
import { hex, readVectors } from './vectors.ts'

interface XaesVector {
  readonly name: string
  readonly key: string
  readonly nonce: string
  readonly messageKey: string
  readonly plaintext: string
  readonly aad: string
  readonly sealed: string
}

interface XaesVectors {
  readonly vectors: readonly XaesVector[]
  readonly accumulated: { readonly iterations: number; readonly randomStart: string; readonly hash: string }
}

const { vectors, accumulated } = readVectors<XaesVectors>('xaes-256-gcm')
const KEY = createSecretKey(Buffer.alloc(32, 0x01))
const INPUT = { nonce: Buffer.alloc(24, 0x02), aad: Buffer.from('bound') }

/** Hands out a stream of bytes; the stream of the accumulated vectors is SHAKE-128 of nothing. */
function createReader(stream: Buffer): (bytes: number) => Buffer {
  let at = 0
  return (bytes) => {
    at += bytes
    if (at > stream.length) throw new Error('The stream is too short')
    return stream.subarray(at - bytes, at)
  }
}

describe('the published vectors of XAES-256-GCM', () => {
  test.each(vectors)('encrypt as they should, $name', ({ key, nonce, plaintext, aad, sealed }) => {
    const encrypted = xaesEncrypt(createSecretKey(hex(key)), hex(plaintext), {
      nonce: hex(nonce),
      aad: hex(aad),
    })

    expect(encrypted.toString('hex')).toBe(sealed)
  })

  test.each(vectors)('decrypt as they should, $name', ({ key, nonce, plaintext, aad, sealed }) => {
    const decrypted = xaesDecrypt(createSecretKey(hex(key)), hex(sealed), {
      nonce: hex(nonce),
      aad: hex(aad),
    })

    expect(decrypted?.toString('hex')).toBe(plaintext)
  })

  test.each(vectors)('derive the message key as they should, $name', ({ key, nonce, messageKey }) => {
    expect(
      deriveMessageKey(createSecretKey(hex(key)), hex(nonce))
        .export()
        .toString('hex'),
    ).toBe(messageKey)
  })

  test('accumulate to the published hash, and decrypt', () => {
    const stream = createHash('shake128', { outputLength: 4_000_000 }).digest()
    const read = createReader(stream)
    const hash = createHash('shake128', { outputLength: 32 })
    let decrypted = 0

    for (let round = 0; round < accumulated.iterations; round++) {
      const key = createSecretKey(read(32))
      const nonce = read(24)
      const plaintext = read(read(1).readUInt8())
      const aad = read(read(1).readUInt8())
      const sealed = xaesEncrypt(key, plaintext, { nonce, aad })
      hash.update(sealed)
      if (xaesDecrypt(key, sealed, { nonce, aad })?.equals(plaintext)) decrypted++
    }

    expect(stream.subarray(0, 16).toString('hex')).toBe(accumulated.randomStart)
    expect(hash.digest('hex')).toBe(accumulated.hash)
    expect(decrypted).toBe(10_000)
  })
})

describe('xaesDecrypt', () => {
  test('refuses another key, nonce or aad', () => {
    const sealed = xaesEncrypt(KEY, Buffer.from('text'), INPUT)

    expect(xaesDecrypt(KEY, sealed, INPUT)?.toString()).toBe('text')
    expect(xaesDecrypt(createSecretKey(Buffer.alloc(32, 0x03)), sealed, INPUT)).toBeUndefined()
    expect(xaesDecrypt(KEY, sealed, { ...INPUT, aad: Buffer.from('bounds') })).toBeUndefined()
    expect(xaesDecrypt(KEY, sealed, { ...INPUT, nonce: Buffer.alloc(24, 0x04) })).toBeUndefined()
  })

  test.each([0, 11, 12, 23])('refuses a nonce that differs in byte %i', (at) => {
    const sealed = xaesEncrypt(KEY, Buffer.from('text'), INPUT)
    const nonce = Buffer.from(INPUT.nonce)
    nonce[at] = 0

    expect(xaesDecrypt(KEY, sealed, { ...INPUT, nonce })).toBeUndefined()
  })

  test.each([0, 1, 4, 8, 12, 13, 14, 15])('refuses a tag of %i bytes', (bytes) => {
    const tagAlone = xaesEncrypt(KEY, Buffer.alloc(0), INPUT)

    expect(xaesDecrypt(KEY, tagAlone, INPUT)).toEqual(Buffer.alloc(0))
    expect(xaesDecrypt(KEY, tagAlone.subarray(0, bytes), INPUT)).toBeUndefined()
  })

  test('throws for a nonce of the wrong length, which only a mistake in the code can bring', () => {
    expect(() => xaesEncrypt(KEY, Buffer.from('text'), { ...INPUT, nonce: Buffer.alloc(12) })).toThrow(
      RangeError,
    )
  })
})
