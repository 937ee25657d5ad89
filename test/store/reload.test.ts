import { promisify } from 'node:util'
import type { Express, Request } from 'express'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { contentOf, createApp, destroy, handled, listen, type Running, regenerate, reload } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { createGate } from './gate.ts'
import { generateSession, loadedSession } from './live-session.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const codeOf = (error: unknown) => (error as { code?: unknown } | undefined)?.code ?? 'none'

describe.each(storeKinds())('what was loaded of one session $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  /** An app in which reads can be held up, and a visitor who is signed in as ann. */
  async function serve(
    routes: (app: Express, store: SessionStore, reading: { hold?: Promise<void> }) => unknown,
  ) {
    const place = kind.place()
    const inner = place.backend()
    const reading: { hold?: Promise<void> } = {}
    const store = place.over(
      wrapBackend(inner, {
        get: async (handle, maxBytes) => {
          const record = await inner.get(handle, maxBytes)
          await reading.hold
          return record
        },
      }),
    )
    const errors: unknown[] = []
    const app = createApp({
      store,
      routes: (app) => {
        app.use(sessionGuard({ store, onError: (error) => errors.push(error) }))
        app.post('/in', (req, res) => {
          contentOf(req)['userId'] = 'ann'
          res.json({})
        })
        routes(app, store, reading)
      },
    })
    const site = await listen(app)
    running.push(site)
    const browser = new Browser(site.origin)
    await browser.post('/in')
    return { store, browser, errors, other: place.share() }
  }

  const act = (app: Express, work: (req: Request) => Promise<object>) =>
    app.post(
      '/act',
      handled(async (req, res) => res.json(await work(req))),
    )

  describe('is not brought into another by a reload', () => {
    test.each<[string, (req: Request) => Promise<unknown>]>([
      ['was replaced', (req) => regenerate(req)],
      ['was destroyed', (req) => destroy(req)],
    ])('that is answered after it %s', async (_, end) => {
      const { store, browser } = await serve((app, _, reading) =>
        act(app, async (req) => {
          const gate = createGate()
          reading.hold = gate.opened
          const reloading = failureOf(reload(req))
          await end(req)
          gate.open()
          return { reload: codeOf(await reloading), session: req.session === undefined }
        }),
      )

      const { body } = await browser.post('/act')

      expect(body).toEqual({ reload: 'ERR_SESSION_ENDED', session: end.toString().includes('destroy') })
      expect((await browser.get('/content')).body).toEqual({})
      expect(await store.registry.list('ann')).toEqual([])
    })
  })

  test.each<[string, (req: Request) => unknown]>([
    ['destroyed it', (req) => destroy(req)],
    ['destroyed it without a callback', (req) => void req.session.destroy(undefined as never)],
    ['took it away', (req) => Reflect.deleteProperty(req, 'session')],
    ['set it to null', (req) => Reflect.set(req, 'session', null)],
  ])(
    'tells a reload that it has ended when the request %s, and leaves the request without one',
    async (_, end) => {
      const { store, browser } = await serve((app, store) =>
        act(app, async (req) => {
          const { session: old, sessionID } = req
          await end(req)
          const error = await failureOf(reload({ session: old } as Request))
          await store.destroy(sessionID)
          const again = await failureOf(reload({ session: old } as Request))
          return { first: codeOf(error), again: codeOf(again), session: req.session ?? 'none' }
        }),
      )

      expect((await browser.post('/act')).body).toEqual({
        first: 'ERR_SESSION_ENDED',
        again: 'ERR_SESSION_ENDED',
        session: 'none',
      })
      expect(await store.ids()).toEqual([])
    },
  )

  test('comes anew by a reload, as often as it is called', async () => {
    const { browser, other, store } = await serve((app, store) =>
      act(app, async (req) => {
        const { session, sessionID } = req
        const theirs = await loadedSession(store, sessionID)
        await store.set(sessionID, Object.assign(theirs, { more: 1 }))
        await Promise.all([reload(req), reload(req)])
        contentOf(req)['mine'] = 2
        return { isNew: req.session !== session, ...req.session, cookie: undefined }
      }),
    )

    expect((await browser.post('/act')).body).toEqual({ isNew: true, userId: 'ann', more: 1, mine: 2 })
    expect((await browser.get('/content')).body).toEqual({ userId: 'ann', more: 1, mine: 2 })
    expect(await other.registry.list('ann')).toHaveLength(1)
    expect(await store.length()).toBe(1)
  })

  test.each([[[]], [[null]]])(
    'comes anew by a reload with the arguments %j, to which nobody listens',
    async (told) => {
      const { browser, other } = await serve((app, store) =>
        act(app, async (req) => {
          const { session, sessionID } = req
          const theirs = await loadedSession(store, sessionID)
          await store.set(sessionID, Object.assign(theirs, { more: 1 }))
          Reflect.apply(session.reload, session, told)
          await vi.waitUntil(() => req.session !== session)
          Reflect.apply(req.session.reload, req.session, told)
          await reload(req)
          return { ...req.session, cookie: undefined }
        }),
      )

      expect((await browser.post('/act')).body).toEqual({ userId: 'ann', more: 1 })
      expect(await other.registry.list('ann')).toHaveLength(1)
    },
  )

  test.each([[[]], [[null]]])('is gone for a reload after destroy with the arguments %j', async (told) => {
    const { browser, store } = await serve((app) =>
      act(app, async (req) => {
        const { session } = req
        await destroy(req)
        Reflect.apply(session.reload, session, told)
        return { code: codeOf(await failureOf(promisify(session.reload.bind(session))())) }
      }),
    )

    expect((await browser.post('/act')).body).toEqual({ code: 'ERR_SESSION_ENDED' })
    expect(await store.length()).toBe(0)
  })

  test('stays refused after a reload, if its user could not be carried on', async () => {
    const { store, browser, other } = await serve((app, store) =>
      act(app, async (req) => {
        await store.registry.end({ sid: req.sessionID })
        const error = await failureOf(regenerate(req))
        const again = await failureOf(reload(req))
        contentOf(req)['late'] = true
        return { error: codeOf(error), again: codeOf(again) }
      }),
    )

    expect(await browser.post('/act')).toMatchObject({ status: 401 })
    expect(await store.ids()).toEqual([])
    expect(await other.registry.list('ann')).toEqual([])
  })

  describe('is refused under another id', () => {
    test.each<[string, (req: Request, store: SessionStore) => Promise<unknown>]>([
      [
        'when the app makes a session of it',
        async (req, store) => {
          const data = await store.get(req.sessionID)
          await regenerate(req)
          store.createSession(req, data as never)
        },
      ],
      [
        'when the app puts a session that it has loaded by hand in the place of its own',
        async (req, store) => {
          await store.set('another', generateSession(store, 'another', { content: { userId: 'bob' } }))
          req.session = await loadedSession(store, 'another')
        },
      ],
      [
        'when the app puts a plain object there',
        async (req) => void Reflect.set(req, 'session', { ...req.session }),
      ],
      [
        'when the app puts a session of another store there',
        async (req) => {
          const another = kind.place().share()
          await another.set(req.sessionID, generateSession(another, req.sessionID))
          req.session = await loadedSession(another, req.sessionID)
        },
      ],
    ])('%s', async (_, replace) => {
      const { store, browser, errors } = await serve((app, store) =>
        act(app, async (req) => {
          await replace(req, store)
          return {}
        }),
      )
      const before = await store.ids()

      expect(await browser.post('/act')).toMatchObject({ status: 500, body: 'Internal Server Error' })

      // Of a plain object the guard itself speaks.
      expect(errors.map(String)).toEqual([
        expect.stringMatching(/^SessionForeignError|req\.session was replaced/),
      ])
      const [ann] = before
      expect(
        (await store.ids()).filter((handle) => ![ann, store.handle('another')].includes(handle)),
      ).toEqual([])
    })

    test('when it is stored by hand, as data or as a session', async () => {
      const store = kind.place().share()
      await store.set('one', generateSession(store, 'one', { content: { userId: 'ann' } }))
      const [data, live] = [await store.get('one'), await loadedSession(store, 'one')]

      const failures = await Promise.all([data, live].map((one) => failureOf(store.set('two', one as never))))

      expect(failures.map(codeOf)).toEqual(['ERR_SESSION_FOREIGN', 'ERR_SESSION_FOREIGN'])
      expect(await store.get('two')).toBeNull()
      await store.set('one', data as never)
      await store.set('two', { ...data } as never)
      expect(await store.registry.list('ann')).toHaveLength(2)
    })
  })
})
