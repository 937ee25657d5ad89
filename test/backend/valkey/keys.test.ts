import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createKeys, parsePrefix } from '../../../lib/backend/valkey/keys.ts'
import { SEED } from '../../support/seed.ts'
import { newHandle, newOwner } from '../contract/subject.ts'

const digest = fc.string({ unit: fc.constantFrom(...'ABCXYZabcxyz0189_-'), minLength: 43, maxLength: 43 })
const prefix = fc.string({ unit: fc.constantFrom(...'ABab01:_-re'), minLength: 1, maxLength: 64 })

describe('parsePrefix', () => {
  it.each(['sess', 'a', 'tenant-1:app_2:SESS', 'x'.repeat(64)])('takes %j', (text) => {
    expect(parsePrefix(text)).toBe(text)
  })

  it.each(['', 'x'.repeat(65), 'a*', 'a?', 'a[1]', 'a{b}', 'a\\', 'a b', 'a\n', 'é', 'a/b'])(
    'refuses %j',
    (text) => {
      expect(() => parsePrefix(text)).toThrow(/^Option "prefix" must be 1 to 64 characters/)
    },
  )

  it.each([undefined, null, 7, ['sess']])('refuses %j, which is no text', (value) => {
    expect(() => parsePrefix(value)).toThrow(TypeError)
  })
})

describe('createKeys', () => {
  it('names a record and a tombstone by their handle, in one slot', () => {
    const keys = createKeys('sess')
    const handle = newHandle()

    expect(keys.record(handle)).toBe(`sess:r:{${handle}}`)
    expect(keys.tombstone(handle)).toBe(`sess:e:{${handle}}`)
  })

  it('names the six keys of an owner, in one slot, and the channel of a prefix', () => {
    const keys = createKeys('sess')
    const owner = newOwner()

    expect(keys.registry(owner)).toEqual([
      `sess:o:{${owner}}`,
      `sess:x:{${owner}}`,
      `sess:p:{${owner}}`,
      `sess:s:{${owner}}`,
      `sess:d:{${owner}}`,
      `sess:u:{${owner}}`,
    ])
    expect(keys.notices).toBe('sess:n')
  })

  it('refuses to make a key of anything but a handle or an owner', () => {
    const keys = createKeys('sess')

    expect(() => keys.record('*')).toThrow(TypeError)
    expect(() => keys.tombstone('}{')).toThrow(TypeError)
    expect(() => keys.registry('}{')).toThrow(TypeError)
  })

  it('reads a handle back from its own record keys only', () => {
    const keys = createKeys('sess')
    const handle = newHandle()

    expect(keys.handleOf(keys.record(handle))).toBe(handle)
    const others = [
      keys.tombstone(handle),
      `ssse:r:{${handle}}`,
      `sess:r:{${handle}}x`,
      `sess:r:{${handle}`,
      `sess:r:{x${handle}}`,
      'sess:r:{}',
      '',
    ]
    expect(others.map((key) => keys.handleOf(key))).toEqual(others.map(() => undefined))
  })

  it('gives no two prefixes, handles or kinds the same key', () => {
    const pair = fc.tuple(prefix, digest)
    fc.assert(
      fc.property(pair, pair, (left, right) => {
        const names = [left, right].flatMap(([own, handle]) => [
          createKeys(own).record(handle),
          createKeys(own).tombstone(handle),
          ...createKeys(own).registry(handle),
          createKeys(own).notices,
        ])
        const isSame = left[0] === right[0] && left[1] === right[1]
        const isSamePrefix = left[0] === right[0]
        const distinct = (isSame ? 8 : 16) + (isSamePrefix ? 1 : 2)
        expect(new Set(names).size).toBe(distinct)
      }),
      { seed: SEED, numRuns: 5000 },
    )
  })
})
