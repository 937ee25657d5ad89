import { describe, expect, test } from 'vitest'
import { ownerName } from '../../lib/store/owner.ts'
import { isHandle } from '../../lib/store/session-id.ts'

describe('ownerName', () => {
  test('has the form of a digest and shows nothing of the user id', () => {
    expect(isHandle(ownerName('alice'))).toBe(true)
    expect(ownerName('alice')).not.toContain('alice')
  })

  test('is one name for a number and its text, and another for every other user', () => {
    expect(ownerName(42)).toBe(ownerName('42'))
    expect(new Set(['42', '042', '4', 'alice', 'Alice', 'alice '].map(ownerName)).size).toBe(6)
  })

  test('has a form that does not change', () => {
    expect(ownerName('alice')).toBe('yeYMTXMN9_JXWrgebh65-8KqIb8Cw5omr3C-ZnswrOg')
  })

  test('is a name for the user 0', () => {
    expect(isHandle(ownerName(0))).toBe(true)
  })

  test.each([[undefined], [null], ['']])('is undefined for %j', (userId) => {
    expect(ownerName(userId)).toBeUndefined()
  })

  test.each([
    ['an object', { id: 1 }],
    ['a list', ['alice']],
    ['a boolean', true],
    ['a BigInt', 1n],
    ['a promise', Promise.resolve('alice')],
  ])('is refused with the name of the option for %s', (_, userId) => {
    expect(() => ownerName(userId)).toThrow(
      new TypeError('Option "userId" must be a function that returns a string, a number or undefined'),
    )
  })
})
