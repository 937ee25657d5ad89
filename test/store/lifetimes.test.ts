import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { SessionTtlError } from '../../lib/errors.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { TestClock } from '../support/clock.ts'
import { decidingTime } from './deciding-time.ts'
import { failureOf } from './failure-of.ts'
import { generateSession, type LiveSession, loadedSession, storedContent } from './live-session.ts'
import { type Place, storeKinds } from './stores.ts'

const MAX_BYTES = 100_000

describe.each(storeKinds())('lifetimes $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  async function expiryOf(place: Place, store: SessionStore): Promise<number> {
    const record = await place.backend().get(store.handle('sid'), MAX_BYTES)
    return typeof record === 'object' ? record.expiresAtMs : Number.NaN
  }

  interface Writing {
    readonly fromMs: number
    readonly toMs: number
    readonly expiresAtMs: number
  }

  /** Where the expiry is after a write, and between which times of the clock that decides it was written. */
  async function timed(place: Place, store: SessionStore, write: () => Promise<unknown>): Promise<Writing> {
    const fromMs = await decidingTime(kind, place)
    await write()
    const toMs = await decidingTime(kind, place)
    return { fromMs, toMs, expiresAtMs: await expiryOf(place, store) }
  }

  async function stored(place: Place, options: SessionStoreOptions, { cookie = {}, content = {} } = {}) {
    const store = place.share(options)
    const writing = await timed(place, store, () =>
      store.set('sid', generateSession(store, 'sid', { cookie, content })),
    )
    return { store, ...writing }
  }

  function expectToLast({ fromMs, toMs, expiresAtMs }: Writing, ms: number): void {
    expect(expiresAtMs).toBeGreaterThanOrEqual(fromMs + ms - kind.clockErrorMs)
    expect(expiresAtMs).toBeLessThanOrEqual(toMs + ms + kind.clockErrorMs)
  }

  describe('the idle lifetime', () => {
    test('is the ttl option', async () => {
      const clock = new TestClock()

      expectToLast(await stored(kind.place({ clock }), { ttl: 2.007 }), 2007)
      expectToLast(await stored(kind.place({ clock }), { ttl: 3600 }), 3_600_000)
      expectToLast(await stored(kind.place({ clock }), {}), 86_400_000)
    })

    test('is what the ttl function makes of the session', async () => {
      const clock = new TestClock()
      const ttl = (session: object) => (Reflect.get(session, 'role') === 'admin' ? 60 : 3600)

      expectToLast(await stored(kind.place({ clock }), { ttl }, { content: { role: 'admin' } }), 60_000)
      expectToLast(await stored(kind.place({ clock }), { ttl }), 3_600_000)
    })

    test('is what cookie.expires leaves, which wins over ttl', async () => {
      const place = kind.place()
      const store = place.share({ ttl: 5 })
      const live = generateSession(store, 'sid')
      const startMs = Date.now()
      live.cookie.expires = new Date(startMs + 123_456)

      const writing = await timed(place, store, () => store.set('sid', live))

      const lateMs = Date.now() - startMs
      expectToLast({ ...writing, fromMs: writing.fromMs - lateMs }, 123_456)
    })

    test('is over after it, to the ms, and not before', async () => {
      const clock = new TestClock()
      const place = kind.place({ clock })
      const { store, expiresAtMs } = await stored(place, { ttl: 0.5 })
      const nowMs = () => decidingTime(kind, place)

      await kind.pass(400, clock)
      const isAlive = (await store.get('sid')) !== null
      expect(isAlive || (await nowMs()) > expiresAtMs).toBe(true)
      await kind.pass(expiresAtMs - (await nowMs()) + kind.clockErrorMs + 1, clock)

      expect(await store.get('sid')).toBeNull()
      expect(await store.length()).toBe(0)
    })

    test.each([
      ['a ttl function that gives NaN', { ttl: () => Number.NaN }, undefined],
      ['a ttl function that gives 0', { ttl: () => 0 }, undefined],
      ['a ttl function that gives -1', { ttl: () => -1 }, undefined],
      ['a ttl function that gives a text', { ttl: () => '60' as unknown as number }, undefined],
      ['a cookie that expired', {}, new Date(Date.now() - 1000)],
      ['a cookie whose expiry is no date', {}, new Date(Number.NaN)],
      ['a cookie whose expiry cannot be parsed', {}, 'next tuesday' as unknown as Date],
    ])(
      'is an error with %s: set and touch neither delete nor apply a default',
      async (_, options, expires) => {
        const place = kind.place()
        const { expiresAtMs } = await stored(place, { ttl: 600 }, { content: { user: 'alice' } })
        const store = place.share({ touchAfter: 0, ...options })
        const spoilt = async (): Promise<LiveSession> => {
          const live = Object.assign(await loadedSession(store, 'sid'), { changed: true })
          if (expires !== undefined) live.cookie.expires = expires
          return live
        }

        const failures = [
          await failureOf(store.set('sid', await spoilt())),
          await failureOf(store.set('sid', { ...(await spoilt()) } as never)),
          await failureOf(store.touch('sid', await spoilt())),
          await failureOf(store.touch('sid', { ...(await spoilt()) } as never)),
          await failureOf(
            store.set(
              'new',
              Object.assign(generateSession(store, 'new'), { cookie: (await spoilt()).cookie }),
            ),
          ),
        ]

        expect(failures.map((failure) => failure instanceof SessionTtlError)).toEqual([
          true,
          true,
          true,
          true,
          true,
        ])
        expect(await storedContent(store, 'sid')).toEqual({ user: 'alice' })
        expect(await expiryOf(place, store)).toBe(expiresAtMs)
        expect(await store.get('new')).toBeNull()
      },
    )
  })

  describe('a touch', () => {
    test('moves the expiry once touchAfter has passed, and writes nothing before', async () => {
      const clock = new TestClock()
      const place = kind.place({ clock })
      const { store, expiresAtMs } = await stored(place, { ttl: 10, touchAfter: 0.5 })
      const touch = () =>
        timed(place, store, async () => store.touch('sid', await loadedSession(store, 'sid')))

      const early = await touch()
      await kind.pass(500 + kind.clockErrorMs, clock)
      const late = await touch()

      expect(early.expiresAtMs).toBe(expiresAtMs)
      expectToLast(late, 10_000)
    })

    test('counts from the last one, not from when the session was loaded', async () => {
      const clock = new TestClock()
      const place = kind.place({ clock })
      const { store } = await stored(place, { ttl: 10, touchAfter: 0.3 })
      const live = await loadedSession(store, 'sid')
      await kind.pass(300 + kind.clockErrorMs, clock)

      await store.touch('sid', live)
      const once = await expiryOf(place, store)
      await kind.pass(10, clock)
      await store.touch('sid', live)

      expect(await expiryOf(place, store)).toBe(once)
    })

    test('on a session that is missing is quiet, on a loaded one that was ended it is refused, and neither revives anything', async () => {
      const place = kind.place()
      const store = place.share({ touchAfter: 0 })
      // Of another lifetime, so that a touch is due at once.
      const other = place.share({ ttl: 60 })
      await other.set('sid', generateSession(other, 'sid'))
      const live = await loadedSession(store, 'sid')
      await store.destroy('sid')

      expect(await failureOf(store.touch('sid', live))).toMatchObject({
        code: 'ERR_SESSION_ENDED',
        ending: 'ended',
      })
      await store.touch('sid', { ...live } as never)
      await store.touch('never', generateSession(store, 'never'))
      await store.touch('never', { cookie: {} } as never)

      expect(await store.get('sid')).toBeNull()
      expect(await store.get('never')).toBeNull()
      expect(await store.ids()).toEqual([])
    })

    test('never changes what is stored', async () => {
      const place = kind.place()
      const { store } = await stored(place, { ttl: 10, touchAfter: 0 }, { content: { n: 1 } })
      const live = Object.assign(await loadedSession(store, 'sid'), { n: 2, extra: true })

      await store.touch('sid', live)
      await store.touch('sid', { ...live } as never)

      expect(await storedContent(store, 'sid')).toEqual({ n: 1 })
    })
  })

  describe('the hard end', () => {
    const options = { ttl: 60, absoluteTtl: 2, touchAfter: 0 }

    test('is not passed by touches and saves', async () => {
      const clock = new TestClock()
      const place = kind.place({ clock })
      const { store, ...writing } = await stored(place, options)
      const { expiresAtMs } = writing
      expectToLast(writing, 2000)

      for (let n = 0; n < 3; n += 1) {
        await kind.pass(400, clock)
        const live = await loadedSession(store, 'sid')
        await store.touch('sid', live)
        await store.set('sid', Object.assign(live, { n }))
        await store.set('sid', { ...live, plain: n } as never)
      }
      expect(await expiryOf(place, store)).toBe(expiresAtMs)
      const last = await loadedSession(store, 'sid')
      await kind.pass(810, clock)

      expect(await store.get('sid')).toBeNull()
      expect(await failureOf(store.set('sid', Object.assign(last, { late: true })))).toMatchObject({
        code: 'ERR_SESSION_ENDED',
      })
      expect(await store.get('sid')).toBeNull()
    })

    test('shows in the cookie of a loaded session when it comes before the idle end', async () => {
      const place = kind.place()
      const { store } = await stored(
        place,
        { absoluteTtl: 30 },
        { cookie: { maxAge: 60_000, originalMaxAge: 60_000 } },
      )

      const cookie = (await store.get('sid'))?.cookie

      expect(cookie?.originalMaxAge).toBe(60_000)
      expect(Math.abs(Number(cookie?.expires) - Date.now() - 30_000)).toBeLessThan(1000)
    })

    test('is a fraction of seconds without trouble', async () => {
      const clock = new TestClock()

      expectToLast(await stored(kind.place({ clock }), { ttl: 60, absoluteTtl: 2.007 }), 2007)
    })

    test('comes earlier for sessions that exist when the option is lowered', async () => {
      const clock = new TestClock()
      const place = kind.place({ clock })
      await stored(place, { ttl: 60, absoluteTtl: 60 })

      await kind.pass(300, clock)

      expect(await place.share({ ttl: 60, absoluteTtl: 0.2 }).get('sid')).toBeNull()
    })

    test.each([
      ['raised', { ttl: 60, absoluteTtl: 60, touchAfter: 0 }],
      ['dropped', { ttl: 60, touchAfter: 0 }],
    ])('comes no later for sessions that exist when the option is %s', async (_, options) => {
      const clock = new TestClock()
      const place = kind.place({ clock })
      await stored(place, { ttl: 60, absoluteTtl: 1 })
      const store = place.share(options)

      await kind.pass(200, clock)
      await store.set('sid', Object.assign(await loadedSession(store, 'sid'), { changed: true }))
      await store.touch('sid', await loadedSession(store, 'sid'))
      expect(await storedContent(store, 'sid')).toEqual({ changed: true })
      await kind.pass(850, clock)

      expect(await store.get('sid')).toBeNull()
    })
  })
})
