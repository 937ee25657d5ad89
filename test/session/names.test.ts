import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { handleOf, isHandle, ownerName, userIdFrom } from '../../lib/session/names.ts'
import { SEED } from '../support/seed.ts'

describe('handleOf', () => {
  test('is the base64url SHA-256 of the id', () => {
    expect(handleOf('abc')).toBe(createHash('sha256').update('abc').digest('base64url'))
    expect(isHandle(handleOf('abc'))).toBe(true)
  })

  test.each([
    ['one of express-session', 'lBo5pQcTPu0gxHyNs7ElHPkD3ZkYrhkA'],
    ['a UUID', '01890a5d-ac96-774b-bcce-b302099a8057'],
    ['base64', 'ab+/cd=='],
    ['one with every other character', 'A.z_0~9+/=:-'],
    ['one of 256 characters', 'x'.repeat(256)],
    ['one that names a prototype', '__proto__'],
  ])('names %s', (_, sid) => {
    expect(handleOf(sid)).toHaveLength(43)
  })

  test.each([
    ['empty', ''],
    ['of 257 characters', 'x'.repeat(257)],
    ['of 6,000 characters', 'x'.repeat(6000)],
    ['with NUL', 'abc\0'],
    ['with a newline at its end', 'abc\n'],
    ['with braces', '{abc}'],
    ['with a glob', 'abc*'],
    ['with a class', '[a]'],
    ['with a space', 'a b'],
    ['with a letter beyond ASCII', 'é'],
    ['with a lone surrogate', 'a\ud800'],
    ['undefined', undefined],
    ['null', null],
    ['a number', 5],
    ['an object that prints as an id', { toString: () => 'abc' }],
    ['a list', ['abc']],
    ['a String object', Object('abc')],
  ])('is undefined for an id that is %s', (_, sid) => {
    expect(handleOf(sid)).toBeUndefined()
  })

  test('names different ids differently, and refuses any with a character outside the alphabet', () => {
    const alphabet = /^[A-Za-z0-9._~+/=:-]+$/

    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', minLength: 1, maxLength: 40 }),
        fc.string({ minLength: 1, maxLength: 40 }),
        (odd, other) => {
          expect(handleOf(odd) !== undefined).toBe(alphabet.test(odd))
          expect(handleOf(odd) !== undefined && handleOf(odd) === handleOf(other)).toBe(
            alphabet.test(odd) && odd === other,
          )
        },
      ),
      { seed: SEED, numRuns: 5000 },
    )
  })
})

describe('isHandle', () => {
  test.each([
    ['A'.repeat(42)],
    ['A'.repeat(44)],
    [`${'A'.repeat(42)}+`],
    [`${'A'.repeat(43)}\n`],
    [undefined],
    [5],
    [['A'.repeat(43)]],
  ])('is false for %j', (text) => {
    expect(isHandle(text)).toBe(false)
  })
})

describe('ownerName', () => {
  test('has the form of a digest and shows nothing of the user id', () => {
    expect(isHandle(ownerName('alice'))).toBe(true)
    expect(ownerName('alice')).not.toContain('alice')
  })

  test('is one name for a number, its text and a bigint, and another for every other user', () => {
    expect(ownerName(42)).toBe(ownerName('42'))
    expect(ownerName(42n)).toBe(ownerName('42'))
    expect(ownerName(-0)).toBe(ownerName(0n))
    expect(new Set(['42', '042', '4', 'alice', 'Alice', 'alice '].map(ownerName)).size).toBe(6)
  })

  test('has a form that does not change', () => {
    expect(ownerName('alice')).toBe('yeYMTXMN9_JXWrgebh65-8KqIb8Cw5omr3C-ZnswrOg')
  })
})

describe('userIdFrom', () => {
  test.each([
    ['a text', 'alice', 'alice'],
    ['a number', 42, 42],
    ['zero', 0, 0],
    ['a bigint', 2n ** 64n, 2n ** 64n],
    ['an object that serializes to text', { toJSON: () => '64b0' }, '64b0'],
    ['an object that serializes to a number', { toJSON: () => 7 }, 7],
    ['a text beyond ASCII', 'Zoë 😀', 'Zoë 😀'],
  ])('takes %s', (_, value, expected) => {
    expect(userIdFrom(value)).toBe(expected)
  })

  test.each([
    ['undefined', undefined],
    ['null', null],
    ['an empty text', ''],
    ['a text with a lone surrogate', 'a\ud800'],
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['a boolean', true],
    ['false', false],
    ['a symbol', Symbol('alice')],
    ['a function', () => 'alice'],
    ['an object', { id: 1 }],
    ['a list', ['alice']],
    ['a promise', Promise.resolve('alice')],
    ['an object that serializes to an empty text', { toJSON: () => '' }],
    ['an object that serializes to null', new Date(Number.NaN)],
    ['an object that does not serialize', { id: 1n }],
    ['an object that serializes to an object', { toJSON: () => ({ id: 1 }) }],
  ])('takes no %s', (_, value) => {
    expect(userIdFrom(value)).toBeUndefined()
  })
})
