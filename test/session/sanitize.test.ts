import { describe, expect, test } from 'vitest'
import { isPlain, MAX_DEPTH, sanitize } from '../../lib/session/sanitize.ts'

function parsed(text: string): object {
  return JSON.parse(text) as object
}

function nested(levels: number, [open, close]: readonly [string, string]): object {
  return parsed(`{"x":${open.repeat(levels - 1)}${open === '[' ? '' : '1'}${close.repeat(levels - 1)}}`)
}

describe('sanitize', () => {
  test('leaves harmless content as it is', () => {
    const text =
      '{"a":[1,{"b":null}],"proto":{"__proto":1},"c":{"toString":"x","valueOf":1},"constructor":{"constructor":1},"prototype":{"prototype":{}}}'
    const content = parsed(text)

    expect(sanitize(content)).toBe(true)
    expect(JSON.stringify(content)).toBe(text)
  })

  test.each([
    [
      'at the top',
      '{"__proto__":{"isAdmin":true},"constructor":{"prototype":{"isAdmin":true}},"a":1}',
      '{"a":1}',
    ],
    [
      'in an object',
      '{"a":{"b":{"__proto__":{"isAdmin":true},"constructor":{"prototype":1},"c":1}}}',
      '{"a":{"b":{"c":1}}}',
    ],
    ['in a list', '{"a":[[{"__proto__":{"isAdmin":true},"c":1}]]}', '{"a":[[{"c":1}]]}'],
    ['written with escapes', '{"\\u005f_proto__":{"isAdmin":true},"a":1}', '{"a":1}'],
  ])('drops keys that reach prototypes %s', (_, text, expected) => {
    const content = parsed(text)
    let drops = 0

    expect(
      sanitize(content, () => {
        drops += 1
      }),
    ).toBe(true)
    expect(drops).toBeGreaterThan(0)
    expect(JSON.stringify(content)).toBe(expected)
    expect(Reflect.get(Object.assign({}, content), 'isAdmin')).toBeUndefined()
    expect(Reflect.get({}, 'isAdmin')).toBeUndefined()
  })

  test('refuses content in which a parser has swapped a prototype', () => {
    expect(sanitize(Object.create({ isAdmin: true }) as object)).toBe(false)
    expect(sanitize({ a: [Object.create({ isAdmin: true })] })).toBe(false)
    expect(sanitize({ a: Object.create({ constructor: 'x' }) as object })).toBe(false)
  })

  test('accepts what serializers make: dates, buffers, maps, objects without prototype', () => {
    const content = {
      at: new Date(0),
      of: Buffer.from('x'),
      map: new Map([['a', 1]]),
      bare: Object.create(null) as object,
    }

    expect(sanitize(content)).toBe(true)
    expect(content).toEqual({
      at: new Date(0),
      of: Buffer.from('x'),
      map: new Map([['a', 1]]),
      bare: Object.create(null),
    })
  })

  test.each([
    ['objects', ['{"y":', '}']],
    ['lists', ['[', ']']],
  ] as const)('accepts the greatest depth of %s and refuses one more', (_, brackets) => {
    expect(sanitize(nested(MAX_DEPTH, brackets))).toBe(true)
    expect(sanitize(nested(MAX_DEPTH + 1, brackets))).toBe(false)
  })

  test.each([
    ['objects', ['{"y":', '}']],
    ['lists', ['[', ']']],
  ] as const)('refuses a depth of 1,000,000 of %s without overflowing', (_, brackets) => {
    expect(sanitize(nested(1_000_000, brackets))).toBe(false)
  })

  test('ends on content that contains itself, as a serializer may make', () => {
    const content: Record<string, unknown> = { a: 1 }
    content['self'] = content

    expect(sanitize(content)).toBe(true)
  })

  test('looks at a wide object of 100,000 objects', () => {
    const content = { list: Array.from({ length: 100_000 }, (_, at) => ({ at })) }

    expect(sanitize(content)).toBe(true)
  })
})

describe('isPlain', () => {
  test.each([
    ['an object literal', {}, true],
    ['an object without prototype', Object.create(null), true],
    ['a list', [], false],
    ['a Date', new Date(), false],
    ['a Map', new Map(), false],
    ['null', null, false],
    ['a text', 'x', false],
    ['a function', () => {}, false],
  ])('judges %s', (_, value, expected) => {
    expect(isPlain(value)).toBe(expected)
  })
})
