import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { OutcomeUnknownError, StoreUnavailableError } from '../../lib/errors.ts'
import { TestClock } from '../support/clock.ts'
import {
  type AppOptions,
  contentOf,
  createApp,
  handled,
  listen,
  type Running,
  regenerate,
  save,
} from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import type { PartsStoreOptions } from './parts-store.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const codeOf = (error: unknown) => (error as { code?: unknown } | undefined)?.code

describe.each(storeKinds())('regenerate $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []

  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  interface Setting {
    readonly wrap?: (inner: Backend) => Backend
    readonly routes: NonNullable<AppOptions['routes']>
    readonly store?: PartsStoreOptions
    readonly clock?: TestClock
  }

  async function serve({ wrap = (inner) => inner, routes, store: options = {}, clock }: Setting) {
    const place = kind.place({ clock })
    const store = place.over(wrap(place.backend()), options)
    const app = await listen(createApp({ store, routes }))
    running.push(app)
    return { place, store, browser: new Browser(app.origin) }
  }

  // Fakes: a real server cannot be made to fail just one command of a request.
  const failures = [
    {
      failure: 'is refused',
      code: 'ERR_STORE_UNAVAILABLE',
      end: async () => {
        throw new StoreUnavailableError('fake')
      },
    },
    {
      failure: 'has an unknown outcome',
      code: 'ERR_STORE_OUTCOME_UNKNOWN',
      end: async () => {
        throw new OutcomeUnknownError('fake')
      },
    },
    { failure: 'never settles', code: 'ERR_STORE_OUTCOME_UNKNOWN', end: () => new Promise<never>(() => {}) },
    {
      failure: 'fails with what is no Error',
      code: 'ERR_STORE_UNAVAILABLE',
      end: () => Promise.reject('fake'),
    },
  ]

  describe.each(failures)('when the end of the old session $failure', ({ end, code }) => {
    let isFailing = false

    // Signs its user in despite the error, as an app that overlooks it does.
    const careless: Setting['routes'] = (app) =>
      app.post(
        '/careless',
        handled(async (req, res) => {
          const [id, old] = [req.sessionID, req.session]
          const error = await failureOf(regenerate(req))
          const isSame = req.sessionID === id && req.session === old
          contentOf(req)['user'] = 'mallory'
          const saved = await failureOf(save(req))
          isFailing = false
          res.json({ regenerate: codeOf(error), isSame, save: codeOf(saved) ?? 'saved' })
        }),
      )
    const wrap = (inner: Backend) =>
      wrapBackend(inner, { end: (handle, ending) => (isFailing ? end() : inner.end(handle, ending)) })
    const setting = { wrap, routes: careless, store: { deadlineMs: 300 } }

    test('gives the caller the error, makes no new id, and lets the old session be saved no more', async () => {
      const { store, browser } = await serve(setting)
      await browser.post('/set/cart/full')

      isFailing = true
      const { body } = await browser.post('/careless')

      expect(body).toEqual({ regenerate: code, isSame: true, save: code })
      expect((await browser.get('/content')).body).toEqual({ cart: 'full' })
      expect(await store.length()).toBe(1)
    })

    test('asks nobody about a session that is new to this visitor, and so replaces it', async () => {
      const { store, browser } = await serve(setting)

      isFailing = true
      const { body } = await browser.post('/careless')

      expect(body).toEqual({ isSame: false, save: 'saved' })
      expect(await store.length()).toBe(1)
    })

    test('lets the next request try again', async () => {
      const { browser } = await serve(setting)
      await browser.post('/set/cart/full')
      isFailing = true
      await browser.post('/careless')

      const before = browser.cookie
      await browser.post('/sign-in/alice')

      expect(browser.cookie).not.toBe(before)
      expect((await browser.get('/content')).body).toEqual({ user: 'alice' })
    })
  })

  test('hands the hard end on if asked to, however often it is called', async () => {
    const clock = new TestClock()
    const twice: Setting['routes'] = (app) =>
      app.post(
        '/twice',
        handled(async (req, res) => {
          await regenerate(req)
          await regenerate(req)
          contentOf(req)['user'] = 'alice'
          res.json({})
        }),
      )
    const lifetimes = { ttl: 1000, absoluteTtl: 500 }
    const surviving = await serve({
      clock,
      routes: twice,
      store: { ...lifetimes, absoluteTtlSurvivesRegenerate: true },
    })
    const fresh = await serve({ clock, routes: twice, store: lifetimes })
    const hardEnd = async ({ store, place }: typeof fresh) => {
      const [handle = ''] = await store.ids()
      const record = await place.backend().get(handle, 100_000)
      return typeof record === 'object' ? record.expiresAtMs : Number.NaN
    }
    await Promise.all([surviving, fresh].map(({ browser }) => browser.post('/set/a/1')))
    const before = [await hardEnd(surviving), await hardEnd(fresh)] as const

    await kind.pass(1000, clock)
    await Promise.all([surviving, fresh].map(({ browser }) => browser.post('/twice')))

    expect((await surviving.browser.get('/content')).body).toEqual({ user: 'alice' })
    expect(Math.abs((await hardEnd(surviving)) - before[0])).toBeLessThanOrEqual(kind.clockErrorMs)
    expect((await hardEnd(fresh)) - before[1]).toBeGreaterThan(900)
  })

  test('refuses to save the session it replaced', async () => {
    const { store, browser } = await serve({
      routes: (app) =>
        app.post(
          '/old',
          handled(async (req, res) => {
            const old = req.session
            const id = req.sessionID
            await regenerate(req)
            contentOf(req)['user'] = 'alice'
            Reflect.set(old, 'late', true)
            res.json({ save: codeOf(await failureOf(store.set(id, old as never))) })
          }),
        ),
    })
    await browser.post('/set/a/1')

    expect((await browser.post('/old')).body).toEqual({ save: 'ERR_SESSION_ENDED' })
    expect(await store.length()).toBe(1)
  })
})
