import { inspect } from 'node:util'
import session from 'express-session'
import { describe, expect, test } from 'vitest'
import { cookieExpiry, loadedCookie, storedAgain, storedCookie } from '../../lib/session/cookie.ts'

const AT_MS = 1_700_000_000_000

// express-session exports its Cookie with methods that its types do not say.
const { Cookie } = session as unknown as {
  readonly Cookie: new (
    options: object,
  ) => session.Cookie & { serialize(name: string, value: string): string }
}

const spellings = [
  ...[
    true,
    false,
    'lax',
    'Lax',
    'LAX',
    'strict',
    'Strict',
    'none',
    'None',
    'nOnE',
    '',
    0,
    null,
    undefined,
  ].map((sameSite) => ({ sameSite })),
  ...[
    true,
    false,
    'auto',
    'true',
    'false',
    'yes',
    '',
    1,
    0,
    -1,
    null,
    undefined,
    Number.NaN,
    {},
    [],
    1n,
  ].flatMap((flag) => [{ secure: flag }, { httpOnly: flag }, { partitioned: flag }]),
  ...[Number.POSITIVE_INFINITY, () => false, Symbol('on')].map((flag) => ({ secure: flag })),
  ...['low', 'Medium', 'HIGH', '', false, null, undefined].map((priority) => ({ priority })),
  ...['example.org', '.example.org', 'localhost', 'EXAMPLE.org', '', false, null, undefined].map(
    (domain) => ({
      domain,
    }),
  ),
  ...['/', '/app', '/a b', '', false, null, undefined, 5, ['/list'], '/'.padEnd(3000, 'x')].map((path) => ({
    path,
  })),
  ...[false, null, undefined, new Date(AT_MS)].map((expires) => ({ expires })),
  ...[60_000, 1, false, null, undefined, ''].map((maxAge) => ({ maxAge })),
  {
    secure: 'true',
    sameSite: 'None',
    partitioned: 1,
    priority: 'High',
    path: undefined,
    httpOnly: undefined,
  },
] as readonly object[]

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

  test('drops unknown attributes and known ones that express-session refuses', () => {
    const cookie = {
      path: '/;',
      domain: {},
      sameSite: 'maybe',
      priority: 'max',
      extra: 1,
      data: {},
      encode: 1,
    }

    expect(storedCookie(cookie)).toEqual({ originalMaxAge: null })
  })

  test('takes no cookie for another that differs in one attribute, or lacks one', () => {
    const cookies = [{ path: '/' }, { path: '/a' }, { httpOnly: true }, { path: '/', httpOnly: true }, {}]

    for (const cookie of [...cookies, ...cookies])
      expect(storedCookie(cookie)).toEqual({ originalMaxAge: null, ...cookie })
  })

  test('judges an attribute that is an object each time, as it may have changed', () => {
    let path = '/'
    const cookie = { path: { toString: () => path } }
    expect(storedCookie(cookie)).toEqual({ originalMaxAge: null, path: '/' })

    path = '/;'
    expect(storedCookie(cookie)).toEqual({ originalMaxAge: null })
  })

  test.each(spellings.map((options) => [inspect(options), options] as const))(
    'keeps %s so that Set-Cookie stays as it is, again and again',
    (_, options) => {
      const live = new Cookie(options)
      const [stored, header] = [storedCookie(live), live.serialize('sid', '1')]

      const loaded = new Cookie(loadedCookie(JSON.parse(JSON.stringify(stored)), AT_MS) ?? {})
      const again = new Cookie(loadedCookie(storedAgain(stored), AT_MS) ?? {})

      for (const cookie of [loaded, again]) {
        cookie.expires = live.expires ?? null
        expect(cookie.serialize('sid', '1')).toBe(header)
      }
      expect(storedAgain(stored)).toEqual({ httpOnly: true, path: '/', ...stored })
    },
  )
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
      '{"originalMaxAge":null,"__proto__":{"maxAge":1},"constructor":{},"touch":1,"data":{},"_expires":"x","maxAge":5,"expires":"x","path":{"toString":1},"domain":["a"],"secure":{},"sameSite":"x"}',
    )

    const cookie = loadedCookie(stored, AT_MS) ?? {}

    expect(Object.getOwnPropertyNames(cookie).sort()).toEqual(['expires', 'originalMaxAge'])
    expect(Object.getPrototypeOf(cookie)).toBe(Object.prototype)
  })
})
