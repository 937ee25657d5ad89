import type { SessionData } from 'express-session'
import { describe, expect, test } from 'vitest'
import { SessionTtlError } from '../../lib/errors.ts'
import { MAX_TTL_MS } from '../../lib/option.ts'
import { hardEndMs, idleTtlMs, isTouchDue, type LifetimeOptions } from '../../lib/session/lifetime.ts'

const NOW_MS = 1_700_000_000_000
const OPTIONS: LifetimeOptions = { ttl: 86_400, absoluteTtl: undefined, touchAfter: undefined }

const sessionWith = (cookie: unknown) => ({ cookie }) as SessionData
const idle = (cookie: unknown, options: Partial<LifetimeOptions> = {}) =>
  idleTtlMs(sessionWith(cookie), { ...OPTIONS, ...options }, NOW_MS)

function failureOf(work: () => unknown): unknown {
  try {
    work()
    return undefined
  } catch (error) {
    return error
  }
}

describe('the idle lifetime', () => {
  test('is the ttl option in ms', () => {
    expect(idle({ expires: null }, { ttl: 86_400 })).toBe(86_400_000)
    expect(idle(undefined, { ttl: 1.5 })).toBe(1500)
    expect(idle({}, { ttl: 0.0001 })).toBe(1)
  })

  test('is what a ttl function makes of the session', () => {
    const ttl = (session: SessionData) => (Reflect.get(session, 'remember') === true ? 3600 : 60)
    const session = { cookie: {}, remember: true } as unknown as SessionData

    expect(idleTtlMs(session, { ...OPTIONS, ttl }, NOW_MS)).toBe(3_600_000)
    expect(idle({}, { ttl })).toBe(60_000)
  })

  test.each([
    ['a Date', new Date(NOW_MS + 1234)],
    ['an ISO string', new Date(NOW_MS + 1234).toISOString()],
    ['a number of ms', NOW_MS + 1234],
  ])('is what cookie.expires leaves, to the ms, when that is %s', (_, expires) => {
    expect(idle({ expires }, { ttl: 5 })).toBe(1234)
  })

  test.each([
    ['the ttl option', 'ttl', () => idle({}, { ttl: MAX_TTL_MS / 1000 })],
    ['cookie.expires', 'cookie.expires', () => idle({ expires: new Date(NOW_MS + MAX_TTL_MS) })],
  ])('may be 100 years by %s', (_, _source, compute) => {
    expect(compute()).toBe(MAX_TTL_MS)
  })

  test.each([
    ['NaN', Number.NaN],
    ['zero', 0],
    ['negative', -1],
    ['infinite', Number.POSITIVE_INFINITY],
    ['longer than 100 years', MAX_TTL_MS / 1000 + 1],
    ['a string', '60'],
    ['undefined', undefined],
    ['null', null],
    ['a promise', Promise.resolve(60)],
  ])('is an error when the ttl function returns %s', (_, seconds) => {
    const error = failureOf(() => idle({}, { ttl: () => seconds as number }))

    expect(error).toBeInstanceOf(SessionTtlError)
    expect(error).toMatchObject({ code: 'ERR_SESSION_TTL', message: expect.stringContaining('from ttl') })
  })

  test.each([
    ['past', new Date(NOW_MS - 1)],
    ['now', new Date(NOW_MS)],
    ['an invalid Date', new Date(Number.NaN)],
    ['unparsable text', 'next tuesday'],
    ['an object', {}],
    ['true', true],
    ['more than 100 years away', NOW_MS + MAX_TTL_MS + 1],
    ['infinite', Number.POSITIVE_INFINITY],
  ])('is an error, not the ttl option, when cookie.expires is %s', (_, expires) => {
    const error = failureOf(() => idle({ expires }))

    expect(error).toBeInstanceOf(SessionTtlError)
    expect(error).toMatchObject({ message: expect.stringContaining('from cookie.expires') })
  })
})

describe('the hard end', () => {
  test('is the earlier of the sealed one and the one by option', () => {
    const options = { ...OPTIONS, absoluteTtl: 10 }

    expect(hardEndMs(NOW_MS, undefined, options)).toBe(NOW_MS + 10_000)
    expect(hardEndMs(NOW_MS, NOW_MS + 5000, options)).toBe(NOW_MS + 5000)
    expect(hardEndMs(NOW_MS, NOW_MS + 50_000, options)).toBe(NOW_MS + 10_000)
  })

  test('stays the sealed one when the option is gone, and is undefined when there was none', () => {
    expect(hardEndMs(NOW_MS, NOW_MS + 5000, OPTIONS)).toBe(NOW_MS + 5000)
    expect(hardEndMs(NOW_MS, undefined, OPTIONS)).toBeUndefined()
  })
})

describe('a touch', () => {
  const ttlMs = 100_000
  const isDue = (agoMs: number, options: Partial<LifetimeOptions> = {}, hardEnd?: number) =>
    isTouchDue(
      { ttlMs, nowMs: NOW_MS, expiresAtMs: NOW_MS - agoMs + ttlMs, hardEndMs: hardEnd },
      { ...OPTIONS, ...options },
    )

  test('is due after a twentieth of the lifetime by default', () => {
    expect(isDue(4999)).toBe(false)
    expect(isDue(5000)).toBe(true)
  })

  test('is due after 300 seconds at most by default', () => {
    const week = { ttlMs: 604_800_000, nowMs: NOW_MS, hardEndMs: undefined }

    expect(isTouchDue({ ...week, expiresAtMs: NOW_MS + week.ttlMs - 299_999 }, OPTIONS)).toBe(false)
    expect(isTouchDue({ ...week, expiresAtMs: NOW_MS + week.ttlMs - 300_000 }, OPTIONS)).toBe(true)
  })

  test('is due after touchAfter', () => {
    expect(isDue(9999, { touchAfter: 10 })).toBe(false)
    expect(isDue(10_000, { touchAfter: 10 })).toBe(true)
  })

  test('is due after half the lifetime however long touchAfter is, so that no session in use expires', () => {
    expect(isDue(49_999, { touchAfter: 99 })).toBe(false)
    expect(isDue(50_000, { touchAfter: 99 })).toBe(true)
  })

  test('is due at every ms with touchAfter 0, but never when it moves nothing', () => {
    expect(isDue(1, { touchAfter: 0 })).toBe(true)
    expect(isDue(0, { touchAfter: 0 })).toBe(false)
  })

  test('is due when it shortens the lifetime by enough', () => {
    expect(isDue(-5000)).toBe(true)
  })

  test('is not due once the session already lasts to its hard end', () => {
    const moment = { ttlMs, nowMs: NOW_MS, expiresAtMs: NOW_MS + 2000, hardEndMs: NOW_MS + 2000 }

    expect(isTouchDue(moment, { ...OPTIONS, touchAfter: 0 })).toBe(false)
  })
})
