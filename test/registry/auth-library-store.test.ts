import { pack, unpack } from 'msgpackr'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import { SessionStoreError } from '../../lib/errors.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import { contentOf, createApp, handled, listen, type Running, regenerate, save } from '../store/app.ts'
import { Browser } from '../store/browser.ts'
import { decidingTime } from '../store/deciding-time.ts'
import { failureOf } from '../store/failure-of.ts'
import { generateSession } from '../store/live-session.ts'
import { SECRET } from '../store/parts-store.ts'
import { InProcessKind, ValkeyKind } from '../store/stores.ts'
import { TestClock } from '../support/clock.ts'
import {
  edit,
  newSid,
  newUser,
  ownerOf,
  registered,
  signIn,
  signInTimes,
  validates,
  validOf,
  visit,
} from './requests.ts'

const NEXT_SECRET = 'the secret that comes after, as long as it has to be'

describe('what a session store of an auth library does', () => {
  const kind = new ValkeyKind()
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  function open(options: SessionStoreOptions = {}) {
    const place = kind.place()
    return { place, keys: createKeys(place.prefix), store: place.share(options), user: newUser() }
  }

  const call = (command: string, ...args: (string | Buffer | number)[]) =>
    kind.client.callBuffer(command, ...args)
  const lengthOf = async (key: string) => Number(await call('strlen', key))

  test('compact binary session blobs, MessagePack possible', async () => {
    const content = {
      userId: 'alice',
      scores: Array.from({ length: 200 }, (_, at) => at % 100),
      at: new Date(0),
    }
    const packed = open({ serializer: { stringify: pack, parse: (stored) => unpack(stored as Buffer) } })
    const asJson = open()
    for (const { store } of [packed, asJson])
      await store.set('sid', generateSession(store, 'sid', { content }))

    const [packedBytes = 0, jsonBytes = 0] = await Promise.all(
      [packed, asJson].map(({ keys, store }) => lengthOf(keys.record(store.handle('sid')))),
    )

    expect(await packed.store.get('sid')).toMatchObject(content)
    expect(packedBytes).toBeLessThan(0.8 * jsonBytes)
  })

  test("a ttl by the server's own expiry", async () => {
    const { keys, store, user } = open({ ttl: 0.5 })
    const key = keys.record(store.handle(await signIn(store, user)))
    const leftMs = Number(await call('pttl', key))

    await kind.pass(leftMs + 20)

    expect(leftMs).toBeGreaterThan(0)
    expect(leftMs).toBeLessThanOrEqual(500)
    expect(await call('exists', key)).toBe(0)
  })

  test('AES-256-GCM at rest: nothing of a session can be read', async () => {
    const { keys, store } = open({ encrypt: true })
    await store.set(
      'sid',
      generateSession(store, 'sid', { content: { userId: 'alice', diagnosis: 'canary' } }),
    )

    const stored = String(await call('get', keys.record(store.handle('sid'))))

    expect(await store.get('sid')).toMatchObject({ diagnosis: 'canary' })
    expect(stored).not.toMatch(/canary|diagnosis|alice/)
  })

  test.each([
    ['save', (one: ReturnType<typeof open>['store'], sid: string) => edit(one, sid, { edited: true })],
    ['due touch', visit],
  ] as const)(
    'a current and a previous key: reads try exactly the right one, and a %s re-encrypts with the current',
    async (_, use) => {
      const { place, store, user } = open({ encrypt: true })
      const rotated = place.share({ encrypt: true, secrets: [NEXT_SECRET, SECRET], touchAfter: 0 })
      const current = place.share({ encrypt: true, secrets: [NEXT_SECRET] })
      const unknown: unknown[] = []
      current.on('session-unknown-key', (facts) => unknown.push(facts))
      const sid = await signIn(store, user)
      const before = [await validates(rotated, sid), await validates(current, sid)]

      await kind.pass(5)
      await use(rotated, sid)

      expect(before).toEqual([true, false])
      expect(unknown).toEqual([{ handle: store.handle(sid) }])
      expect([await validates(current, sid), await validates(store, sid)]).toEqual([true, false])
    },
  )

  test('a registry per user as a sorted set, scored by the time of registration, oldest first', async () => {
    const { keys, place, store, user } = open()
    const beforeMs = await decidingTime(kind, place)
    const sids = await signInTimes(store, user, 5)
    const afterMs = await decidingTime(kind, place)
    const [orders] = keys.registry(ownerOf(user))

    const flat = ((await call('zrange', orders, 0, -1, 'withscores')) as Buffer[]).map(String)

    const scores = flat.filter((_, at) => at % 2 === 1).map(Number)
    expect(String(await call('type', orders))).toBe('zset')
    expect(flat.filter((_, at) => at % 2 === 0)).toEqual(sids.map((sid) => store.handle(sid)))
    expect(scores).toEqual(scores.toSorted((a, b) => a - b))
    expect(new Set(scores).size).toBe(5)
    expect(Math.min(...scores)).toBeGreaterThanOrEqual(beforeMs * 1000)
    expect(Math.max(...scores)).toBeLessThanOrEqual((afterMs + 1) * 1000)
  })

  test('the time of registration comes from an injectable clock', async () => {
    const clock = new TestClock(1_700_000_000_000)
    const inProcess = new InProcessKind()
    const place = inProcess.place({ clock })
    const store = place.share()
    const user = newUser()
    for (const step of [0, 5, 1000]) {
      clock.advance(step)
      await signIn(store, user)
    }

    const { members } = await place.backend().registry.roster(ownerOf(user))
    await inProcess.stop()

    expect(members.map(({ order }) => order - 1_700_000_000_000_000)).toEqual([0, 5000, 1_005_000])
  })

  test('a cap evicts first in, first out: a burst of short sessions does not push the rightful user out', async () => {
    const { store, user } = open({ maxSessionsPerUser: 5 })
    const [rightful = '', ...others] = await signInTimes(store, user, 4)
    for (let time = 1; time <= 20; time += 1) await store.destroy(await signIn(store, user))
    const survived = await validOf(store, [rightful, ...others])

    const [fifth = '', sixth = ''] = await signInTimes(store, user, 2)

    expect(survived).toEqual([rightful, ...others])
    expect(await validOf(store, [rightful, ...others, fifth, sixth])).toEqual([...others, fifth, sixth])
  })

  test('register, is-valid, end one, end all of a user, list active, watch for revocation', async () => {
    const { store, user } = open()
    const sids = await signInTimes(store, user, 3)
    const watch = store.registry.watch({ sid: sids[2] ?? '' })
    const [one = ''] = sids

    const listed = await registered(store, user)
    const { outcome } = await store.registry.end({ sid: one })
    const afterOne = await validOf(store, sids)
    const { ended } = await store.registry.endAll(user, { reason: 'all' })

    expect(listed).toEqual(sids.toReversed().map((sid) => store.handle(sid)))
    expect([outcome, afterOne, ended.length, await validOf(store, sids)]).toEqual([
      'ended',
      sids.slice(1),
      2,
      [],
    ])
    expect(await watch.ended).toMatchObject({ handle: store.handle(sids[2] ?? ''), reason: 'all' })
  })

  test('a new id on login moves the entry', async () => {
    const { store, user } = open({ maxSessionsPerUser: 2 })
    const logIn = handled(async (req, res) => {
      await regenerate(req)
      contentOf(req)['userId'] = user
      await save(req)
      res.json({ handle: store.handle(req.sessionID) })
    })
    const app = await listen(createApp({ store, routes: (routes) => routes.post('/log-in', logIn) }))
    running.push(app)
    const browser = new Browser(app.origin)
    const handles: string[] = []
    for (let time = 1; time <= 3; time += 1)
      handles.push(((await browser.post('/log-in')).body as { handle: string }).handle)

    expect(new Set(handles).size).toBe(3)
    expect(await registered(store, user)).toEqual(handles.slice(-1))
    expect(await store.registry.ending({ handle: handles[0] ?? '' })).toMatchObject({ reason: 'logout' })
    expect((await browser.get('/content')).body).toEqual({ userId: user })
  })

  test('a payload cap of 64 KiB', async () => {
    const { place, store } = open()
    // As much as makes the serialized session exactly that long.
    const bytes = (length: number) => ({ text: 'x'.repeat(length) })
    await store.set('probe', generateSession(store, 'probe', { content: bytes(0) }))
    const plain = { cookie: { originalMaxAge: null, path: '/', httpOnly: true, expires: null }, ...bytes(0) }
    const room = 65_536 - Buffer.byteLength(JSON.stringify(plain))
    const attempt = (sid: string, length: number) =>
      failureOf(store.set(sid, generateSession(store, sid, { content: bytes(length) })))

    const failures = [await attempt('fits', room - 100), await attempt('large', room + 100)]

    expect(failures).toEqual([
      undefined,
      expect.objectContaining({ code: 'ERR_SESSION_TOO_LARGE', maxBytes: 65_536 }),
    ])
    expect(await place.open().ids()).not.toContain(store.handle('large'))
  })

  test('a health check that answers within 2 s, also when the server has stopped answering', async () => {
    const { server } = kind
    const { store } = open({})
    const impatient = kind.open({
      commandTimeoutMs: 500,
      connectTimeoutMs: 250,
      retries: 1,
    } as SessionStoreOptions)
    const healthy = await impatient.health()

    await server.freeze()
    const startMs = performance.now()
    const frozen = await impatient.health()
    const tookMs = performance.now() - startMs
    await server.thaw()

    expect(healthy).toMatchObject({ isReady: true, latencyMs: expect.any(Number) })
    expect(frozen).toMatchObject({ isReady: false, failure: 'ERR_STORE_UNAVAILABLE' })
    expect(tookMs).toBeLessThan(2000)
    expect(await store.health()).toMatchObject({ isReady: true })
  })

  test('a prefix per tenant: what one has means nothing to another', async () => {
    const [one, other] = [open(), open()]
    const sid = await signIn(one.store, 'alice')

    const { ended } = await other.store.registry.endAll('alice')

    expect([await validates(one.store, sid), await validates(other.store, sid)]).toEqual([true, false])
    expect([await one.store.registry.count('alice'), await other.store.registry.count('alice')]).toEqual([
      1, 0,
    ])
    expect(ended).toEqual([])
  })

  test("errors are the store's own, and carry nothing of the client's", async () => {
    const { keys, store, user } = open()
    const [orders] = keys.registry(ownerOf(user))
    await call('set', orders, 'no registry')
    const calls = [
      () => store.registry.list(user),
      () => store.registry.endAll(user),
      () => signIn(store, user, 'a-secret-id'),
    ]

    const failures = await Promise.all(calls.map((one) => failureOf(one())))

    for (const failure of failures) {
      expect(failure).toBeInstanceOf(SessionStoreError)
      expect(failure).toMatchObject({ code: 'ERR_SESSION_INVALID' })
      expect(JSON.stringify(failure, Object.getOwnPropertyNames(failure))).not.toMatch(
        new RegExp(`${user}|${ownerOf(user)}|a-secret-id`),
      )
      expect((failure as Error).cause).toBeUndefined()
    }
    expect(await validates(store, newSid())).toBe(false)
  })
})
