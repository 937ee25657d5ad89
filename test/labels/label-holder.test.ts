import { createHash } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type LabelHolder, placeOf } from '../../lib/labels/label.ts'
import { SEED } from '../support/seed.ts'

const hex = (text: string) => createHash('sha256').update(text).digest('hex')

describe('the place of a holder', () => {
  it('is taint:v1: and the SHA-256 of the session id, hex', () => {
    expect(placeOf('taint:v1', 'abc')).toMatchObject({
      key: `taint:v1:${hex('abc')}`,
      digest: hex('abc'),
      kind: 'session',
    })
    expect(placeOf('taint:v1', { sid: 'abc' })).toEqual(placeOf('taint:v1', 'abc'))
  })

  it('of a subject is another than that of a session with the same id', () => {
    const { key, digest, kind } = placeOf('taint:v1', { subject: 'abc' })

    expect(key).toBe(`taint:v1:u:${digest}`)
    expect(digest).not.toBe(hex('abc'))
    expect(kind).toBe('subject')
  })

  it('is never shared by two holders, whatever their ids and prefixes', () => {
    const id = fc.string({
      minLength: 1,
      maxLength: 40,
      unit: fc.constantFrom('a', 'b', ':', 'u', 'subject', '/'),
    })
    const holder = fc.record({
      prefix: fc.constantFrom('t', 't:u', 't:u:u', 'u'),
      kind: fc.constantFrom('sid', 'subject'),
      id,
    })
    const keyOf = ({ prefix, kind, id: name }: { prefix: string; kind: string; id: string }) =>
      placeOf(prefix, { [kind]: name } as unknown as LabelHolder).key

    fc.assert(
      fc.property(holder, holder, (one, other) => {
        const isSame = one.prefix === other.prefix && one.kind === other.kind && one.id === other.id
        expect(keyOf(one) === keyOf(other)).toBe(isSame)
      }),
      { seed: SEED, numRuns: 20_000 },
    )
  })

  it.each<[string, unknown]>([
    ['an empty id', ''],
    ['no id', undefined],
    ['null', null],
    ['a number', 7],
    ['a control character, with which an id could begin as a subject does', 'subject\0alice'],
    ['a lone surrogate, which all hash alike', 'a\ud800'],
    ['an endless id', 'x'.repeat(1025)],
    ['an empty holder', {}],
    ['an empty subject', { subject: '' }],
    ['a subject that is no string', { subject: 7 }],
  ])('does not exist for %s', (_, holder) => {
    expect(() => placeOf('t', holder as LabelHolder)).toThrow(TypeError)
  })
})
