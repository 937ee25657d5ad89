import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Context, encodeContext } from '../../lib/seal/context.ts'
import { SEED } from '../support/seed.ts'

const CONTEXT: Context = { purpose: 'record', prefix: 'sess', name: 'a' }

const contexts = fc.record({
  purpose: fc.stringMatching(/^[a-z][a-z0-9-]{0,5}$/),
  prefix: fc.string({ unit: 'binary', maxLength: 6 }),
  name: fc.string({ unit: 'binary', maxLength: 6 }),
})

/** Reads the encoding back, strictly, so that an encoding that reads back is an encoding of one context only. */
function decode(bytes: Buffer): string[] {
  const fields: string[] = []
  for (let at = 0; at < bytes.length; ) {
    const end = at + 2 + bytes.readUInt16BE(at)
    fields.push(bytes.toString('utf8', at + 2, end))
    at = end
  }
  return fields
}

describe('encodeContext', () => {
  test('writes each field after its length in two bytes', () => {
    expect(encodeContext(CONTEXT).toString('hex')).toBe('00067265636f72640004736573730001' + '61')
  })

  test('counts bytes, not characters', () => {
    expect(encodeContext({ ...CONTEXT, name: '🐎é' }).toString('hex')).toMatch(/0006f09f908ec3a9$/)
  })

  test('gives each context bytes of its own', () => {
    fc.assert(
      fc.property(contexts, ({ purpose, prefix, name }) => {
        expect(decode(encodeContext({ purpose, prefix, name }))).toEqual([purpose, prefix, name])
      }),
      { numRuns: 20_000, seed: SEED },
    )
  })

  test('takes a field of 65,535 bytes and none longer', () => {
    expect(encodeContext({ ...CONTEXT, name: 'x'.repeat(65_535) })).toHaveLength(65_535 + 16)
    expect(() => encodeContext({ ...CONTEXT, name: 'x'.repeat(65_536) })).toThrow(/^context\.name must be/)
    expect(() => encodeContext({ ...CONTEXT, prefix: 'é'.repeat(32_768) })).toThrow(
      /^context\.prefix must be/,
    )
  })

  test.each(['\ud800', 'a\udfffb', '\udc00\ud800'])(
    'refuses lone surrogates, which UTF-8 cannot tell apart (%j)',
    (text) => {
      expect(() => encodeContext({ ...CONTEXT, name: text })).toThrow(/^context\.name must be/)
      expect(() => encodeContext({ ...CONTEXT, prefix: text })).toThrow(/^context\.prefix must be/)
    },
  )

  test.each(['', 'A', '1a', 'a/b', 'a b', 'a\n', 'é', 'a'.repeat(33)])(
    'refuses the purpose %j',
    (purpose) => {
      expect(() => encodeContext({ ...CONTEXT, purpose })).toThrow(/^context\.purpose must match/)
    },
  )
})
