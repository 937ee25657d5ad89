import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import type { SessionStore } from '../../lib/store/store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'
import { commandCounts } from '../support/valkey.ts'
import { createApp, listen } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { type ForkedApp, forkApp } from './forked-app.ts'
import { generateSession, loadedSession } from './live-session.ts'
import { SECRET } from './parts-store.ts'
import { freshPrefix, storeKinds, ValkeyKind } from './stores.ts'

const SLOW_MS = 50
const MAX_OFFSET_MS = 100
const isLong = inject('suite') === 'long'
// In the long suite 4 settings on each of two backends, and on two processes: 500 pairs.
const PAIRS = isLong ? 40 : 10
const PAIRS_ON_TWO_PROCESSES = isLong ? 45 : 10

const settings = [true, false].flatMap((resave) => [true, false].map((rolling) => ({ resave, rolling })))

/** When the sign-out is sent: while the slow request is held, after its reply, or that many ms after it was sent. */
type Order = 'before its end' | 'after its end' | number

/** A slow request that changes the session, and a sign-out; returns what the session's cookie shows afterwards. */
async function race(slowOrigin: string, otherOrigin: string, order: Order): Promise<readonly unknown[]> {
  const browser = new Browser(otherOrigin)
  await browser.post('/sign-in/alice')
  const slow = new Browser(slowOrigin)
  slow.cookie = browser.cookie
  const old = new Browser(slowOrigin, otherOrigin)
  old.cookie = browser.cookie
  const signOut = () => browser.post('/sign-out')

  if (order === 'before its end') {
    const [name, control] = [randomUUID(), new Browser(slowOrigin)]
    const held = slow.post(`/held/${name}`)
    await control.get(`/arrived/${name}`)
    await signOut()
    await control.post(`/release/${name}`)
    await held
  } else if (order === 'after its end') {
    await slow.post('/slow/0')
    await signOut()
  } else {
    await Promise.all([slow.post(`/slow/${SLOW_MS}`), delay(order).then(signOut)])
  }

  const pages = [await old.get('/content'), await old.get('/content')]
  return pages.map(({ body }) => body)
}

/** As many at once: a fifth in each certain order, the offsets of the others spread evenly. */
function races(origins: readonly [string, string], pairs: number): Promise<readonly (readonly unknown[])[]> {
  const [slow, other] = origins
  return Promise.all(Array.from({ length: pairs }, (_, at) => race(slow, other, orderOf(at / (pairs - 1)))))
}

function orderOf(share: number): Order {
  if (share < 0.2) return 'before its end'
  return share > 0.8 ? 'after its end' : share * MAX_OFFSET_MS
}

function expectEnded(outcomes: readonly (readonly unknown[])[], pairs: number): void {
  expect(outcomes).toEqual(Array.from({ length: pairs }, () => [{}, {}]))
}

describe.each(storeKinds())('a sign-out beside a slow request $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  test.each(settings)(
    `holds in ${PAIRS} of ${PAIRS} pairs with resave $resave and rolling $rolling`,
    async (session) => {
      const store = kind.place().open()
      const refusals: unknown[] = []
      store.on('write-refused', (facts) => refusals.push(facts))
      const app = await listen(createApp({ store, session }))

      const outcomes = await races([app.origin, app.origin], PAIRS)
      await app.close()

      expectEnded(outcomes, PAIRS)
      expect(await store.ids()).toEqual([])
      expect(refusals.length).toBeGreaterThan(0)
    },
  )
})

describe('on Valkey', () => {
  const kind = new ValkeyKind()
  const prefix = freshPrefix()
  let forked: readonly ForkedApp[] = []

  beforeAll(async () => {
    await kind.start()
    const fork = () =>
      forkApp({ store: { connection: { url: kind.server.url }, prefix }, sessions: settings })
    forked = await Promise.all([fork(), fork()])
  })
  afterAll(async () => {
    await Promise.all(forked.map((app) => app.close()))
    await kind.stop()
  })

  test.each(settings)(
    `a sign-out in one process beside a slow request in another holds in ${PAIRS_ON_TWO_PROCESSES} of ${PAIRS_ON_TWO_PROCESSES} pairs with resave $resave and rolling $rolling`,
    async (session) => {
      const at = settings.indexOf(session)
      const [one = '', two = ''] = forked.map(({ origins }) => origins[at])

      const outcomes = await races([one, two], PAIRS_ON_TWO_PROCESSES)

      expectEnded(outcomes, PAIRS_ON_TWO_PROCESSES)
      expect(await kind.open({ prefix }).ids()).toEqual([])
    },
  )

  describe('a write that was given up', () => {
    let proxy: FaultProxy

    beforeAll(async () => {
      proxy = await startFaultProxy(kind.server)
    })
    afterAll(() => proxy.stop())

    const opened: SessionStore[] = []
    afterEach(async () => {
      await Promise.all(opened.splice(0).map((store) => store.close()))
    })

    // Gives up after half a second, and leaves what it sent on its way.
    function impatient(prefix: string, port: number): SessionStore {
      const client = kind.server.client({ port, enableOfflineQueue: false, maxRetriesPerRequest: 0 })
      const store = new ValkeyStore({
        client,
        unsafeClientSettings: ['reconnectOnError', 'socketTimeout'],
        secrets: [SECRET],
        prefix,
        commandTimeoutMs: 250,
        retries: 1,
      })
      opened.push(store)
      return store
    }

    async function landed(count: number): Promise<void> {
      const admin = kind.server.client()
      await until(async () => ((await commandCounts(admin)).get('evalsha') ?? 0) >= count)
      admin.disconnect()
    }

    async function scriptsRun(): Promise<number> {
      const admin = kind.server.client()
      const counts = await commandCounts(admin)
      admin.disconnect()
      return counts.get('evalsha') ?? 0
    }

    test('on a frozen server revives nothing when the server thaws: not after a sign-out, nor beside one', async () => {
      const place = kind.place()
      const store = impatient(place.prefix, kind.server.port)
      const other = impatient(place.prefix, kind.server.port)
      for (const sid of ['after', 'beside'])
        await store.set(sid, generateSession(store, sid, { content: { user: 'alice' } }))
      const [after, beside] = [await loadedSession(store, 'after'), await loadedSession(store, 'beside')]
      await other.destroy('after')
      const before = await scriptsRun()

      await kind.server.freeze()
      const outcomes = await Promise.all([
        failureOf(store.set('after', Object.assign(after, { late: true }))),
        failureOf(store.set('beside', Object.assign(beside, { late: true }))),
        failureOf(other.destroy('beside')),
      ])
      await kind.server.thaw()
      await landed(before + 3)
      await other.destroy('beside')

      expect(outcomes).toMatchObject(Array.from({ length: 3 }, () => ({ code: 'ERR_STORE_OUTCOME_UNKNOWN' })))
      expect(await place.open().get('after')).toBeNull()
      expect(await place.open().get('beside')).toBeNull()
      expect(await place.open().ids()).toEqual([])
    })

    test.each([
      ['of a loaded session', async (store: SessionStore) => loadedSession(store, 'sid')],
      ['of a generated session', async (store: SessionStore) => generateSession(store, 'sid')],
    ])('%s and comes in after the sign-out was acknowledged revives nothing', async (_, obtain) => {
      const place = kind.place()
      const healthy = place.open()
      await healthy.set('sid', generateSession(healthy, 'sid', { content: { user: 'alice' } }))
      const held = impatient(place.prefix, proxy.port)
      const session = Object.assign(await obtain(held), { late: true })
      // Connects, and learns the server's time.
      await held.set('other', generateSession(held, 'other'))

      await proxy.set({ kind: 'pause' })
      const outcome = await failureOf(held.set('sid', session as never))
      await healthy.destroy('sid')
      const before = await scriptsRun()
      await proxy.set({ kind: 'pass' })
      await landed(before + 1)

      expect(outcome).toMatchObject({ status: 503 })
      expect(await healthy.get('sid')).toBeNull()
      expect(await healthy.ids()).toEqual([healthy.handle('other')])
    })
  })
})
