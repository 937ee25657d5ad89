import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { SessionIdError } from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { createApp, listen, type Running } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { generateSession } from './live-session.ts'
import { signedCookie } from './signed-cookie.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const hostileIds: readonly (readonly [string, unknown])[] = [
  ['empty', ''],
  ['with NUL', 'abc\0def'],
  ['with braces', '{abc}'],
  ['with a hash tag', 'x}{y'],
  ['with globs', 'x*?[a]'],
  ['with a newline', 'abc\nFLUSHALL\r\n'],
  ['of 257 characters', 'x'.repeat(257)],
  ['of 6,000 characters', 'x'.repeat(6000)],
  ['of 1,000,000 characters', 'x'.repeat(1_000_000)],
  ['with letters beyond ASCII', 'ünïcödé'],
  ['with an emoji', 'a😀b'],
  ['with a lone high surrogate', 'a\ud83d'],
  ['with a lone low surrogate', '\ude00a'],
]

const nonStrings: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined],
  ['null', null],
  ['a number', 5],
  ['a list', ['abc']],
  ['an object', { toString: () => 'abc' }],
  ['a Buffer', Buffer.from('abc')],
  ['a symbol', Symbol('abc')],
  ['a function', () => 'abc'],
]

/** Counts every call of a verb. */
function counting(inner: Backend): { backend: Backend; calls: string[] } {
  const calls: string[] = []
  const counted = (name: 'get' | 'put' | 'touch' | 'end') =>
    ((...args: unknown[]) => {
      calls.push(name)
      return Reflect.apply(inner[name], inner, args) as unknown
    }) as never
  return {
    backend: wrapBackend(inner, {
      get: counted('get'),
      put: counted('put'),
      touch: counted('touch'),
      end: counted('end'),
    }),
    calls,
  }
}

describe.each(storeKinds())('a session id $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  async function serve(store: SessionStore): Promise<Browser> {
    const app = await listen(createApp({ store }))
    running.push(app)
    return new Browser(app.origin)
  }

  function prepare() {
    const place = kind.place()
    const { backend, calls } = counting(place.backend())
    return { store: place.over(backend), calls }
  }

  test.each([...hostileIds, ...nonStrings])(
    'that is %s names no session and reaches no backend',
    async (_, id) => {
      const { store, calls } = prepare()
      const sid = id as string

      expect(await store.get(sid)).toBeNull()
      await store.destroy(sid)
      await store.touch(sid, { cookie: {} } as never)
      const failures = [
        await failureOf(store.set(sid, { cookie: {} } as never)),
        await failureOf(store.set(sid, generateSession(store, sid))),
        await failureOf(Promise.resolve().then(() => store.handle(sid))),
      ]

      expect(failures.map((failure) => failure instanceof SessionIdError)).toEqual([true, true, true])
      expect(calls).toEqual([])
    },
  )

  const sendable = hostileIds.filter(
    ([, id]) => id !== '' && (id as string).length <= 6000 && (id as string).isWellFormed(),
  )

  test.each(sendable)(
    'that is %s, in a cookie with a genuine signature, names no session and reaches no backend',
    async (_, id) => {
      const { store, calls } = prepare()
      const browser = await serve(store)
      browser.cookie = signedCookie(id as string)

      expect(await browser.get('/content')).toMatchObject({ status: 200, body: {}, setCookie: [] })
      expect(calls).toEqual([])
    },
  )

  test('that was never issued is not adopted: 300 genuine cookies of unknown ids get 300 new ids', async () => {
    const { store } = prepare()
    const browser = await serve(store)
    const ids = Array.from({ length: 300 }, () => randomBytes(24).toString('base64url'))

    const given = await Promise.all(
      ids.map(async (id) => {
        const visitor = new Browser(...browser.origins)
        visitor.cookie = signedCookie(id)
        await visitor.post('/set/user/mallory')
        return visitor.cookie
      }),
    )

    expect(given.filter((cookie, at) => cookie === signedCookie(ids[at] ?? ''))).toEqual([])
    const stored = new Set(await store.ids())
    expect(ids.filter((id) => stored.has(store.handle(id)))).toEqual([])
    expect(stored.size).toBe(300)
  })

  test('in a cookie without a signature, or with a wrong one, reaches no backend', async () => {
    const { store, calls } = prepare()
    await store.set('sid', generateSession(store, 'sid', { content: { user: 'alice' } }))
    calls.length = 0
    const browser = await serve(store)

    for (const cookie of [
      'connect.sid=sid',
      'connect.sid=s%3Asid',
      'connect.sid=s%3Asid.AAAA',
      `${signedCookie('sid')}x`,
    ]) {
      browser.cookie = cookie
      expect((await browser.get('/content')).body).toEqual({})
    }
    expect(calls).toEqual([])
  })
})
