import { randomBytes } from 'node:crypto'
import type { Writable } from 'node:stream'
import { Redis, type RedisOptions } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { safeClientOptions } from '../../../lib/backend/valkey/connection/client-settings.ts'
import type { ValkeyConnection } from '../../../lib/backend/valkey/connection/connection.ts'
import { createLabelStore } from '../../../lib/labels/create-label-store.ts'
import { ValkeyStore, type ValkeyStoreOptions } from '../../../lib/store/valkey-store.ts'
import { failureOf } from '../../store/failure-of.ts'
import { SECRET } from '../../store/parts-store.ts'
import { until } from '../../support/until.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'

const TIMING = { connectTimeoutMs: 2000, commandTimeoutMs: 3000 }
const ANN = { cookie: { originalMaxAge: null }, userId: 'ann' } as never

let server: ValkeyServer
let admin: Redis

beforeAll(async () => {
  server = await startValkey()
  admin = server.client()
})

afterAll(() => server.stop())

function open(options: Partial<ValkeyStoreOptions>): ValkeyStore {
  const prefix = randomBytes(6).toString('hex')
  const store = new ValkeyStore({
    prefix,
    secrets: [SECRET],
    onUnsafeServer: 'ignore',
    ...TIMING,
    ...options,
  })
  onTestFinished(() => store.close())
  return store
}

/** A client of the app's, connected. */
async function openClient(options: RedisOptions = {}): Promise<Redis> {
  const { host, port } = server
  const client = new Redis({ host, port, ...safeClientOptions(TIMING), ...options })
  client.on('error', () => {})
  onTestFinished(() => client.disconnect())
  await until(() => client.status === 'ready')
  return client
}

const unavailable = (reason: string) =>
  expect.objectContaining({ code: 'ERR_STORE_UNAVAILABLE', reason, status: 503 })

/** What the calls of a store and of a label store come to, while something is wrong with their client. */
async function failuresOf(store: ValkeyStore): Promise<unknown[]> {
  return [
    await failureOf(store.get('sid')),
    await failureOf(store.set('other', ANN)),
    await failureOf(store.touch('sid', ANN)),
    await failureOf(store.destroy('sid')),
    await failureOf(store.registry.list('ann')),
    await failureOf(store.registry.endAll('ann')),
    await failureOf(store.ids()),
  ]
}

describe('a database that cannot be selected', () => {
  const databases = async () => (await admin.info('keyspace')).match(/^db\d+/gm) ?? []

  test.each<[string, string, () => Promise<Partial<ValkeyConnection>>]>([
    ['which the server has not', 'no-database', async () => ({ url: `${server.url}/99` })],
    [
      'by right',
      'no-permission',
      async () => {
        await admin.acl(
          'SETUSER',
          'one',
          'reset',
          'on',
          '>only-for-this-test',
          '~*',
          '&*',
          '+@all',
          '-select',
        )
        return { url: `${server.url}/1`, username: 'one', password: 'only-for-this-test' }
      },
    ],
  ])('%s is an error of each call, and nothing is stored elsewhere', async (_, reason, connection) => {
    await admin.flushall()
    const place = await connection()
    const store = open({ connection: place })

    expect(await failuresOf(store)).toEqual(Array(7).fill(unavailable(reason)))
    expect(await store.health()).toMatchObject({ isReady: false, lastFailure: { reason } })
    expect((await store.check()).map(({ code }) => code)).toEqual(['unreachable'])
    expect(await databases()).toEqual([])
  })

  test('is an error with a client that was connected before it was handed in', async () => {
    await admin.flushall()
    const store = open({ client: await openClient({ db: 99 }) })

    expect(await failureOf(store.set('sid', ANN))).toEqual(unavailable('no-database'))
    expect(await databases()).toEqual([])
  })

  test('is an error of labels, too', async () => {
    const labels = createLabelStore({
      kind: 'valkey',
      connection: { url: `${server.url}/99` },
      onAlarm: () => {},
      ...TIMING,
    })
    onTestFinished(() => labels.close())

    expect(await failureOf(labels.load('sid'))).toEqual(unavailable('no-database'))
    expect(await failureOf(labels.add('sid', ['pii']))).toEqual(unavailable('no-database'))
  })

  test('is found again after each loss of the connection, and used when it is there', async () => {
    const user = ['SETUSER', 'two', 'reset', 'on', '>only-for-this-test', '~*', '&*', '+@all'] as const
    await admin.call('ACL', ...user)
    const account = { username: 'two', password: 'only-for-this-test' }
    const store = open({ connection: { url: `${server.url}/1`, ...account } })
    await store.set('sid', ANN)
    await admin.call('ACL', 'SETUSER', 'two', '-select')
    await admin.call('CLIENT', 'KILL', 'USER', 'two')

    await until(
      async () => ((await failureOf(store.get('sid'))) as { reason?: string })?.reason === 'no-permission',
    )
    await admin.call('ACL', 'SETUSER', 'two', '+select')
    await until(async () =>
      store.get('sid').then(
        (data) => data !== null,
        () => false,
      ),
    )
    expect(await databases()).toEqual(['db1'])
  })
})

describe('a client that the app uses, too', () => {
  test('loses no session while the app has selected another database', async () => {
    const client = await openClient()
    const store = open({ client })
    await store.set('sid', ANN)
    await client.select(5)

    expect(await failuresOf(store)).toEqual(Array(7).fill(unavailable('client-changed')))
    expect((await admin.info('keyspace')).includes('db5')).toBe(false)
    await client.select(0)
    expect(await store.get('sid')).toMatchObject({ userId: 'ann' })
  })

  test('is left in the database that the app selects', async () => {
    const client = await openClient({ db: 2 })
    const store = open({ client })
    await client.select(5)

    expect(await failureOf(store.get('sid'))).toEqual(unavailable('client-changed'))
    expect(String(await client.call('CLIENT', 'INFO'))).toContain(' db=5 ')
  })

  test('loses no session inside a transaction of the app', async () => {
    const client = await openClient()
    const store = open({ client })
    const labels = createLabelStore({ kind: 'valkey', client, onAlarm: () => {}, ...TIMING })
    await store.set('sid', ANN)
    await client.multi({ pipeline: false })

    expect(await failureOf(store.get('sid'))).toEqual(unavailable('unexpected-reply'))
    expect(await failureOf(store.registry.list('ann'))).toEqual(unavailable('unexpected-reply'))
    expect(await failureOf(labels.load('sid'))).toEqual(unavailable('unexpected-reply'))
    const unknown = { code: 'ERR_STORE_OUTCOME_UNKNOWN', reason: 'unexpected-reply' }
    expect(await failureOf(store.destroy('sid'))).toMatchObject(unknown)
    expect(await failureOf(labels.add('sid', ['pii']))).toMatchObject(unknown)
    expect(await store.health()).toMatchObject({ isReady: false })
    await client.discard()
    expect(await store.get('sid')).toMatchObject({ userId: 'ann' })
    await labels.close()
  })

  test('fails at once in subscriber mode', async () => {
    const client = await openClient()
    const store = open({ client })
    await client.subscribe('news')

    expect(await failuresOf(store)).toEqual(Array(7).fill(unavailable('client-changed')))
    await client.unsubscribe('news')
    expect(await store.get('sid')).toBeNull()
  })

  test('fails at once when its key prefix was changed', async () => {
    const client = await openClient()
    const store = open({ client })
    client.options.keyPrefix = 'app:'

    expect(await failureOf(store.get('sid'))).toEqual(unavailable('client-changed'))
  })

  test('loses no session when its option "db" was changed with its database', async () => {
    const client = await openClient()
    const store = open({ client })
    client.options.db = 5
    await client.select(5)

    expect(await failuresOf(store)).toEqual(Array(7).fill(unavailable('client-changed')))
  })

  test.each<[string, RedisOptions, (client: Redis) => Promise<unknown>, RegExp]>([
    ['another database', {}, (client) => client.select(5), /^Option "client" must be .*another database/],
    [
      'subscriber mode',
      {},
      (client) => client.subscribe('news'),
      /^Option "client" must be .*subscriber mode/,
    ],
  ])('is refused when it is handed in in %s', async (_, options, change, message) => {
    const client = await openClient(options)
    await change(client)

    expect(() => open({ client })).toThrow(message)
    expect(() => createLabelStore({ kind: 'valkey', client })).toThrow(message)
  })

  test('is refused as a monitor', () => {
    const client = new Redis({ ...safeClientOptions(), monitor: true, lazyConnect: true })

    expect(() => open({ client })).toThrow(/^Option "client" must be .*monitor mode/)
  })
})

describe('calls of one tick', () => {
  test('leave in one write, in one order with what the app sends on the same client', async () => {
    const client = await openClient()
    const store = open({ client })
    await store.get('warm')
    const { stream } = client as unknown as { readonly stream: Writable }
    const writes = vi.fn()
    for (const name of ['_write', '_writev'] as const) {
      const write: unknown = Reflect.get(stream, name)
      Reflect.set(stream, name, (...args: unknown[]) => {
        writes()
        return Reflect.apply(write as () => unknown, stream, args)
      })
    }

    const gets = Array.from({ length: 20 }, (_, at) => store.get(`sid-${at}`))
    const counter = Promise.all([client.incr('counter'), client.incr('counter')])
    await Promise.all(gets)

    expect(await counter).toEqual([1, 2])
    // The app's two, and all of the store's.
    expect(writes.mock.calls.length).toBeLessThanOrEqual(3)
    expect(stream.writableCorked).toBe(0)
  })
})
