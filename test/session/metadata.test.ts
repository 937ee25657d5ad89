import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodePlaintext, encodePlaintext, type SessionPlaintext } from '../../lib/session/metadata.ts'
import { SEED } from '../support/seed.ts'

const OWNER = 'A'.repeat(43)
const SAMPLE: SessionPlaintext = {
  meta: { createdAtMs: 1_700_000_000_000, endsAtMs: 1_700_000_600_000, owner: OWNER },
  body: { bytes: Buffer.from('{"user":"alice"}'), isText: true },
}

// Puts a plaintext together by hand, so that its parts can be wrong.
function handmade(meta: string, { version = 1, kind = 't', length = Buffer.byteLength(meta) } = {}): Buffer {
  const head = Buffer.from([version, kind.charCodeAt(0), length >> 8, length & 0xff])
  return Buffer.concat([head, Buffer.from('revision'), Buffer.from(meta), Buffer.from('{}')])
}

describe('a session plaintext', () => {
  test('comes back as it was', () => {
    expect(decodePlaintext(encodePlaintext(SAMPLE))).toEqual(SAMPLE)
  })

  test('never has the same bytes twice', () => {
    const written = Array.from({ length: 1000 }, () => encodePlaintext(SAMPLE).toString('latin1'))

    expect(new Set(written).size).toBe(1000)
  })

  test('comes back as it was for any meta part and body', () => {
    const plaintext = fc.record({
      meta: fc.record(
        {
          createdAtMs: fc.maxSafeInteger(),
          endsAtMs: fc.maxSafeInteger(),
          owner: fc.constantFrom(OWNER, `${'-_'.repeat(21)}9`),
        },
        { requiredKeys: ['createdAtMs'], noNullPrototype: true },
      ),
      body: fc.record(
        { bytes: fc.uint8Array({ maxLength: 300 }).map((bytes) => Buffer.from(bytes)), isText: fc.boolean() },
        { noNullPrototype: true },
      ),
    })

    fc.assert(
      fc.property(plaintext, (original) => {
        expect(decodePlaintext(encodePlaintext(original))).toEqual(original)
      }),
      { seed: SEED, numRuns: 1000 },
    )
  })

  test('has a layout that does not change', () => {
    const bytes = encodePlaintext({
      meta: { createdAtMs: 5 },
      body: { bytes: Buffer.from('xyz'), isText: false },
    })

    expect(bytes.toString('latin1')).toMatch(/^\x01b\x00\x0d[\s\S]{8}\{"created":5\}xyz$/)
  })

  test('differs each time, so that two writes of the same content are two versions', () => {
    expect(encodePlaintext(SAMPLE).equals(encodePlaintext(SAMPLE))).toBe(false)
  })

  test('keeps device, epoch and labels', () => {
    const meta = { ...SAMPLE.meta, epoch: 7, device: { ip: '::1', known: true, year: 2000 }, labels: ['pii'] }

    expect(decodePlaintext(encodePlaintext({ ...SAMPLE, meta }))?.meta).toEqual(meta)
  })

  test('refuses a meta part larger than its room', () => {
    const device = Object.fromEntries(
      Array.from({ length: 80 }, (_, index) => [`k${index}`, 'x'.repeat(256)]),
    )

    expect(() => encodePlaintext({ ...SAMPLE, meta: { createdAtMs: 5, device } })).toThrow(/maxBytes/)
  })

  test('is refused when its head or meta part is cut', () => {
    const whole = encodePlaintext({ ...SAMPLE, body: { bytes: Buffer.alloc(0), isText: true } })

    const accepted = Array.from(whole.keys(), (length) => decodePlaintext(whole.subarray(0, length))).filter(
      Boolean,
    )

    expect(accepted).toEqual([])
  })

  test.each([
    ['a version that is not 1', handmade('{"created":5}', { version: 2 })],
    ['an unknown kind of body', handmade('{"created":5}', { kind: 'x' })],
    ['a meta part longer than itself', handmade('{"created":5}', { length: 0xffff })],
    ['a meta part cut short', handmade('{"created":5}', { length: 5 })],
    ['no meta part', handmade('')],
    ['a meta part that is not JSON', handmade('created=5')],
    ['a meta part that is null', handmade('null')],
    ['a meta part that is a list', handmade('[5]')],
    ['no time of creation', handmade('{}')],
    ['a text as time of creation', handmade('{"created":"5"}')],
    ['a fraction as time of creation', handmade('{"created":5.5}')],
    ['a time beyond all dates', handmade('{"created":1e300}')],
    ['a hard end that is null', handmade('{"created":5,"ends":null}')],
    ['a hard end that is a text', handmade('{"created":5,"ends":"9"}')],
    ['an owner that is no handle', handmade('{"created":5,"owner":"alice"}')],
    ['an owner that is a list', handmade(`{"created":5,"owner":["${OWNER}"]}`)],
    ['an epoch that is a text', handmade('{"created":5,"epoch":"1"}')],
    ['a device that is a list', handmade('{"created":5,"device":[]}')],
    ['a device that holds an object', handmade('{"created":5,"device":{"a":{}}}')],
    ['labels that are a text', handmade('{"created":5,"labels":"pii"}')],
    ['labels that are numbers', handmade('{"created":5,"labels":[1]}')],
    ['an unknown field', handmade('{"created":5,"role":"admin"}')],
    ['an own __proto__ field', handmade('{"created":5,"__proto__":{}}')],
  ])('is refused with %s', (_, bytes) => {
    expect(decodePlaintext(bytes)).toBeUndefined()
  })

  test('is accepted when made by hand and right, so that the cases above fail for their reason', () => {
    expect(decodePlaintext(handmade('{"created":5}'))).toEqual({
      meta: { createdAtMs: 5 },
      body: { bytes: Buffer.from('{}'), isText: true },
    })
  })
})
