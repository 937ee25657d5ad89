import type { Express, Request } from 'express'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { OutcomeUnknownError, StoreUnavailableError } from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { contentOf, createApp, destroy, handled, listen, type Running, regenerate, save } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { signedCookie } from './signed-cookie.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

describe.each(storeKinds())('a session that was never stored $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  interface Setting {
    readonly routes?: (app: Express, store: SessionStore) => unknown
    readonly verbs?: (inner: Backend) => Partial<Backend>
    readonly session?: Parameters<typeof createApp>[0]['session']
  }

  /** An app, and the handles that it has ended in the backend, where each end costs a tombstone. */
  async function serve({ routes, verbs = () => ({}), session }: Setting = {}) {
    const place = kind.place()
    const inner = place.backend()
    const ended: string[] = []
    const end: Backend['end'] = (handle, ending) => {
      ended.push(handle)
      return inner.end(handle, ending)
    }
    const store = place.over(wrapBackend(inner, { end, ...verbs(inner) }))
    const site = await listen(createApp({ store, session, routes: (app) => void routes?.(app, store) }))
    running.push(site)
    const visit = () => new Browser(site.origin)
    return { store, ended, other: place.share(), browser: visit(), visit }
  }

  const actWith =
    (act: (req: Request, store: SessionStore) => Promise<unknown>) => (app: Express, store: SessionStore) =>
      app.post(
        '/act',
        handled(async (req, res) => res.json((await act(req, store)) ?? {})),
      )

  test('leaves nothing behind when it is signed out of, replaced or unset, however often', async () => {
    const { ended, visit } = await serve({
      session: { unset: 'destroy' },
      routes: (app) => {
        app.post(
          '/regenerate',
          handled(async (req, res) => regenerate(req).then(() => res.json({}))),
        )
        app.post('/unset', (req, res) => {
          Reflect.set(req, 'session', null)
          res.json({})
        })
      },
    })

    const paths = ['/sign-out', '/regenerate', '/unset']
    const pages = await Promise.all(Array.from({ length: 100 }, (_, n) => visit().post(paths[n % 3] ?? '')))

    expect(new Set(pages.map(({ status }) => status))).toEqual(new Set([200]))
    expect(ended).toEqual([])
  })

  test('is signed out of, and replaced at a sign-in, although nothing can be ended', async () => {
    const verbs = () => ({ end: () => Promise.reject(new StoreUnavailableError('fake')) })
    const { browser } = await serve({ verbs })

    expect(await browser.post('/sign-out')).toMatchObject({ status: 200 })
    expect(await browser.post('/sign-in/alice')).toMatchObject({ status: 200 })
    expect((await browser.get('/content')).body).toEqual({ user: 'alice' })
  })

  test.each<[string, (req: Request, store: SessionStore) => Promise<unknown>]>([
    ['its id', (req, store) => store.set(req.sessionID, { cookie: {}, by: 'hand' } as never)],
    ['the session', (req, store) => store.set(req.sessionID, Object.assign(req.session, { a: 1 }))],
  ])('cannot be stored by %s after it was ended', async (_, store) => {
    const { store: kept, browser } = await serve({
      routes: actWith(async (req, theStore) => {
        const { session, sessionID } = req
        await destroy(req)
        return (await failureOf(store({ session, sessionID } as Request, theStore))) ?? {}
      }),
    })

    expect((await browser.post('/act')).body).toMatchObject({ code: 'ERR_SESSION_ENDED' })
    expect(await kept.ids()).toEqual([])
  })

  test.each<[string, (req: Request, store: SessionStore) => Promise<unknown>, Setting?]>([
    ['was stored', (req) => save(contentWith(req))],
    ['was stored by hand under its id', (req, store) => store.set(req.sessionID, { cookie: {} } as never)],
    ['is being stored', async (req) => void save(contentWith(req)).catch(() => {})],
    [
      'may have been stored',
      (req) => failureOf(save(contentWith(req))),
      { verbs: () => ({ put: () => Promise.reject(new OutcomeUnknownError('fake')) }) },
    ],
    [
      'has the id that the client sent',
      async () => {},
      { session: { genid: (req) => (req.sessionID as string | undefined) ?? 'first' } },
    ],
  ])('is ended in the backend if it %s', async (_, act, setting = {}) => {
    const { ended, browser, store } = await serve({
      ...setting,
      routes: actWith(async (req, theStore) => {
        await act(req, theStore)
        await destroy(req)
      }),
    })
    // An id that the client has and the store has not.
    browser.cookie = signedCookie('first')

    await browser.post('/act')

    expect(ended).toHaveLength(1)
    expect(await store.ids()).toEqual([])
  })

  describe('whose genid repeats an id', () => {
    const session = { genid: () => 'repeated' }

    test('is ended in the backend if the id was stored, though for another visitor', async () => {
      const { ended, store, visit } = await serve({ session })
      await visit().post('/set/a/1')

      await visit().post('/sign-out')

      expect(ended).toEqual([store.handle('repeated')])
      expect(await store.ids()).toEqual([])
    })

    test('does not keep one from going on that another process stores under the id later', async () => {
      const { other, browser, visit } = await serve({ session })
      await visit().post('/sign-out')
      await other.set('repeated', { cookie: {} } as never)
      browser.cookie = signedCookie('repeated')

      expect(await browser.post('/set/a/1')).toMatchObject({ status: 200 })
      expect((await browser.get('/content')).body).toEqual({ a: '1' })
    })
  })

  test('is fenced when it is ended by an id that this process has not made, or was loaded', async () => {
    const { ended, browser, store } = await serve()

    await store.destroy('foreign')
    await browser.post('/set/a/1')
    const [loaded] = await store.ids()
    await browser.post('/sign-out')

    expect(ended).toEqual([store.handle('foreign'), loaded])
  })
})

function contentWith(req: Request): Request {
  contentOf(req)['a'] = 1
  return req
}
