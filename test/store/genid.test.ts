import express, { type Express } from 'express'
import session from 'express-session'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { COOKIE_SECRET, contentOf, handled, listen, type Running, regenerate } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { storeKinds } from './stores.ts'

describe.each(storeKinds())('behind the guard, an id that cannot be stored $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  async function serve(genid: () => unknown, routes?: (app: Express) => unknown) {
    const store = kind.place().share()
    const errors: unknown[] = []
    const app = express().set('env', 'test')
    app.use(
      session({
        store,
        secret: COOKIE_SECRET,
        resave: false,
        saveUninitialized: false,
        genid: genid as () => string,
      }),
    )
    app.use(sessionGuard({ store, onError: (error) => errors.push(error) }))
    app.post('/set', (req, res) => {
      contentOf(req)['a'] = 1
      res.send('stored')
    })
    app.get('/', (_req, res) => void res.send('read'))
    app.post(
      '/commit',
      handled(async (req, res) => {
        contentOf(req)['a'] = 1
        const error = await failureOf(store.commit(req))
        Reflect.deleteProperty(req, 'session')
        res.json(error ?? {})
      }),
    )
    routes?.(app)
    const site = await listen(app)
    running.push(site)
    return { store, errors, browser: new Browser(site.origin) }
  }

  const ids: readonly (readonly [string, () => unknown])[] = [
    ['with a bar', () => `a|${Math.random()}`],
    ['with an at sign', () => `a@${Math.random()}`],
    ['with a space', () => `a ${Math.random()}`],
    ['that is empty', () => ''],
    ['that is too long', () => 'a'.repeat(257)],
    ['that is a number', () => Math.random()],
    ['that is a promise', async () => 'abc'],
    ['that is missing', () => undefined],
    ['that is an object', () => ({ toString: () => 'abc' })],
  ]

  test.each(ids)(
    '%s is an error that names genid, as soon as there is something to store',
    async (_, genid) => {
      const { store, errors, browser } = await serve(genid)

      expect(await browser.get('/')).toMatchObject({ status: 200, body: 'read' })
      expect(await browser.post('/set')).toMatchObject({ status: 500, body: 'Internal Server Error' })
      expect(errors).toMatchObject([{ code: 'ERR_SESSION_ID', message: expect.stringContaining('genid') }])
      expect((await browser.post('/commit')).body).toMatchObject({ code: 'ERR_SESSION_ID' })
      expect(await store.ids()).toEqual([])
    },
  )

  test.each(ids)('%s fails a regenerate', async (_, genid) => {
    let isBad = false
    const { browser } = await serve(
      () => (isBad ? genid() : `good${Math.random()}`),
      (app) =>
        app.post(
          '/regenerate',
          handled(async (req, res) => {
            isBad = true
            const error = await failureOf(regenerate(req))
            Reflect.deleteProperty(req, 'session')
            res.json(error ?? {})
          }),
        ),
    )
    await browser.post('/set')

    expect((await browser.post('/regenerate')).body).toMatchObject({ code: 'ERR_SESSION_ID' })
  })
})
