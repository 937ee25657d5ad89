import type { SessionOptions } from 'express-session'
import supertest from 'supertest'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { TestClock } from '../support/clock.ts'
import { until } from '../support/until.ts'
import {
  type AppOptions,
  contentOf,
  createApp,
  frameworks,
  handled,
  listen,
  type Running,
  regenerate,
  reload,
  save,
} from './app.ts'
import { createGate } from './gate.ts'
import { storeKinds } from './stores.ts'

const MAX_BYTES = 100_000

interface Setting {
  readonly store?: SessionStoreOptions
  readonly session?: Partial<SessionOptions>
  readonly routes?: AppOptions['routes']
  readonly clock?: TestClock
}

const cookieOf = (response: supertest.Response) => response.get('Set-Cookie')?.[0]
const expiresOf = (response: supertest.Response) =>
  Date.parse(/Expires=([^;]+)/.exec(cookieOf(response) ?? '')?.[1] ?? '')

describe.each(storeKinds())('an app with sessions $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  describe.each(frameworks)('on $framework', ({ express }) => {
    const running: Running[] = []

    afterEach(async () => {
      await Promise.all(running.splice(0).map((app) => app.close()))
    })

    async function serve({ store: options = {}, clock, ...app }: Setting = {}) {
      const place = kind.place({ clock })
      const store: SessionStore = place.share(options)
      const server = await listen(createApp({ store, express, ...app }))
      running.push(server)
      return { store, place, origin: server.origin, browser: supertest.agent(server.origin) }
    }

    test('signs in, reads, changes and signs out', async () => {
      const { browser } = await serve()

      await browser.post('/sign-in/alice').expect(200)
      await browser.post('/set/theme/dark').expect(200)
      await browser.get('/content').expect(200, { user: 'alice', theme: 'dark' })
      await browser.post('/set/theme/light').expect(200)
      await browser.get('/content').expect(200, { user: 'alice', theme: 'light' })
      await browser.post('/sign-out').expect(200)

      await browser.get('/content').expect(200, {})
    })

    test('accepts a cookie from before the sign-out no more', async () => {
      const { browser, origin, store } = await serve()
      const cookie = cookieOf(await browser.post('/sign-in/alice'))?.split(';')[0] ?? ''
      await supertest(origin).get('/content').set('Cookie', cookie).expect({ user: 'alice' })

      await browser.post('/sign-out')

      await supertest(origin).get('/content').set('Cookie', cookie).expect({})
      await supertest(origin).post('/set/a/1').set('Cookie', cookie).expect(200)
      expect(cookie).toContain('connect.sid=s%3A')
      expect(await store.ids()).not.toContain(
        store.handle(decodeURIComponent(cookie).slice('connect.sid=s:'.length).split('.')[0] ?? ''),
      )
    })

    test('gives a regenerated session a new id and ends the old one', async () => {
      const { browser, origin, store } = await serve()
      const first = await browser.post('/sign-in/alice')
      const old = cookieOf(first)?.split(';')[0] ?? ''

      const second = await browser.post('/sign-in/bob')

      expect(second.body).not.toEqual(first.body)
      await browser.get('/content').expect({ user: 'bob' })
      await supertest(origin).get('/content').set('Cookie', old).expect({})
      expect(await store.length()).toBe(1)
    })

    test('stores nothing for a visitor whose session is not used', async () => {
      const { browser, store } = await serve()

      const response = await browser.get('/content')

      expect(cookieOf(response)).toBeUndefined()
      expect(await store.length()).toBe(0)
    })

    test('stores every visitor with saveUninitialized', async () => {
      const { browser, store } = await serve({ session: { saveUninitialized: true } })

      const response = await browser.get('/content')
      await browser.get('/content').expect({})

      expect(cookieOf(response)).toContain('connect.sid=')
      expect(await store.length()).toBe(1)
    })

    test.each([{ resave: true }, { resave: false }])(
      'keeps a change that is made while another request only reads, with resave $resave',
      async ({ resave }) => {
        const arrival = createGate()
        const release = createGate()
        const { browser } = await serve({
          session: { resave },
          routes: (app) =>
            app.get(
              '/slow',
              handled(async (req, res) => {
                arrival.open()
                await release.opened
                res.json({ user: contentOf(req)['user'] })
              }),
            ),
        })
        await browser.post('/sign-in/alice')

        const slow = browser.get('/slow').then((response) => response)
        await arrival.opened
        await browser.post('/set/theme/dark')
        release.open()

        expect((await slow).body).toEqual({ user: 'alice' })
        await browser.get('/content').expect({ user: 'alice', theme: 'dark' })
      },
    )

    test('sends a later expiry with every response when rolling', async () => {
      const { browser } = await serve({ session: { rolling: true, cookie: { maxAge: 60_000 } } })
      const first = expiresOf(await browser.post('/sign-in/alice'))

      // Cookies tell the time in whole seconds.
      await until(() => Date.now() > first - 60_000 + 1000)
      const second = expiresOf(await browser.get('/content'))

      expect(second).toBeGreaterThan(first)
    })

    test('sends no cookie with a reading request unless rolling', async () => {
      const { browser } = await serve({ session: { cookie: { maxAge: 60_000 } } })
      await browser.post('/sign-in/alice')

      expect(cookieOf(await browser.get('/content'))).toBeUndefined()
      expect(cookieOf(await browser.post('/set/a/1'))).toContain('Expires=')
    })

    test('brings in what another request stored with reload, and drops what was not saved', async () => {
      const { browser, store } = await serve({
        routes: (app) =>
          app.post(
            '/reload',
            handled(async (req, res) => {
              contentOf(req)['dropped'] = true
              const other = await new Promise<Record<string, unknown>>((resolve, reject) => {
                store.load(req.sessionID, (error: unknown, loaded) =>
                  error ? reject(error) : resolve(loaded as never),
                )
              })
              other['theirs'] = true
              await store.set(req.sessionID, other as never)
              await reload(req)
              const { cookie: _, ...content } = contentOf(req)
              contentOf(req)['ours'] = true
              res.json(content)
            }),
          ),
      })
      await browser.post('/sign-in/alice')

      await browser.post('/reload').expect(200, { user: 'alice', theirs: true })

      await browser.get('/content').expect({ user: 'alice', theirs: true, ours: true })
    })

    test.each([
      { unset: 'destroy', content: {}, count: 0 },
      { unset: 'keep', content: { user: 'alice' }, count: 1 },
    ] as const)('treats a session set to null as unset: $unset says', async ({ unset, content, count }) => {
      const { browser, store } = await serve({
        session: { unset },
        routes: (app) =>
          app.post('/unset', (req, res) => {
            Reflect.set(req, 'session', null)
            res.json({})
          }),
      })
      await browser.post('/sign-in/alice')

      await browser.post('/unset').expect(200)

      await browser.get('/content').expect(content)
      expect(await store.length()).toBe(count)
    })

    test('keeps what 20 parallel requests set', async () => {
      const { browser } = await serve()
      await browser.post('/sign-in/alice')
      const names = Array.from({ length: 20 }, (_, at) => `key${at}`)

      await Promise.all(names.map((name) => browser.post(`/set/${name}/x`).expect(200)))

      await browser
        .get('/content')
        .expect({ user: 'alice', ...Object.fromEntries(names.map((name) => [name, 'x'])) })
    })

    test('keeps a session as long as its idle lifetime says, and no longer', async () => {
      const clock = new TestClock()
      const { browser } = await serve({ clock, store: { ttl: 1 } })
      await browser.post('/sign-in/alice')
      await kind.pass(600, clock)
      await browser.get('/content').expect({ user: 'alice' })
      await kind.pass(600, clock)
      await browser.get('/content').expect({ user: 'alice' })

      await kind.pass(1010, clock)

      await browser.get('/content').expect({})
    })

    test('ends a session with its cookie', async () => {
      const { browser, origin, store } = await serve({ session: { cookie: { maxAge: 300 } } })
      const cookie = cookieOf(await browser.post('/sign-in/alice'))?.split(';')[0] ?? ''
      await supertest(origin).get('/content').set('Cookie', cookie).expect({ user: 'alice' })

      await until(async () => (await store.length()) === 0)

      await supertest(origin).get('/content').set('Cookie', cookie).expect({})
    })

    test('remembers a longer lifetime that was set on sign-in', async () => {
      const { browser } = await serve({
        session: { cookie: { maxAge: 60_000 } },
        routes: (app) =>
          app.post('/remember', (req, res) => {
            req.session.cookie.maxAge = 3_600_000
            contentOf(req)['remembered'] = true
            res.json({})
          }),
      })
      await browser.post('/sign-in/alice')

      const remembered = expiresOf(await browser.post('/remember'))

      const { body } = await browser.get('/cookie')
      // The setter of express-session's Cookie reads the clock twice.
      expect(Math.abs(body.originalMaxAge - 3_600_000)).toBeLessThan(1000)
      expect(Date.parse(body.expires) - Date.now()).toBeGreaterThan(3_590_000)
      expect(remembered - Date.now()).toBeGreaterThan(3_590_000)
    })

    test('keeps a browser-session cookie without expiry for the ttl', async () => {
      const { browser, store, place } = await serve({ store: { ttl: 600 } })

      const { body, headers } = await browser.post('/sign-in/alice')
      const record = await place.backend().get(store.handle(body.id), MAX_BYTES)

      expect(headers['set-cookie']?.[0]).not.toContain('Expires')
      await browser.get('/cookie').expect({ expires: null, originalMaxAge: null })
      expect(record).toMatchObject({ expiresAtMs: expect.any(Number) })
      expect(typeof record === 'object' && Math.abs(record.expiresAtMs - Date.now() - 600_000)).toBeLessThan(
        5000,
      )
    })

    test('shows the true expiry of the session, not the one of its last save', async () => {
      const { browser, place, store } = await serve({
        store: { touchAfter: 0 },
        session: { cookie: { maxAge: 60_000 } },
      })
      const { body: signedIn } = await browser.post('/sign-in/alice')
      const expiry = async () => {
        const record = await place.backend().get(store.handle(signedIn.id), MAX_BYTES)
        return typeof record === 'object' ? record.expiresAtMs : Number.NaN
      }
      const savedExpiry = await expiry()
      await until(async () => {
        await browser.get('/content')
        return (await expiry()) > savedExpiry + 100
      })

      const trueExpiry = await expiry()
      const { body } = await browser.get('/cookie')

      // The saved expiry is more than 100 ms away.
      expect(Math.abs(Date.parse(body.expires) - trueExpiry)).toBeLessThan(100)
    })

    test('serves sessions as passport shapes and saves them', async () => {
      const { browser, store } = await serve({
        routes: (app) => {
          app.post(
            '/log-in',
            handled(async (req, res) => {
              const before = { ...contentOf(req) }
              await regenerate(req)
              const { cookie: _, ...kept } = before
              Object.assign(req.session, kept, { passport: { user: 7 } })
              await save(req)
              res.json({})
            }),
          )
          app.post(
            '/log-out',
            handled(async (req, res) => {
              Reflect.deleteProperty(contentOf(req)['passport'] as object, 'user')
              await save(req)
              await regenerate(req)
              res.json({})
            }),
          )
        },
      })
      await browser.post('/set/cart/full')

      await browser.post('/log-in').expect(200)
      await browser.get('/content').expect({ cart: 'full', passport: { user: 7 } })
      await browser.post('/log-out').expect(200)

      await browser.get('/content').expect({})
      expect(await store.all()).toEqual([{ id: expect.any(String), cookie: expect.anything() }])
    })

    test('answers 500 with a code, and stores nothing, when genid makes ids that cannot be', async () => {
      const { browser, store } = await serve({
        session: { genid: () => 'not an id' },
        routes: (app) =>
          app.post(
            '/save',
            handled(async (req, res) => {
              await save(req)
              res.json({})
            }),
          ),
      })

      await browser.post('/save').expect(500, { code: 'ERR_SESSION_ID' })

      expect(await store.length()).toBe(0)
    })
  })
})
