import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { safeClientOptions } from '../../lib/backend/valkey/connection/client-settings.ts'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import { StoreUnavailableError } from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { startCluster, type ValkeyCluster } from '../support/valkey.ts'
import { failureOf } from './failure-of.ts'
import { generateSession } from './live-session.ts'
import { SECRET } from './parts-store.ts'
import { freshPrefix, storeKinds, ValkeyKind } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

async function fill(store: SessionStore, sids: readonly string[]): Promise<void> {
  await Promise.all(
    sids.map((sid) => store.set(sid, generateSession(store, sid, { content: { user: sid } }))),
  )
}

const names = (count: number, name: string) => Array.from({ length: count }, (_, at) => `${name}${at}`)
const handlesOf = (store: SessionStore, sids: readonly string[]) =>
  sids.map((sid) => store.handle(sid)).sort()

describe.each(storeKinds())('administration $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  test('ids, length and all know every living session, each once, by its handle', async () => {
    const store = kind.place().open()
    const sids = names(1200, 'sid')
    await fill(store, sids)
    await Promise.all(sids.slice(0, 200).map((sid) => store.destroy(sid)))

    const [ids, length, all] = [await store.ids(), await store.length(), await store.all()]

    const living = sids.slice(200)
    expect([...ids].sort()).toEqual(handlesOf(store, living))
    expect(length).toBe(1000)
    expect(all.map((session) => [session.id, Reflect.get(session, 'user') as unknown]).sort()).toEqual(
      living.map((sid) => [store.handle(sid), sid]).sort(),
    )
  })

  test('clear ends every session, also for who holds a copy, and signs nobody in again', async () => {
    const store = kind.place().open()
    const live = generateSession(store, 'held', { content: { user: 'alice' } })
    await store.set('held', live)
    await fill(store, names(50, 'sid'))

    await store.clear()

    expect(await failureOf(store.set('held', Object.assign(live, { late: true })))).toMatchObject({
      code: 'ERR_SESSION_ENDED',
    })
    expect(await store.length()).toBe(0)
    expect(await store.all()).toEqual([])
    expect(await store.get('held')).toBeNull()
  })

  test('an empty store has nothing to list and clears quietly', async () => {
    const store = kind.place().open()

    expect([await store.ids(), await store.length(), await store.all(), await store.clear()]).toEqual([
      [],
      0,
      [],
      undefined,
    ])
  })

  test.each([{ onInvalid: 'discard' }, { onInvalid: 'error' }] as const)(
    'all skips what does not open, with an event, with onInvalid $onInvalid',
    async (options) => {
      const place = kind.place()
      const store = place.share({ ...options, onUnknownKey: options.onInvalid })
      await fill(store, names(5, 'sid'))
      const other = place.share({ secrets: ['a secret that the first store does not have'] })
      await fill(other, ['foreign'])
      await place.plant(store.handle('sid2'), Buffer.alloc(100))
      const events: unknown[] = []
      for (const name of ['session-invalid', 'session-unknown-key'] as const)
        store.on(name, ({ handle }) => events.push([name, handle]))

      const all = await store.all()

      expect(all.map((session) => Reflect.get(session, 'user') as unknown).sort()).toEqual([
        'sid0',
        'sid1',
        'sid3',
        'sid4',
      ])
      await vi.waitFor(() =>
        expect(events.sort()).toEqual([
          ['session-invalid', store.handle('sid2')],
          ['session-unknown-key', store.handle('foreign')],
        ]),
      )
    },
  )

  test('all fails as a whole when the backend does', async () => {
    const place = kind.place()
    await fill(place.share(), ['sid'])
    // A fake: a real backend that can list but not read is hard to come by.
    const fail = async () => {
      throw new StoreUnavailableError('fake')
    }
    const store = place.over(wrapBackend(place.backend(), { get: fail }))

    expect(await failureOf(store.all())).toBeInstanceOf(StoreUnavailableError)
  })

  test('health tells whether the backend answers, and how fast, and never rejects', async () => {
    const place = kind.place()
    const store = place.open()
    const never = place.over(wrapBackend(place.backend(), { ping: () => new Promise<never>(() => {}) }), {
      deadlineMs: 50,
    })

    const healthy = await store.health()

    expect(healthy).toMatchObject({ isReady: true, latencyMs: expect.any(Number) })
    expect(healthy.latencyMs).toBeGreaterThanOrEqual(0)
    expect(await never.health()).toMatchObject({ isReady: false, failure: 'ERR_STORE_UNAVAILABLE' })
  })

  test('close lets what the registry is doing come to its end', async () => {
    const place = kind.place()
    const store = place.open()
    const other = place.share()
    const [one, two] = ['one', 'two'].map((sid) =>
      generateSession(store, sid, { content: { userId: 'alice' } }),
    )
    await Promise.all([store.set('one', one as never), store.set('two', two as never)])

    const ending = store.registry.endAll('alice')
    await store.close()

    expect([...(await ending).ended].sort()).toEqual(handlesOf(other, ['one', 'two']))
    expect(await other.registry.list('alice')).toEqual([])
  })

  test('close lets calls in flight settle and refuses later ones', async () => {
    const store = kind.place().open()
    const writing = store.set('sid', generateSession(store, 'sid'))

    await Promise.all([writing, store.close()])
    await store.close()

    const failures = await Promise.all(
      [
        store.get('sid'),
        store.set('new', { cookie: {} } as never),
        store.destroy('sid'),
        store.touch('sid', { cookie: {} } as never),
        store.all(),
        store.ids(),
        store.length(),
        store.clear(),
      ].map(failureOf),
    )
    expect(failures).toMatchObject(
      Array.from({ length: 8 }, () => ({ code: 'ERR_STORE_CLOSED', status: 503 })),
    )
    expect(await store.health()).toMatchObject({ isReady: false, failure: 'ERR_STORE_CLOSED' })
  })
})

describe('administration on Valkey', () => {
  const kind = new ValkeyKind()
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  // Each could be caught by a pattern that is too wide, or by a prefix that is too short.
  const canariesOf = (prefix: string) => [
    `${prefix}`,
    `${prefix}:`,
    `${prefix}:r:`,
    `${prefix}:r:{}`,
    `${prefix}:r:{${'A'.repeat(42)}}`,
    `${prefix}:r:{${'A'.repeat(44)}}`,
    `${prefix}:r:{${'A'.repeat(43)}}x`,
    `${prefix}:r:{${'*'.repeat(43)}}`,
    `y${prefix}:r:{${'A'.repeat(43)}}`,
    `${prefix.toUpperCase()}:r:{${'A'.repeat(43)}}`,
    `${prefix}:subs:r:{${'A'.repeat(43)}}`,
    `sess:${'A'.repeat(32)}`,
    `connect-redis:${prefix}`,
  ]

  test('clear touches no key but those of its prefix: foreign canaries and siblings live on', async () => {
    const admin = kind.server.client()
    const prefix = freshPrefix()
    const store = kind.open({ prefix })
    const siblings = [`${prefix}:sub`, `${prefix}2`, `x${prefix}`, prefix.slice(0, -1)].map((sibling) =>
      kind.open({ prefix: sibling }),
    )
    const canaries = canariesOf(prefix)
    await Promise.all(canaries.map((key) => admin.set(key, 'canary')))
    await Promise.all([store, ...siblings].map((each) => fill(each, names(20, 'sid'))))

    expect(await store.length()).toBe(20)
    expect((await store.all()).length).toBe(20)
    await store.clear()

    expect(await store.length()).toBe(0)
    expect(await Promise.all(siblings.map((sibling) => sibling.length()))).toEqual([20, 20, 20, 20])
    expect(await admin.mget(canaries)).toEqual(canaries.map(() => 'canary'))
    admin.disconnect()
  })

  test('a prefix that another begins with lists only its own', async () => {
    const prefix = freshPrefix()
    const [outer, inner] = [kind.open({ prefix }), kind.open({ prefix: `${prefix}:r` })]
    await fill(outer, ['outer'])
    await fill(inner, ['inner'])

    expect(await outer.ids()).toEqual([outer.handle('outer')])
    expect(await inner.ids()).toEqual([inner.handle('inner')])
  })

  test('close disconnects the client that the store made, and leaves the one it was given', async () => {
    const admin = kind.server.client()
    const clients = async () => String(await admin.client('LIST')).split('\n').length
    const before = await clients()
    const own = new ValkeyStore({
      connection: { url: kind.server.url },
      secrets: [SECRET],
      connectTimeoutMs: 5000,
    })
    const given = kind.server.client(safeClientOptions())
    const borrowed = new ValkeyStore({ client: given, secrets: [SECRET], connectTimeoutMs: 5000 })
    await Promise.all([own.get('sid'), borrowed.get('sid')])
    expect(await clients()).toBe(before + 2)

    await Promise.all([own.close(), borrowed.close()])

    await vi.waitFor(async () => expect(await clients()).toBe(before + 1))
    expect(await given.ping()).toBe('PONG')
    given.disconnect()
    admin.disconnect()
  })
})

describe('administration on a cluster of three primaries', () => {
  let cluster: ValkeyCluster
  let store: ValkeyStore

  beforeAll(async () => {
    cluster = await startCluster({ primaries: 3 })
    const nodes = cluster.primaries.map(({ host, port }) => ({ host, port }))
    store = new ValkeyStore({
      connection: { nodes },
      secrets: [SECRET],
      connectTimeoutMs: 10_000,
      commandTimeoutMs: 10_000,
    })
  })
  afterAll(async () => {
    await store?.close()
    await cluster?.stop()
  })

  test('ids, length, all and clear reach every primary, and foreign keys live on', async () => {
    const admins = cluster.primaries.map((node) => node.client())
    const client = cluster.client()
    const canaries = names(30, 'canary')
    await Promise.all(canaries.map((key) => client.set(key, 'canary')))
    const sids = names(300, 'sid')
    await fill(store, sids)
    const sizes = await Promise.all(admins.map((admin) => admin.keys(`${createKeys('sess').recordPattern}`)))

    expect(Math.min(...sizes.map((keys) => keys.length))).toBeGreaterThan(50)
    expect([...(await store.ids())].sort()).toEqual(handlesOf(store, sids))
    expect(await store.length()).toBe(300)
    expect((await store.all()).map(({ id }) => id).sort()).toEqual(handlesOf(store, sids))
    await store.clear()

    expect(await store.length()).toBe(0)
    expect((await Promise.all(admins.map((admin) => admin.keys('sess:r:*')))).flat()).toEqual([])
    expect(await Promise.all(canaries.map((key) => client.get(key)))).toEqual(canaries.map(() => 'canary'))
  })
})
