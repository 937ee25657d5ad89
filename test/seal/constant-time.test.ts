import { describe, expect, test } from 'vitest'
import { equalInConstantTime } from '../../lib/seal/blob.ts'

describe('equalInConstantTime', () => {
  test('holds for the same bytes in two buffers', () => {
    expect(equalInConstantTime(Buffer.from('abc'), Buffer.from('abc'))).toBe(true)
  })

  test('fails for a difference in the first or the last bit', () => {
    expect(equalInConstantTime(Buffer.of(0x80, 1), Buffer.of(0, 1))).toBe(false)
    expect(equalInConstantTime(Buffer.of(0x80, 1), Buffer.of(0x80, 0))).toBe(false)
  })

  test('fails, and does not throw, for different lengths', () => {
    expect(equalInConstantTime(Buffer.from('abc'), Buffer.from('abcd'))).toBe(false)
    expect(equalInConstantTime(Buffer.from('abc'), Buffer.alloc(0))).toBe(false)
  })

  test('calls nothing equal to the empty buffer, not even itself', () => {
    expect(equalInConstantTime(Buffer.alloc(0), Buffer.alloc(0))).toBe(false)
  })
})
