import type { Express, Request } from 'express'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { StoreUnavailableError } from '../../lib/errors.ts'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { ownerName } from '../../lib/session/names.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { until } from '../support/until.ts'
import { contentOf, createApp, destroy, handled, listen, type Running, regenerate } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { createGate, type Gate } from './gate.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

/** How apps give a session a new id. */
const ways: Readonly<Record<string, (req: Request, store: SessionStore) => Promise<unknown>>> = {
  regenerate: (req) => regenerate(req),
  'destroy and generate': async (req, store) => {
    await destroy(req)
    store.generate(req)
  },
  'destroy of the store and generate': async (req, store) => {
    await store.destroy(req.sessionID)
    store.generate(req)
  },
  'generate alone': async (req, store) => store.generate(req),
}

describe.each(storeKinds())('a session that takes the place of another $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  interface Setting {
    readonly wrap?: (inner: Backend) => Backend
    readonly store?: SessionStoreOptions
    readonly routes?: (app: Express, store: SessionStore) => unknown
  }

  /** An app whose slow requests wait at gates, and another process on the same records. */
  async function serve({ wrap = (inner) => inner, store: options, routes }: Setting = {}) {
    const place = kind.place()
    const store = place.over(wrap(place.backend()), options)
    const [loaded, replaced, before, after] = [createGate(), createGate(), createGate(), createGate()]
    const at = async (reached: Gate, gate: Gate) => {
      reached.open()
      await gate.opened
    }
    const app = createApp({
      store,
      routes: (app) => {
        app.use(sessionGuard({ store, onError: () => {} }))
        app.post('/in/:user', (req, res) => {
          contentOf(req)['userId'] = req.params.user
          res.json({ id: req.sessionID })
        })
        // The usual way to give a session a new id and keep its data, slowly.
        app.post(
          '/rotate/:way',
          handled(async (req, res) => {
            const { cookie: _, ...data } = req.session
            await at(loaded, before)
            await ways[req.params['way'] as string]?.(req, store)
            await at(replaced, after)
            Object.assign(req.session, data)
            res.json({})
          }),
        )
        app.post(
          '/careless',
          handled(async (req, res) => {
            const { cookie: _, ...data } = req.session
            await at(loaded, before)
            const error = await failureOf(regenerate(req))
            Object.assign(req.session, data, { careless: true })
            res.json(error ?? {})
          }),
        )
        routes?.(app, store)
      },
    })
    const site = await listen(app)
    running.push(site)
    const browser = new Browser(site.origin)
    const { body } = await browser.post('/in/ann')
    const { id } = body as { id: string }
    return {
      place,
      store,
      other: place.share(options),
      browser,
      id,
      loaded,
      before,
      replaced,
      after,
      origin: site.origin,
    }
  }

  const content = async (browser: Browser) => (await browser.get('/content')).body

  /** What other requests do meanwhile, in another process or in the same. */
  const endings: Readonly<
    Record<string, (other: SessionStore, id: string, site: { store: SessionStore; tab: Browser }) => unknown>
  > = {
    'its user ended it': (other, sid) => other.registry.end({ sid }),
    'all sessions of its user were ended': (other) => other.registry.endAll('ann'),
    'it signed out elsewhere': (other, id) => other.destroy(id),
    'it signed out in another tab': (_other, _id, { tab }) => tab.post('/sign-out'),
    'the app destroyed it': (_other, id, { store }) => store.destroy(id),
    'a newer session of its user displaced it': async (other) => {
      const session = { cookie: {}, userId: 'ann' } as never
      await other.set('newer', session)
      await other.set('newest', session)
    },
  }
  const ended = Object.keys(endings).flatMap((ending) => Object.keys(ways).map((way) => ({ ending, way })))

  test.each(ended)('by $way is refused when $ending while the request ran', async ({ ending, way }) => {
    const { store, other, browser, id, loaded, before, after, origin } = await serve({
      store: { maxSessionsPerUser: 2 },
    })
    after.open()

    const rotating = browser.post(`/rotate/${way}`)
    await loaded.opened
    const tab = new Browser(origin)
    tab.cookie = browser.cookie
    await endings[ending]?.(other, id, { store, tab })
    before.open()

    expect(await rotating).toMatchObject({ status: 401 })
    expect(await content(browser)).toEqual({})
    const left = (await store.registry.list('ann')).map(({ handle }) => handle)
    expect(
      left.filter((handle) => !['newer', 'newest'].map((sid) => store.handle(sid)).includes(handle)),
    ).toEqual([])
  })

  test("by store.destroy, which is anybody's, carries no user on", async () => {
    const { store, browser, before, after } = await serve()
    before.open()
    after.open()

    expect(await browser.post('/rotate/destroy of the store and generate')).toMatchObject({ status: 401 })
    expect(await content(browser)).toEqual({})
    expect(await store.registry.list('ann')).toEqual([])
  })

  const own = Object.keys(ways).filter((way) => way !== 'destroy of the store and generate')

  test.each(own)('by %s goes on where nothing has ended', async (way) => {
    const { store, browser, before, after } = await serve()
    before.open()
    after.open()

    expect(await browser.post(`/rotate/${way}`)).toMatchObject({ status: 200 })
    expect(await content(browser)).toEqual({ userId: 'ann' })
    expect(await store.registry.list('ann')).toHaveLength(way === 'generate alone' ? 2 : 1)
  })

  test('is refused when the old one has expired, as a save of it would be', async () => {
    const { store, browser, loaded, before } = await serve({ store: { ttl: 1 } })

    const rotating = browser.post('/rotate/regenerate')
    await loaded.opened
    await until(async () => (await store.length()) === 0)
    before.open()

    expect(await rotating).toMatchObject({ status: 401 })
    expect(await content(browser)).toEqual({})
  })

  test.each(Object.keys(ways))(
    'by %s is refused when all sessions of the user are ended before it is stored',
    async (way) => {
      const { store, other, browser, before, replaced, after } = await serve()
      before.open()

      const rotating = browser.post(`/rotate/${way}`)
      await replaced.opened
      await other.registry.endAll('ann')
      after.open()

      expect(await rotating).toMatchObject({ status: 401 })
      expect(await content(browser)).toEqual({})
      expect(await store.registry.list('ann')).toEqual([])
    },
  )

  test.each(['regenerate', 'destroy and generate'])(
    'by %s is refused when the end of all has begun and not yet come to the old one',
    async (way) => {
      const [striking, strike] = [createGate(), createGate()]
      const { place, browser, loaded, before, after } = await serve()
      after.open()
      const inner = place.backend()
      const ender = place.over(
        wrapBackend(inner, {
          end: async (handle, ending) => {
            striking.open()
            await strike.opened
            return inner.end(handle, ending)
          },
        }),
      )

      const rotating = browser.post(`/rotate/${way}`)
      await loaded.opened
      const endingAll = ender.registry.endAll('ann')
      await striking.opened
      before.open()

      expect(await rotating).toMatchObject({ status: 401 })
      strike.open()
      await endingAll
      expect(await content(browser)).toEqual({})
    },
  )

  test('is refused when the old one is about to be displaced', async () => {
    const { place, store, browser, loaded, before, after } = await serve()
    after.open()

    const rotating = browser.post('/rotate/regenerate')
    await loaded.opened
    // As a sign-in that died between its registration and the end of the displaced.
    await place.backend().registry.enroll(ownerName('ann'), {
      handle: store.handle('new'),
      ttlMs: 60_000,
      takenWithinMs: 60_000,
      cap: 1,
      beyondCap: 'evict',
    })
    before.open()

    expect(await rotating).toMatchObject({ status: 401 })
    expect(await content(browser)).toEqual({})
  })

  test('does not carry the user on when the app overlooks the error', async () => {
    const { store, other, browser, id, loaded, before } = await serve()

    const careless = browser.post('/careless')
    await loaded.opened
    await other.registry.end({ sid: id })
    before.open()

    expect(await careless).toMatchObject({ status: 401 })
    expect(await content(browser)).toEqual({})
    expect(await store.ids()).toEqual([])
  })

  test('is granted to every one of parallel sign-ins of a visitor whom nobody knows yet', async () => {
    const { browser, store, origin } = await serve({
      routes: (app) =>
        app.post(
          '/enter/:user',
          handled(async (req, res) => {
            await regenerate(req)
            contentOf(req)['userId'] = req.params['user']
            res.json({})
          }),
        ),
    })
    browser.cookie = undefined
    await browser.post('/set/cart/full')
    const tabs = Array.from({ length: 3 }, () => {
      const tab = new Browser(origin)
      tab.cookie = browser.cookie
      return tab
    })

    const pages = await Promise.all(tabs.map((tab) => tab.post('/enter/bob')))

    expect(pages.map(({ status }) => status)).toEqual([200, 200, 200])
    expect(await store.registry.list('bob')).toHaveLength(3)
  })

  test.each<[string, (req: Request, store: SessionStore) => Promise<unknown>]>([
    ['regenerates twice at once', (req) => Promise.all([regenerate(req), regenerate(req)])],
    ['regenerates again', async (req) => regenerate(req).then(() => regenerate(req))],
    ['has destroyed it itself', async (req, store) => destroy(req).then(() => store.regenerate(req))],
  ])('is granted to a request that %s', async (_, act) => {
    const { browser, store } = await serve({
      routes: (app, store) =>
        app.post(
          '/act',
          handled(async (req, res) => {
            await act(req, store)
            contentOf(req)['userId'] = 'ann'
            res.json({})
          }),
        ),
    })

    expect(await browser.post('/act')).toMatchObject({ status: 200 })
    expect(await content(browser)).toEqual({ userId: 'ann' })
    expect(await store.registry.list('ann')).toHaveLength(1)
  })

  test.each(['regenerate', 'destroy and generate'])(
    'by %s is granted when the reply to the end was lost and its repeat met the tombstone',
    async (way) => {
      // A fake: the client repeats a call by itself when a connection breaks.
      const wrap = (inner: Backend) =>
        wrapBackend(inner, {
          end: async (handle, ending) => {
            await inner.end(handle, ending)
            return inner.end(handle, ending)
          },
        })
      const { browser, before, after } = await serve({ wrap })
      before.open()
      after.open()

      expect(await browser.post(`/rotate/${way}`)).toMatchObject({ status: 200 })
      expect(await content(browser)).toEqual({ userId: 'ann' })
    },
  )

  test('is granted to the one session that the end of all spared', async () => {
    const { browser, other, id, loaded, before, after } = await serve()
    after.open()

    const rotating = browser.post('/rotate/regenerate')
    await loaded.opened
    await other.registry.endAll('ann', { except: { sid: id } })
    before.open()

    expect(await rotating).toMatchObject({ status: 200 })
    expect(await content(browser)).toEqual({ userId: 'ann' })
  })

  test('lets a new user in, and a new session say good-bye, where the old one had ended', async () => {
    const { browser, other, id, loaded, before, after } = await serve({
      routes: (app, store) =>
        app.post(
          '/good-bye',
          handled(async (req, res) => {
            loaded.open()
            await before.opened
            await destroy(req)
            store.generate(req)
            contentOf(req)['flash'] = 'good-bye'
            res.json({})
          }),
        ),
    })
    after.open()

    const leaving = browser.post('/good-bye')
    await loaded.opened
    await other.destroy(id)
    before.open()

    expect(await leaving).toMatchObject({ status: 200 })
    expect(await content(browser)).toEqual({ flash: 'good-bye' })
  })

  test('waits for a regenerate without a callback, whose failure the response does not outlive', async () => {
    let isFailing = false
    const { browser } = await serve({
      wrap: (inner) =>
        wrapBackend(inner, {
          end: (handle, ending) =>
            isFailing ? Promise.reject(new StoreUnavailableError('fake')) : inner.end(handle, ending),
        }),
      routes: (app) =>
        app.post('/forget', (req, res) => {
          Reflect.apply(req.session.regenerate, req.session, [])
          res.json({})
        }),
    })

    expect(await browser.post('/forget')).toMatchObject({ status: 200 })
    await browser.post('/in/ann')
    isFailing = true
    expect(await browser.post('/forget')).toMatchObject({ status: 503 })
  })
})
