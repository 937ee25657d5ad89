import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, beforeEach, describe, expect, test, vi } from 'vitest'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import { SessionInvalidError } from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { countCommands } from '../support/valkey.ts'
import { failureOf } from './failure-of.ts'
import { generateSession, type LiveSession, loadedSession, storedContent } from './live-session.ts'
import { ValkeyKind, type ValkeyPlace } from './stores.ts'

const types: Readonly<Record<string, (client: Redis, key: string) => Promise<unknown>>> = {
  'a list': (client, key) => client.rpush(key, '1', '2'),
  'a set': (client, key) => client.sadd(key, '1', '2'),
  'a hash': (client, key) => client.hset(key, 'cookie', '{}', 'user', 'alice'),
  'a sorted set': (client, key) => client.zadd(key, 1, 'a'),
  'a stream': (client, key) => client.xadd(key, '*', 'a', '1'),
  'text that is plain JSON': (client, key) =>
    client.set(key, '{"cookie":{"originalMaxAge":null},"user":"admin"}'),
  'a text of one digit': (client, key) => client.set(key, '1'),
}

const kind = new ValkeyKind()
let admin: Redis
let place: ValkeyPlace
let store: SessionStore
let copy: LiveSession
let recordKey: string
let tombstoneKey: string

beforeAll(async () => {
  await kind.start()
  admin = kind.server.client()
})
afterAll(() => kind.stop())

beforeEach(async () => {
  place = kind.place()
  store = place.open({ touchAfter: 0 })
  const keys = createKeys(place.prefix)
  recordKey = keys.record(store.handle('sid'))
  tombstoneKey = keys.tombstone(store.handle('sid'))
  await store.set('sid', generateSession(store, 'sid', { content: { user: 'alice' } }))
  copy = await loadedSession(store, 'sid')
})

const dump = (key: string) => admin.dumpBuffer(key)

/** Every other key of the server, with what it holds. */
async function others(...mine: readonly string[]): Promise<Readonly<Record<string, string>>> {
  const keys = (await admin.keys('*')).filter((key) => !mine.includes(key)).sort()
  return Object.fromEntries(
    await Promise.all(keys.map(async (key) => [key, (await dump(key))?.toString('hex') ?? ''])),
  )
}

describe.each(Object.entries(types))('where a record should be stands %s, and', (_, plant) => {
  beforeEach(async () => {
    await admin.del(recordKey)
    await plant(admin, recordKey)
    await store.set('neighbour', generateSession(store, 'neighbour'))
  })

  test('get is no session, with an event, or the error that was asked for', async () => {
    const events: unknown[] = []
    store.on('session-invalid', (facts) => events.push(facts))

    expect(await store.get('sid')).toBeNull()
    expect(await failureOf(place.open({ onInvalid: 'error' }).get('sid'))).toBeInstanceOf(SessionInvalidError)
    await vi.waitFor(() => expect(events).toEqual([{ handle: store.handle('sid') }]))
  })

  test('set and touch write nothing at all', async () => {
    const [before, around] = [await dump(recordKey), await others(recordKey)]

    const failures = [
      await failureOf(store.set('sid', generateSession(store, 'sid'))),
      await failureOf(store.set('sid', { cookie: {} } as never)),
      await failureOf(store.set('sid', Object.assign(copy, { changed: 1 }))),
    ]
    await failureOf(store.touch('sid', { cookie: {} } as never))
    await failureOf(store.touch('sid', copy))

    expect(failures.filter((failure) => failure === undefined)).toEqual([])
    expect(
      failures
        .map((failure) => (failure as { code?: string }).code)
        .filter((code) => !code?.startsWith('ERR_SESSION_')),
    ).toEqual([])
    expect(await dump(recordKey)).toEqual(before)
    expect(await others(recordKey)).toEqual(around)
  })

  test('destroy ends it, and only it', async () => {
    const around = await others(recordKey, tombstoneKey)

    await store.destroy('sid')

    expect(await admin.exists(recordKey)).toBe(0)
    expect(await admin.exists(tombstoneKey)).toBe(1)
    expect(await others(recordKey, tombstoneKey)).toEqual(around)
  })

  test('all skips it, and clear removes it', async () => {
    expect((await store.all()).map(({ id }) => id)).toEqual([store.handle('neighbour')])

    await store.clear()

    expect(await store.length()).toBe(0)
    expect(await admin.exists(recordKey)).toBe(0)
  })
})

describe.each(Object.entries(types))('where a tombstone should be stands %s, and', (_, plant) => {
  beforeEach(async () => {
    await admin.del(tombstoneKey)
    await plant(admin, tombstoneKey)
  })

  test('nothing can be written, and destroy still ends the session', async () => {
    const failures = [
      await failureOf(store.set('sid', Object.assign(copy, { changed: 1 }))),
      await failureOf(store.set('sid', { cookie: {} } as never)),
    ]

    await store.destroy('sid')

    expect(failures).toMatchObject([{ code: 'ERR_SESSION_ENDED' }, { code: 'ERR_SESSION_ENDED' }])
    expect(await store.get('sid')).toBeNull()
    expect(await admin.exists(recordKey)).toBe(0)
  })
})

describe('a planted value of 100 MB', () => {
  const BYTES = 100 * 1024 * 1024

  beforeEach(async () => {
    await admin.del(recordKey)
    await admin.setrange(recordKey, BYTES - 1, 'x')
  })

  async function fetchedBy(work: () => Promise<unknown>): Promise<number> {
    const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await admin.info('stats'))?.[1])
    const before = await sent()
    await work()
    return (await sent()) - before
  }

  test.each<readonly [string, () => Promise<unknown>]>([
    ['get', () => store.get('sid')],
    ['all', () => store.all()],
    ['set of a plain object', () => failureOf(store.set('sid', { cookie: {} } as never))],
    ['set of a loaded session', () => failureOf(store.set('sid', Object.assign(copy, { changed: 1 })))],
    ['touch', () => failureOf(store.touch('sid', copy))],
    ['ids', () => store.ids()],
    ['destroy', () => store.destroy('sid')],
    ['clear', () => store.clear()],
  ])('is not fetched by %s', async (_, work) => {
    expect(await fetchedBy(work)).toBeLessThan(300_000)
    expect(await store.get('sid')).toBeNull()
  })

  test('is refused with a whole record before it, too', async () => {
    const place = kind.place()
    const other = place.open()
    await other.set('sid', generateSession(other, 'sid', { content: { user: 'alice' } }))
    const key = createKeys(place.prefix).record(other.handle('sid'))
    await admin.setrange(key, BYTES - 1, 'x')

    expect(await fetchedBy(() => other.get('sid'))).toBeLessThan(300_000)
    expect(await other.get('sid')).toBeNull()
    expect(await fetchedBy(() => other.destroy('sid'))).toBeLessThan(300_000)
    expect(await admin.exists(key)).toBe(0)
  })
})

test('a record copied under another prefix, or under another id, is no session', async () => {
  const [elsewhere, other] = [kind.place(), 'other']
  const foreign = elsewhere.open()
  const record = await admin.getBuffer(recordKey)
  await admin.set(createKeys(elsewhere.prefix).record(foreign.handle('sid')), record ?? '')
  await admin.set(createKeys(place.prefix).record(store.handle(other)), record ?? '')

  expect(await foreign.get('sid')).toBeNull()
  expect(await store.get(other)).toBeNull()
  expect(await storedContent(store, 'sid')).toEqual({ user: 'alice' })
})

test('a record that grew beyond a lowered maxBytes is not fetched whole', async () => {
  const large = place.open({ maxBytes: 60_000 })
  await large.set('large', generateSession(large, 'large', { content: { x: 'x'.repeat(50_000) } }))

  expect(await place.open({ maxBytes: 1000 }).get('large')).toBeNull()
  expect(await storedContent(large, 'large')).toEqual({ x: 'x'.repeat(50_000) })
})

test('a save over a record that somebody replaced by junk of ours is refused, and the junk stays', async () => {
  await place.plant(store.handle('sid'), Buffer.alloc(200, 'junk'))
  const before = await dump(recordKey)

  expect(await failureOf(store.set('sid', Object.assign(copy, { changed: 1 })))).toMatchObject({
    code: 'ERR_SESSION_ENDED',
    ending: 'gone',
  })
  expect(await dump(recordKey)).toEqual(before)
})

test('500 hostile ids cost not one command', async () => {
  const characters = [
    '\0',
    '\n',
    '\r',
    '{',
    '}',
    '*',
    '?',
    '[',
    ']',
    '\\',
    ' ',
    'é',
    '😀',
    '\ud800',
    '"',
    "'",
    '%',
    '$',
  ]
  const ids = Array.from(
    { length: 500 },
    (_, at) => `${'a'.repeat(at % 40)}${characters[at % characters.length]}${'b'.repeat(at % 7)}`,
  )

  const counts = await countCommands(admin, async () => {
    for (const id of ids) {
      await store.get(id)
      await store.destroy(id)
      await store.touch(id, { cookie: {} } as never)
      await failureOf(store.set(id, { cookie: {} } as never))
    }
  })

  expect(counts).toEqual({})
})

test('keys show nothing of ids, users and content', async () => {
  const place = kind.place()
  const other = place.open()
  await other.set(
    'the-id-of-alice',
    generateSession(other, 'the-id-of-alice', { content: { userId: 'alice', card: '4111' } }),
  )
  await other.destroy('the-id-of-alice')
  await other.set('the-id-of-bob', generateSession(other, 'the-id-of-bob', { content: { userId: 'bob' } }))

  const keys = await admin.keys(`${place.prefix}:*`)

  expect(keys.length).toBeGreaterThanOrEqual(2)
  expect(keys.filter((key) => /alice|bob|4111/.test(key))).toEqual([])
})
