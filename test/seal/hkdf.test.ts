import { createSecretKey } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { hkdfSha256 } from '../../lib/seal/sealing-key.ts'
import { hex, readVectors } from './vectors.ts'

interface HkdfVector {
  readonly name: string
  readonly ikm: string
  readonly salt: string
  readonly info: string
  readonly bytes: number
  readonly okm: string
}

const { vectors } = readVectors<{ vectors: readonly HkdfVector[] }>('rfc5869')

describe('hkdfSha256', () => {
  test.each(vectors)('agrees with RFC 5869, $name', ({ ikm, salt, info, bytes, okm }) => {
    const derived = hkdfSha256(createSecretKey(hex(ikm)), { salt: hex(salt), info: hex(info), bytes })

    expect(derived.toString('hex')).toBe(okm)
  })

  test('derives without a salt unless it is given one', () => {
    const unsalted = vectors.find(({ salt }) => salt === '')

    const derived = hkdfSha256(createSecretKey(hex(unsalted?.ikm ?? '')), { info: '', bytes: 42 })

    expect(derived.toString('hex')).toBe(unsalted?.okm)
  })
})
