import { createSecretKey } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { hmacSha256 } from '../../lib/seal/sealing-key.ts'
import { hex, readVectors } from './vectors.ts'

interface HmacVector {
  readonly name: string
  readonly key: string
  readonly data: string
  readonly mac: string
}

const { vectors } = readVectors<{ vectors: readonly HmacVector[] }>('rfc4231')

describe('hmacSha256', () => {
  test.each(vectors)('agrees with RFC 4231, $name', ({ key, data, mac }) => {
    const computed = hmacSha256(createSecretKey(hex(key)), [hex(data)]).toString('hex')

    // Test case 5 publishes the first 128 bits only.
    expect(computed).toHaveLength(64)
    expect(computed.slice(0, mac.length)).toBe(mac)
  })

  test.each(vectors)('takes its parts as one message, $name', ({ key, data }) => {
    const secret = createSecretKey(hex(key))
    const bytes = hex(data)

    const apart = hmacSha256(secret, [bytes.subarray(0, 1), Buffer.alloc(0), bytes.subarray(1)])

    expect(apart).toEqual(hmacSha256(secret, [bytes]))
  })
})
