import type { Express } from 'express'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { ownerName } from '../../lib/session/names.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { until } from '../support/until.ts'
import { contentOf, createApp, handled, listen, type Running } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { createGate } from './gate.ts'
import { loadedSession } from './live-session.ts'
import { SECRET } from './parts-store.ts'
import { storeKinds } from './stores.ts'

const ROTATED = { secrets: ['a newer secret, never used outside of the tests', SECRET] }

describe.each(storeKinds())('a request that only reads, whose session is found void $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  async function serve(
    options: SessionStoreOptions = {},
    routes?: (app: Express, store: SessionStore) => unknown,
  ) {
    const place = kind.place()
    // Of another lifetime, so that a touch is due at once.
    const signingIn = place.share({ ttl: options.ttl ?? 3600 })
    const store = place.share({ touchAfter: 0, ...options })
    const [reading, read] = [createGate(), createGate()]
    const appOf = (store: SessionStore) =>
      createApp({
        store,
        routes: (app) => {
          app.use(sessionGuard({ store, onError: () => {} }))
          app.post('/in', (req, res) => {
            contentOf(req)['userId'] = 'ann'
            res.json({ id: req.sessionID })
          })
          app.get(
            '/slow',
            handled(async (req, res) => {
              reading.open()
              await read.opened
              res.json({ user: contentOf(req)['userId'] })
            }),
          )
          routes?.(app, store)
        },
      })
    const [entry, site] = [await listen(appOf(signingIn)), await listen(appOf(store))]
    running.push(entry, site)
    const browser = new Browser(entry.origin)
    const { body } = await browser.post('/in')
    browser.turnTo(site.origin)
    const { id } = body as { id: string }
    return { place, store, other: signingIn, browser, id, reading, read, backend: place.backend() }
  }

  type Scene = Awaited<ReturnType<typeof serve>>
  const withdraw = (backend: Backend, handle: string) =>
    backend.registry.withdraw(ownerName('ann'), { handles: [handle], departedTtlMs: 1 })

  const voids: readonly (readonly [string, (scene: Scene) => Promise<unknown>])[] = [
    ['it was ended', ({ other, id }) => other.registry.end({ sid: id })],
    ['its user was signed out everywhere', ({ other }) => other.registry.endAll('ann')],
    ['its registration is lost', ({ backend, store, id }) => withdraw(backend, store.handle(id))],
    ['its epoch is over', ({ backend }) => backend.registry.raise(ownerName('ann'), { keepMs: 60_000 })],
  ]

  test.each(
    voids.flatMap(([why, end]) => [
      { why, end, sealed: 'as it is', options: {} },
      { why, end, sealed: 'to be sealed anew', options: ROTATED },
    ]),
  )('as $why, $sealed, is answered 401 and nothing of what it read', async ({ end, options }) => {
    const scene = await serve(options)

    const page = scene.browser.get('/slow')
    await scene.reading.opened
    await end(scene)
    scene.read.open()

    expect(await page).toMatchObject({ status: 401, setCookie: [], body: 'Unauthorized' })
    expect((await scene.browser.get('/content')).body).toEqual({})
  })

  test('as it has expired, is answered 401, as a save would be', async () => {
    const { browser, store, reading, read } = await serve({ ttl: 1 })

    const page = browser.get('/slow')
    await reading.opened
    await until(async () => (await store.length()) === 0)
    read.open()

    expect(await page).toMatchObject({ status: 401 })
  })

  test.each(voids)('tells a touch when %s', async (_, end) => {
    const scene = await serve()
    const { store, id } = scene
    const live = await loadedSession(store, id)
    const refused: unknown[] = []
    store.on('write-refused', (facts) => refused.push(facts))

    await end(scene)

    expect(await failureOf(store.touch(id, live))).toMatchObject({
      code: 'ERR_SESSION_ENDED',
      ending: 'ended',
    })
    await until(() => refused.length > 0)
    expect(refused).toEqual([{ handle: store.handle(id), ending: 'ended' }])
  })

  test('is answered as ever while no touch is due: it was loaded before', async () => {
    const { browser, other, reading, read } = await serve({ touchAfter: 300, ttl: 3600 })

    const page = browser.get('/slow')
    await reading.opened
    await other.registry.endAll('ann')
    read.open()

    expect(await page).toMatchObject({ status: 200, body: { user: 'ann' } })
    expect((await browser.get('/content')).body).toEqual({})
  })
})
