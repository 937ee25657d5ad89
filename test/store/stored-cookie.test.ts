import session from 'express-session'
import { describe, expect, test } from 'vitest'
import { cookieExpiry, loadedCookie, storedCookie } from '../../lib/store/stored-cookie.ts'

const AT_MS = 1_700_000_000_000

// express-session exports its Cookie, which its types do not say.
const Cookie = Reflect.get(session, 'Cookie') as new (options: object) => session.Cookie

describe('storedCookie', () => {
  test('keeps the attributes of a live cookie, and not when it expires', () => {
    const cookie = new Cookie({
      maxAge: 60_000,
      originalMaxAge: 60_000,
      path: '/app',
      domain: 'example.org',
      httpOnly: false,
      secure: true,
      sameSite: 'lax',
      partitioned: true,
      priority: 'high',
    })

    expect(storedCookie(cookie)).toEqual({
      originalMaxAge: 60_000,
      path: '/app',
      domain: 'example.org',
      httpOnly: false,
      secure: true,
      sameSite: 'lax',
      partitioned: true,
      priority: 'high',
    })
  })

  test('keeps a browser-session cookie without an age', () => {
    expect(storedCookie(new Cookie({}))).toEqual({ originalMaxAge: null, path: '/', httpOnly: true })
  })

  test.each([[undefined], [null], ['text'], [5]])('makes a browser-session cookie of %s', (cookie) => {
    expect(storedCookie(cookie)).toEqual({ originalMaxAge: null })
  })

  test('takes the age of a plain cookie from when it expires', () => {
    const age = storedCookie({ expires: new Date(Date.now() + 60_000) }).originalMaxAge

    expect(age).toBeGreaterThan(59_000)
    expect(age).toBeLessThanOrEqual(60_000)
  })

  test('drops unknown attributes and known ones of a wrong type', () => {
    const cookie = {
      path: 5,
      domain: {},
      httpOnly: 'yes',
      secure: 1,
      sameSite: 'maybe',
      priority: 'max',
      extra: 1,
      data: {},
    }

    expect(storedCookie(cookie)).toEqual({ originalMaxAge: null })
    expect(storedCookie({ path: 'x'.repeat(1025) })).toEqual({ originalMaxAge: null })
  })
})

describe('cookieExpiry', () => {
  test.each([
    ['a Date', new Date(AT_MS), AT_MS],
    ['ISO text', new Date(AT_MS).toISOString(), AT_MS],
    ['a number', AT_MS, AT_MS],
    ['null', null, undefined],
    ['undefined', undefined, undefined],
    ['false', false, undefined],
    ['unparsable text', 'soon', Number.NaN],
    ['an invalid Date', new Date(Number.NaN), Number.NaN],
    ['an object', {}, Number.NaN],
  ])('reads %s', (_, expires, expected) => {
    expect(cookieExpiry({ expires })).toBe(expected)
  })

  test.each([[undefined], [null], ['text']])('does not say when %s expires', (cookie) => {
    expect(cookieExpiry(cookie)).toBeUndefined()
  })
})

describe('loadedCookie', () => {
  test('says when the record expires, and keeps the original age', () => {
    expect(loadedCookie({ originalMaxAge: 60_000, path: '/' }, AT_MS)).toEqual({
      originalMaxAge: 60_000,
      path: '/',
      expires: new Date(AT_MS),
    })
  })

  test('leaves a browser-session cookie without expiry', () => {
    expect(loadedCookie({ originalMaxAge: null }, AT_MS)).toEqual({ originalMaxAge: null, expires: null })
    expect(loadedCookie({}, AT_MS)).toEqual({ originalMaxAge: null, expires: null })
  })

  test.each([
    ['missing', undefined],
    ['null', null],
    ['text', 'cookie'],
    ['a number', 1],
    ['an array', []],
    ['one with a text as age', { originalMaxAge: '60000' }],
    ['one with NaN as age', { originalMaxAge: Number.NaN }],
    ['one with an object as age', { originalMaxAge: {} }],
  ])('refuses a stored cookie that is %s', (_, stored) => {
    expect(loadedCookie(stored, AT_MS)).toBeUndefined()
  })

  test('passes nothing but known attributes of the right type', () => {
    const stored: unknown = JSON.parse(
      '{"originalMaxAge":null,"__proto__":{"maxAge":1},"constructor":{},"touch":1,"data":{},"_expires":"x","maxAge":5,"expires":"x","path":7}',
    )

    const cookie = loadedCookie(stored, AT_MS) ?? {}

    expect(Object.getOwnPropertyNames(cookie).sort()).toEqual(['expires', 'originalMaxAge'])
    expect(Object.getPrototypeOf(cookie)).toBe(Object.prototype)
  })
})
