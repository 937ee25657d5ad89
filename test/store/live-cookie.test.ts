import { setTimeout as delay } from 'node:timers/promises'
import { inspect } from 'node:util'
import type { SessionOptions } from 'express-session'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { SessionNotSerializableError, SessionTtlError } from '../../lib/errors.ts'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { ownerName } from '../../lib/session/names.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { contentOf, createApp, listen, type Running, save } from './app.ts'
import { decidingTime } from './deciding-time.ts'
import { failureOf } from './failure-of.ts'
import { generateSession, type LiveSession, loadedSession, storedContent } from './live-session.ts'
import { type Place, storeKinds } from './stores.ts'

const MAX_BYTES = 100_000

describe.each(storeKinds())('the cookie of a live session $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    vi.restoreAllMocks()
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  /** How long the session is to live, in ms, from the write on. */
  async function lifetimeAfter(place: Place, store: SessionStore, write: Promise<unknown>): Promise<number> {
    await write
    const record = await place.backend().get(store.handle('sid'), MAX_BYTES)
    return typeof record === 'object' ? record.expiresAtMs - (await decidingTime(kind, place)) : 0
  }

  // Between the write and the look at it the session grows older, on a busy machine by seconds.
  function expectAbout(ms: number, expectedMs: number): void {
    expect(ms).toBeGreaterThan(expectedMs - 30_000)
    expect(ms).toBeLessThanOrEqual(expectedMs + kind.clockErrorMs)
  }

  async function stored(cookie: object, content: Readonly<Record<string, unknown>> = {}, options = {}) {
    const place = kind.place()
    const store = place.share({ touchAfter: 0, ...options })
    await store.set('sid', generateSession(store, 'sid', { cookie, content }))
    return { place, store }
  }

  /** As a request finds its session that has run past the expiry it was loaded with. */
  function outlasted(live: LiveSession): LiveSession {
    Reflect.set(live.cookie, '_expires', new Date(Date.now() - 1000))
    return live
  }

  describe('gives the session its idle lifetime', () => {
    const owners = [
      ['of a visitor', {}],
      ['of a user', { userId: 'ann' }],
    ] as const

    test.each(owners)('in a save after the loaded expiry, %s', async (_, content) => {
      const { place, store } = await stored({ maxAge: 600_000 }, content)
      const live = Object.assign(outlasted(await loadedSession(store, 'sid')), { report: 'done' })

      expectAbout(await lifetimeAfter(place, store, store.set('sid', live)), 600_000)
      expect(await storedContent(store, 'sid')).toEqual({ ...content, report: 'done' })
    })

    test.each(owners)('in a touch after the loaded expiry, %s', async (_, content) => {
      const { place, store } = await stored({ maxAge: 600_000 }, content)
      const live = outlasted(await loadedSession(store, 'sid'))

      expectAbout(await lifetimeAfter(place, store, store.touch('sid', live)), 600_000)
    })

    test.each(owners)('after a touch that began before it was lengthened, %s', async (_, content) => {
      const { place, store } = await stored({ maxAge: 600_000 }, content, { touchAfter: 0 })
      const slow = await loadedSession(store, 'sid')
      const remembered = await loadedSession(store, 'sid')
      remembered.cookie.maxAge = 86_400_000
      await store.set('sid', remembered)
      await delay(20)

      expectAbout(await lifetimeAfter(place, store, store.touch('sid', slow)), 86_400_000)
      const { members } = await place.backend().registry.roster(ownerName('ann'))
      for (const { expiresAtMs } of members) expect(expiresAtMs - Date.now()).toBeGreaterThan(80_000_000)
    })

    test('in the first save of a slow sign-in', async () => {
      const place = kind.place()
      const store = place.share()
      const live = outlasted(generateSession(store, 'sid', { cookie: { maxAge: 600_000 } }))

      expectAbout(await lifetimeAfter(place, store, store.set('sid', live)), 600_000)
    })

    test('in every save of a stream', async () => {
      const { place, store } = await stored({ maxAge: 600_000 })
      const live = await loadedSession(store, 'sid')
      for (const step of [1, 2, 3]) {
        Object.assign(outlasted(live), { step })
        expectAbout(await lifetimeAfter(place, store, store.set('sid', live)), 600_000)
      }
    })

    test.each([
      ['maxAge', (live: LiveSession) => Object.assign(live.cookie, { maxAge: 900_000 }), 900_000],
      ['a shorter maxAge', (live: LiveSession) => Object.assign(live.cookie, { maxAge: 90_000 }), 90_000],
      [
        'expires',
        (live: LiveSession) => Object.assign(live.cookie, { expires: new Date(Date.now() + 900_000) }),
        900_000,
      ],
      ['no maxAge', (live: LiveSession) => Object.assign(live.cookie, { maxAge: null }), 300_000],
      ['expires: null', (live: LiveSession) => Object.assign(live.cookie, { expires: null }), 300_000],
    ])('unless the request changed it: %s', async (_, change, expectedMs) => {
      const { place, store } = await stored({ maxAge: 600_000 }, {}, { ttl: 300 })
      const [saved, touched] = [await loadedSession(store, 'sid'), await loadedSession(store, 'sid')]

      change(touched)
      expectAbout(await lifetimeAfter(place, store, store.touch('sid', touched)), expectedMs)
      change(saved)
      saved['step'] = 1
      expectAbout(await lifetimeAfter(place, store, store.set('sid', saved)), expectedMs)
      expectAbout(
        await lifetimeAfter(place, store, store.touch('sid', await loadedSession(store, 'sid'))),
        expectedMs,
      )
    })

    test.each([
      ['a past expires', { expires: new Date(0) }],
      ['a negative maxAge', { maxAge: -1 }],
      ['NaN', { maxAge: Number.NaN }],
    ])('and is refused with %s', async (_, change) => {
      const { store } = await stored({ maxAge: 600_000 }, { step: 1 })
      const live = Object.assign(await loadedSession(store, 'sid'), { step: 2 })
      Object.assign(live.cookie, change)

      expect(await failureOf(store.set('sid', live))).toBeInstanceOf(SessionTtlError)
      expect(await failureOf(store.touch('sid', live))).toBeInstanceOf(SessionTtlError)
      expect(await storedContent(store, 'sid')).toEqual({ step: 1 })
    })

    test('which no number of touches shortens, whenever the clock ticks', async () => {
      const { store } = await stored({ maxAge: 600_000 })
      const live = await loadedSession(store, 'sid')
      const { originalMaxAge } = live.cookie
      let nowMs = Date.now()
      vi.spyOn(Date, 'now').mockImplementation(() => {
        nowMs += 1
        return nowMs
      })

      for (let times = 0; times < 100; times += 1) live.touch()

      expect(live.cookie.originalMaxAge).toBe(originalMaxAge)
      expect(live.cookie.expires?.getTime()).toBeGreaterThan(nowMs + 599_000)
    })
  })

  describe('is merged by attribute', () => {
    test.each([
      ['first', ['remembering', 'editing']],
      ['last', ['editing', 'remembering']],
    ] as const)('when maxAge is saved %s', async (_, order) => {
      const { place, store } = await stored({ maxAge: 600_000 }, { userId: 'ann' })
      const lives = {
        remembering: await loadedSession(store, 'sid'),
        editing: await loadedSession(store, 'sid'),
      }
      lives.remembering.cookie.maxAge = 86_400_000
      Object.assign(lives.editing, { edited: true })

      for (const name of order) await store.set('sid', lives[name])

      const data = await store.get('sid')
      expect(data).toMatchObject({ userId: 'ann', edited: true })
      expect(Math.abs(Number(data?.cookie.originalMaxAge) - 86_400_000)).toBeLessThan(1000)
      expectAbout(await lifetimeAfter(place, store, Promise.resolve()), 86_400_000)
      const [listed] = await store.registry.list('ann')
      expect(Number(listed?.status === 'active' && listed.expiresAt) - Date.now()).toBeGreaterThan(80_000_000)
      const last = lives[order[1]]
      expect(last.cookie.originalMaxAge).toBe(data?.cookie.originalMaxAge)
      expect(Number(last.cookie.expires) - Date.now()).toBeGreaterThan(80_000_000)
      await store.set('sid', Object.assign(last, { step: 2 }))
      expectAbout(await lifetimeAfter(place, store, Promise.resolve()), 86_400_000)
    })

    test('when each request changed another attribute', async () => {
      const { store } = await stored({ maxAge: 600_000, sameSite: 'lax' })
      const [one, two] = [await loadedSession(store, 'sid'), await loadedSession(store, 'sid')]
      Object.assign(one.cookie, { sameSite: 'strict', domain: 'example.org' })
      Object.assign(two.cookie, { path: '/app', secure: true })

      await store.touch('sid', one)
      await store.touch('sid', two)

      const cookie = { sameSite: 'strict', domain: 'example.org', path: '/app', secure: true }
      expect((await store.get('sid'))?.cookie).toMatchObject(cookie)
      expect(two.cookie).toMatchObject(cookie)
    })
  })

  test('is stored by a touch when it alone has changed, and nothing is written when it has not', async () => {
    const { place, store } = await stored({ maxAge: 600_000 }, { step: 1 }, { touchAfter: 300 })
    const blob = async () => {
      const record = await place.backend().get(store.handle('sid'), MAX_BYTES)
      return typeof record === 'object' ? record.blob.toString('hex') : record
    }
    const before = await blob()

    const same = await loadedSession(store, 'sid')
    await store.touch('sid', same.touch())
    expect(await blob()).toBe(before)
    const other = await loadedSession(store, 'sid')
    other.cookie.sameSite = 'strict'
    await store.touch('sid', other.touch())

    expect(await blob()).not.toBe(before)
    expect((await store.get('sid'))?.cookie.sameSite).toBe('strict')
    expect(await storedContent(store, 'sid')).toEqual({ step: 1 })
  })

  test('is left alone by the touch of one that a script stored', async () => {
    const place = kind.place()
    const store = place.share({ touchAfter: 300, ttl: 600 })
    await store.set('sid', { cookie: {} } as never)
    const blob = async () => {
      const record = await place.backend().get(store.handle('sid'), MAX_BYTES)
      return typeof record === 'object' ? record.blob.toString('hex') : record
    }
    const before = await blob()

    await store.touch('sid', await loadedSession(store, 'sid'))

    expect(await blob()).toBe(before)
  })

  describe('over HTTP', () => {
    async function serve(
      store: SessionStore,
      { session, isGuarded = false }: { session?: Partial<SessionOptions>; isGuarded?: boolean } = {},
    ) {
      const app = createApp({
        store,
        session: { proxy: true, ...session },
        routes: (routes) => {
          if (isGuarded) routes.use(sessionGuard({ store, onError: () => {} }))
          routes.get('/edit', (req, res) => {
            contentOf(req)['edits'] = Number(contentOf(req)['edits'] ?? 0) + 1
            res.json({})
          })
          routes.get('/remember', (req, res) => {
            req.session.cookie.maxAge = 86_400_000
            res.json({})
          })
          routes.get('/names', async (req, res) => {
            const names = {
              constructor: 'c',
              prototype: 'p',
              toString: 's',
              nested: { constructor: 1, prototype: 2 },
            }
            Object.assign(req.session, names)
            await save(req)
            res.json({})
          })
        },
      })
      const served = await listen(app)
      running.push(served)
      return async (path: string, cookie = '') => {
        const response = await fetch(`${served.origin}${path}`, {
          headers: { cookie, 'x-forwarded-proto': 'https' },
        })
        const [header = ''] = response.headers.getSetCookie()
        const [pair = '', ...attributes] = header.split('; ')
        return {
          pair,
          attributes: attributes.filter((name) => !name.startsWith('Expires')),
          body: await response.json(),
        }
      }
    }

    const configured = [
      { sameSite: 'Strict' },
      { sameSite: 'None', secure: true },
      { sameSite: true },
      { sameSite: 'auto', secure: 'auto' },
      { secure: 'true', priority: 'High', partitioned: 1 },
      { secure: 1, httpOnly: 0, domain: '.Example.org', path: '' },
      { path: undefined, httpOnly: undefined, maxAge: 600_000 },
      { expires: false },
      { expires: new Date(Date.now() + 600_000), sameSite: 'LAX' },
    ] as const

    test.each(configured.map((cookie) => [inspect(cookie), cookie] as const))(
      'Set-Cookie is the same in each response with %s',
      async (_, cookie) => {
        const ask = await serve(kind.place().open(), { session: { rolling: true, cookie: cookie as never } })

        const first = await ask('/edit')
        const second = await ask('/edit', first.pair)
        const third = await ask('/content', first.pair)

        expect(third.body).toEqual({ edits: 2 })
        expect(second.pair).toBe(first.pair)
        expect(second.attributes).toEqual(first.attributes)
        expect(third.attributes).toEqual(first.attributes)
      },
    )

    test.each([true, false])('maxAge that alone has changed lasts; with a guard: %s', async (isGuarded) => {
      const ask = await serve(kind.place().open(), { session: { cookie: { maxAge: 600_000 } }, isGuarded })
      const { pair } = await ask('/edit')

      await ask('/remember', pair)
      const body = (await ask('/cookie', pair)).body as { originalMaxAge: number; expires: string }

      expect(body.originalMaxAge).toBeGreaterThan(86_000_000)
      expect(Date.parse(body.expires) - Date.now()).toBeGreaterThan(80_000_000)
    })

    test('names that every object has are content like others', async () => {
      const ask = await serve(kind.place().open())
      const { pair } = await ask('/names')

      const { body } = await ask('/content', pair)

      expect(body).toEqual({
        constructor: 'c',
        prototype: 'p',
        toString: 's',
        nested: { constructor: 1, prototype: 2 },
      })
    })
  })

  test.each([
    ['__proto__', '{"__proto__":{"isAdmin":true}}'],
    ['a nested __proto__', '{"a":[{"__proto__":1}]}'],
    ['a constructor with a prototype', '{"a":{"constructor":{"prototype":{"isAdmin":true}}}}'],
  ])('a save of content with %s is refused', async (_, text) => {
    const { store } = await stored({}, { step: 1 })
    const live = Object.assign(await loadedSession(store, 'sid'), {
      step: 2,
      body: JSON.parse(text) as unknown,
    })

    expect(await failureOf(store.set('sid', live))).toBeInstanceOf(SessionNotSerializableError)
    expect(await storedContent(store, 'sid')).toEqual({ step: 1 })
    expect(Reflect.get({}, 'isAdmin')).toBeUndefined()
  })

  test.each([
    ['throws', () => JSON.parse('{') as never],
    ['returns none', () => null],
    ['returns one without its cookie', () => ({})],
  ])('a save of what a serializer does not read back as a session is refused: it %s', async (_, parse) => {
    const store = kind.place().open({ serializer: { stringify: JSON.stringify, parse } })

    const failure = await failureOf(store.set('sid', generateSession(store, 'sid')))

    expect(failure).toBeInstanceOf(SessionNotSerializableError)
    expect(await store.length()).toBe(0)
  })

  test('a save of ill-formed text is refused', async () => {
    const store = kind.place().open({
      serializer: { stringify: (data) => `${JSON.stringify(data)}\ud800`, parse: () => ({ cookie: {} }) },
    })

    expect(await failureOf(store.set('sid', generateSession(store, 'sid')))).toBeInstanceOf(
      SessionNotSerializableError,
    )
  })
})
