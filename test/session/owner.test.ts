import { describe, expect, test } from 'vitest'
import { isHandle, ownerName, userIdFrom } from '../../lib/session/names.ts'

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
