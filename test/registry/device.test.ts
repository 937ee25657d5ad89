import type { Request } from 'express'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { SessionDevice } from '../../lib/session/device.ts'
import { contentOf, createApp, handled, listen, type Running, regenerate, save } from '../store/app.ts'
import { Browser } from '../store/browser.ts'
import { storeKinds } from '../store/stores.ts'
import { newUser } from './requests.ts'

describe.each(storeKinds())('$name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  /** An app whose visitors sign in with or without a new session id. */
  async function serve(device: (req: Request) => SessionDevice | undefined) {
    const store = kind.place().open({ device })
    const signIn = (isNewId: boolean) =>
      handled(async (req, res) => {
        if (isNewId) await regenerate(req)
        contentOf(req)['userId'] = req.params['user']
        await save(req)
        res.json({ handle: store.handle(req.sessionID) })
      })
    const app = await listen(
      createApp({
        store,
        routes: (routes) =>
          routes.post('/log-in/:user', signIn(true)).post('/log-in-here/:user', signIn(false)),
      }),
    )
    running.push(app)
    const browser = new Browser(app.origin)
    const user = newUser().replace(' ', '-')
    const devices = async () =>
      (await store.registry.list(user, { includeEnded: true })).map((session) => session.device)
    return { store, browser, user, devices }
  }

  test('a list shows what the app noted of the request that signed in', async () => {
    const { browser, user, devices } = await serve((req) => ({
      ip: req.ip ?? '',
      path: req.path,
      isNew: true,
      port: 443,
    }))

    await browser.post(`/log-in/${user}`)

    expect(await devices()).toEqual([{ ip: '127.0.0.1', path: `/log-in/${user}`, isNew: true, port: 443 }])
  })

  test('it stays what it was through later requests, and past the end', async () => {
    let asked = 0
    const { browser, user, devices } = await serve((req) => {
      asked += 1
      return { path: req.path, asked }
    })
    await browser.post(`/log-in/${user}`)

    await browser.post('/set/cart/full')
    await browser.get('/content')
    const living = await devices()
    await browser.post('/sign-out')

    expect(living).toEqual([{ path: `/log-in/${user}`, asked: 1 }])
    expect(await devices()).toEqual(living)
  })

  test('it is noted anew when another user signs in on the same session', async () => {
    const { store, browser, user, devices } = await serve((req) => ({ path: req.path }))
    await browser.post(`/log-in/${user}`)
    const other = newUser().replace(' ', '-')

    await browser.post(`/log-in-here/${other}`)

    expect(await devices()).toEqual([])
    expect(await store.registry.list(other)).toMatchObject([{ device: { path: `/log-in-here/${other}` } }])
  })

  test('a long text is cut at 256 characters, and what is undefined is left out', async () => {
    const { browser, user, devices } = await serve(() => ({
      agent: 'x'.repeat(300),
      none: undefined as never,
      broken: '\ud800',
    }))

    await browser.post(`/log-in/${user}`)

    expect(await devices()).toEqual([{ agent: 'x'.repeat(256), broken: '\ufffd' }])
  })

  test('a device of more than some thousand bytes is forgotten when its session ends, but not that it ended', async () => {
    const { store, browser, user, devices } = await serve(() =>
      Object.fromEntries(Array.from({ length: 16 }, (_, at) => [`entry${at}`, 'é'.repeat(256)])),
    )
    await browser.post(`/log-in/${user}`)
    expect(Object.keys((await devices())[0] ?? {}).length).toBe(16)

    await store.registry.endAll(user, { reason: 'enough' })

    expect(await devices()).toEqual([undefined])
    expect(await store.registry.list(user, { includeEnded: true })).toMatchObject([
      { status: 'ended', ending: { reason: 'enough' } },
    ])
  })

  test('no device is shown where the app notes none', async () => {
    const { browser, user, devices } = await serve(() => undefined)

    await browser.post(`/log-in/${user}`)

    expect(await devices()).toEqual([undefined])
  })

  test.each([
    ['more than 16 properties', Object.fromEntries(Array.from({ length: 17 }, (_, at) => [`p${at}`, at]))],
    ['a nested object', { screen: { width: 1 } }],
    ['a number that JSON cannot write', { width: Number.NaN }],
    ['a name with other characters', { 'user-agent': 'x' }],
    ['no object', 'Firefox'],
    ['a promise', Promise.resolve({ browser: 'Firefox' })],
    ['a Map', new Map([['browser', 'Firefox']])],
    ['a Date', new Date()],
    ['an empty list', []],
    ['a list', ['Firefox']],
    ['false', false],
  ])('a device with %s signs nobody in', async (_, device) => {
    const { store, browser, user, devices } = await serve(() => device as never)

    const page = await browser.post(`/log-in/${user}`)

    expect(page.status).toBe(500)
    expect(await devices()).toEqual([])
    expect(await store.length()).toBe(0)
  })
})
