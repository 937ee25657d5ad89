import { createSecretKey } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Mode } from '../../lib/seal/envelope.ts'
import { type KeyUse, SealingKey } from '../../lib/seal/sealing-key.ts'

const SECRET = createSecretKey(Buffer.from(Array.from({ length: 32 }, (_, index) => index)))
const PURPOSES = ['record', 'registry', 'refresh-token', 'key-id', 'mac']
const MODES: readonly Mode[] = ['signed', 'encrypted']
const USES: readonly KeyUse[] = ['mac', 'enc']

function deriveAll(key: SealingKey): string[] {
  return PURPOSES.flatMap((purpose) =>
    MODES.flatMap((mode) => USES.map((use) => key.derive(purpose, mode, use).export().toString('hex'))),
  )
}

describe('SealingKey', () => {
  test('derives another 32-byte key for each purpose, mode and use, and none of them is the secret', () => {
    const derived = deriveAll(new SealingKey(SECRET))

    expect(new Set(derived).size).toBe(20)
    expect(derived.map((key) => key.length)).toEqual(Array(20).fill(64))
    expect(derived).not.toContain(SECRET.export().toString('hex'))
  })

  test('derives the same keys and id from the same secret, others from another', () => {
    const other = new SealingKey(createSecretKey(Buffer.alloc(32, 'another secret')))

    expect(deriveAll(new SealingKey(SECRET))).toEqual(deriveAll(new SealingKey(SECRET)))
    expect(new SealingKey(SECRET).id).toEqual(new SealingKey(SECRET).id)
    expect(other.id).not.toEqual(new SealingKey(SECRET).id)
    expect(new Set([...deriveAll(other), ...deriveAll(new SealingKey(SECRET))]).size).toBe(40)
  })

  test('keeps what it derived', () => {
    const key = new SealingKey(SECRET)

    expect(key.derive('record', 'signed', 'mac')).toBe(key.derive('record', 'signed', 'mac'))
  })

  test('has an id of 8 bytes that begins none of its keys', () => {
    const key = new SealingKey(SECRET)

    expect(key.id).toHaveLength(8)
    expect(deriveAll(key).filter((derived) => derived.startsWith(key.id.toString('hex')))).toEqual([])
  })
})
