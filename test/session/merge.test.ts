import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Content, changedKeys, clashes, mergeContents, overlay } from '../../lib/session/merge.ts'
import { SEED } from '../support/seed.ts'

describe('changedKeys', () => {
  test('names added, removed and changed keys, and no others', () => {
    const before = { same: 1, changed: 1, removed: 1 }
    const after = { same: 1, changed: 2, added: 1 }

    expect([...changedKeys(before, after)].sort()).toEqual(['added', 'changed', 'removed'])
  })

  test('compares deeply and without regard to the order of keys', () => {
    expect(changedKeys({ a: { x: [1, { y: 2 }], z: 3 } }, { a: { z: 3, x: [1, { y: 2 }] } })).toEqual([])
    expect(changedKeys({ a: { x: [1, { y: 2 }] } }, { a: { x: [1, { y: 3 }] } })).toEqual(['a'])
  })

  test('tells a missing key from one that is undefined or null', () => {
    expect(changedKeys({}, { a: undefined })).toEqual(['a'])
    expect(changedKeys({ a: null }, { a: undefined })).toEqual(['a'])
  })

  test('tells dates, buffers and values of different types apart', () => {
    expect(changedKeys({ at: new Date(1) }, { at: new Date(1) })).toEqual([])
    expect(changedKeys({ at: new Date(1) }, { at: new Date(2) })).toEqual(['at'])
    expect(changedKeys({ of: Buffer.from('a') }, { of: Buffer.from('b') })).toEqual(['of'])
    expect(changedKeys({ count: 1 }, { count: '1' })).toEqual(['count'])
  })

  test('sees inherited names as missing', () => {
    expect(changedKeys({}, { toString: 1 })).toEqual(['toString'])
    expect(changedKeys({ toString: Object.prototype.toString }, {})).toEqual(['toString'])
  })
})

describe('overlay', () => {
  test('takes the named keys from the source, deletions included, and leaves both as they were', () => {
    const target = { kept: 1, replaced: 1, deleted: 1 }
    const source = { replaced: 2, added: 2, unnamed: 2 }

    const result = overlay(target, source, { keys: ['replaced', 'deleted', 'added'], attributes: [] })

    expect(result).toEqual({ kept: 1, replaced: 2, added: 2 })
    expect(target).toEqual({ kept: 1, replaced: 1, deleted: 1 })
    expect(source).toEqual({ replaced: 2, added: 2, unnamed: 2 })
  })
})

describe('mergeContents', () => {
  const cookie = { originalMaxAge: 1000 }

  test('keeps what either side added, changed or deleted', () => {
    const base = { cookie, ourChange: 0, theirChange: 0, ourDeletion: 0, theirDeletion: 0 }
    const ours = { cookie, ourChange: 1, theirChange: 0, theirDeletion: 0, ourAddition: 1 }
    const theirs = { cookie, ourChange: 0, theirChange: 2, ourDeletion: 0, theirAddition: 2 }

    expect(mergeContents({ base, ours, theirs })).toEqual({
      cookie,
      ourChange: 1,
      theirChange: 2,
      ourAddition: 1,
      theirAddition: 2,
    })
  })

  test('lets us win a key that both changed, a deletion against a change included', () => {
    const base = { both: 0, theyDelete: 0, weDelete: 0 }
    const ours = { both: 1, theyDelete: 1 }
    const theirs = { both: 2, weDelete: 2 }

    expect(mergeContents({ base, ours, theirs })).toEqual({ both: 1, theyDelete: 1 })
  })

  test('merges the cookie by attribute, and lets us win one that both changed', () => {
    const base = { cookie: { originalMaxAge: 1000, path: '/', domain: 'a.org', secure: true } }
    const ours = { cookie: { originalMaxAge: 1000, path: '/our', domain: 'a.org', sameSite: 'lax' } }
    const theirs = { cookie: { originalMaxAge: 2000, path: '/their', domain: 'a.org', secure: true } }

    expect(mergeContents({ base, ours, theirs })).toEqual({
      cookie: { originalMaxAge: 2000, path: '/our', domain: 'a.org', sameSite: 'lax' },
    })
    expect(mergeContents({ base, ours: base, theirs })).toEqual(theirs)
    expect(clashes({ base, ours, theirs })).toBe(true)
    expect(clashes({ base, ours, theirs: { cookie: { ...base.cookie, originalMaxAge: 1 } } })).toBe(false)
  })

  test('gives the same content in either order when the sides change different keys', () => {
    const content = fc.dictionary(
      fc.constantFrom('a', 'b', 'c', 'd', 'e', 'f'),
      fc.jsonValue({ maxDepth: 2 }),
      { noNullPrototype: true },
    )
    const disjoint = fc.tuple(
      content,
      content,
      content,
      fc.array(fc.boolean(), { minLength: 6, maxLength: 6 }),
    )

    fc.assert(
      fc.property(disjoint, ([base, left, right, isLefts]) => {
        const keys = ['a', 'b', 'c', 'd', 'e', 'f']
        const leftChanges = { keys: keys.filter((_, at) => isLefts[at]), attributes: [] }
        const rightChanges = { keys: keys.filter((_, at) => !isLefts[at]), attributes: [] }
        const one: Content = overlay(base, left, leftChanges)
        const other: Content = overlay(base, right, rightChanges)

        const merged = mergeContents({ base, ours: one, theirs: other })

        expect(clashes({ base, ours: one, theirs: other })).toBe(false)
        expect(merged).toEqual(mergeContents({ base, ours: other, theirs: one }))
        expect(merged).toEqual(overlay(overlay(base, left, leftChanges), right, rightChanges))
      }),
      { seed: SEED, numRuns: 500 },
    )
  })
})

describe('clashes', () => {
  test.each([
    ['both changed a key to different values', { a: 0 }, { a: 1 }, { a: 2 }, true],
    ['one deleted what the other changed', { a: 0 }, {}, { a: 2 }, true],
    ['both added a key with different values', {}, { a: 1 }, { a: 2 }, true],
    ['both changed a key to the same value', { a: 0 }, { a: 1 }, { a: 1 }, false],
    ['both deleted a key', { a: 0 }, {}, {}, false],
    ['they changed different keys', { a: 0, b: 0 }, { a: 1, b: 0 }, { a: 0, b: 2 }, false],
    ['only the cookies differ', { cookie: 0 }, { cookie: 1 }, { cookie: 2 }, false],
  ])('when %s: %#', (_, base, ours, theirs, expected) => {
    expect(clashes({ base, ours, theirs })).toBe(expected)
  })
})
