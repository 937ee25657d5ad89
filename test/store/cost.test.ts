import type { Redis } from 'iovalkey'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import { countCommands } from '../support/valkey.ts'
import { createApp, listen, type Running } from './app.ts'
import { Browser } from './browser.ts'
import { generateSession, loadedSession } from './live-session.ts'
import { ValkeyKind } from './stores.ts'

const kind = new ValkeyKind()
let admin: Redis

beforeAll(async () => {
  await kind.start()
  admin = kind.server.client()
})
afterAll(() => kind.stop())

// What the scripts run inside them is counted by the server too; these are what the network carries.
const SENT = [
  'get',
  'getrange',
  'set',
  'evalsha',
  'eval',
  'fcall',
  'time',
  'pexpire',
  'pexpireat',
  'expire',
  'exists',
  'scan',
  'del',
  'unlink',
  'ping',
]

/** Commands that clients sent, apart from those that scripts ran. */
async function sentBy(work: () => Promise<unknown>): Promise<Readonly<Record<string, number>>> {
  const counts = await countCommands(admin, work)
  const scripts = (counts['evalsha'] ?? 0) + (counts['eval'] ?? 0)
  if (scripts > 0) return { scripts }
  return Object.fromEntries(Object.entries(counts).filter(([name]) => SENT.includes(name)))
}

const REQUESTS = 25

describe('a request costs', () => {
  const running: Running[] = []
  let browser: Browser

  async function signIn(options: SessionStoreOptions, session = {}): Promise<void> {
    const app = await listen(createApp({ store: kind.place().open(options), session }))
    running.push(app)
    browser = new Browser(app.origin)
    await browser.post('/sign-in/alice')
    await browser.get('/content')
  }

  beforeEach(() => signIn({}))
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  async function readings(): Promise<void> {
    for (let at = 0; at < REQUESTS; at += 1)
      expect((await browser.get('/content')).body).toEqual({ user: 'alice' })
  }

  test('one plain read and no write when it only reads, within touchAfter', async () => {
    expect(await countCommands(admin, readings)).toEqual({ getrange: REQUESTS })
  })

  test.each([
    ['encrypt', { encrypt: true }, {}],
    ['resave', {}, { resave: true }],
    ['rolling', {}, { rolling: true }],
    ['a cookie with an age', {}, { cookie: { maxAge: 3_600_000 } }],
    ['an absolute lifetime', { absoluteTtl: 3600 }, {}],
  ])('no more with %s', async (_, options, session) => {
    await signIn(options, session)

    expect(await countCommands(admin, readings)).toEqual({ getrange: REQUESTS })
  })

  test('nothing at all without a cookie', async () => {
    const visitor = new Browser(...browser.origins)

    expect(await countCommands(admin, () => visitor.get('/content'))).toEqual({})
  })

  test('one read and one script when it changes the session', async () => {
    const counts = await countCommands(admin, () => browser.post('/set/theme/dark'))

    // The script itself reads twice, looks for the tombstone, asks for the time and writes.
    expect(counts).toMatchObject({ evalsha: 1, set: 1, time: 1, exists: 1 })
    expect(counts['getrange']).toBe(1 + 2)
  })

  test('one read and one script when a touch is due', async () => {
    await signIn({ touchAfter: 0 })

    const counts = await countCommands(admin, () => browser.get('/content'))

    expect(counts['evalsha']).toBe(1)
    expect(counts['set']).toBeUndefined()
  })

  test('one script when it signs out', async () => {
    const counts = await countCommands(admin, () => browser.post('/sign-out'))

    expect(counts['evalsha']).toBe(1)
  })
})

describe('a store costs', () => {
  test('one script for a save, one more read and script for each conflict', async () => {
    const store = kind.place().open()
    await store.set('sid', generateSession(store, 'sid'))
    const [one, two] = [await loadedSession(store, 'sid'), await loadedSession(store, 'sid')]

    expect(await sentBy(() => store.set('sid', Object.assign(one, { one: 1 })))).toEqual({ scripts: 1 })
    expect(await sentBy(() => store.set('sid', Object.assign(two, { two: 2 })))).toEqual({ scripts: 2 })
  })

  test('nothing for a save or a touch that would change nothing', async () => {
    const store = kind.place().open()
    await store.set('sid', generateSession(store, 'sid'))
    const live = await loadedSession(store, 'sid')

    expect(
      await sentBy(async () => {
        await store.set('sid', live)
        await store.touch('sid', live)
      }),
    ).toEqual({})
  })

  test('one scan, and no read, to count 100 sessions', async () => {
    const store = kind.place().open()
    for (let at = 0; at < 100; at += 1) await store.set(`sid${at}`, generateSession(store, `sid${at}`))

    const counts = await countCommands(admin, () => store.length())

    expect(Object.keys(counts)).toEqual(['scan'])
  })

  test('one ping for its health', async () => {
    const store = kind.place().open()

    expect(await countCommands(admin, () => store.health())).toEqual({ ping: 1 })
  })
})
