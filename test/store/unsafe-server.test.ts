import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { type AddressInfo, connect, createServer } from 'node:net'
import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import type { ValkeyConnection } from '../../lib/backend/valkey/connection/connection.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import { ValkeyStore, type ValkeyStoreOptions } from '../../lib/store/valkey-store.ts'
import { until } from '../support/until.ts'
import { startCluster, startValkey, type ValkeyServer } from '../support/valkey.ts'
import { failureOf } from './failure-of.ts'
import { generateSession } from './live-session.ts'
import { SECRET } from './parts-store.ts'

let server: ValkeyServer
let admin: Redis

beforeAll(async () => {
  server = await startValkey()
  admin = server.client()
})

afterAll(() => server.stop())

beforeEach(async () => {
  await admin.config('SET', 'maxmemory-policy', 'noeviction')
})

// What a busy machine takes at most.
const BUSY = { timeout: 10_000 }

const cutAll = () => admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
const evict = () => admin.config('SET', 'maxmemory-policy', 'allkeys-lru')

type Options = Partial<Omit<ValkeyStoreOptions, 'client' | 'connection'>> & {
  readonly connection?: ValkeyConnection
}

function open({ connection, ...options }: Options) {
  const store = new ValkeyStore({
    connection: connection ?? { url: server.url },
    prefix: randomBytes(6).toString('hex'),
    secrets: [SECRET],
    connectTimeoutMs: 5000,
    commandTimeoutMs: 5000,
    ...options,
  })
  onTestFinished(() => store.close())
  const events: string[] = []
  store.on('unsafe-server', ({ findings }) => events.push(findings.map(({ code }) => code).join(' ')))
  return { store, events }
}

function warnings(): string[] {
  const seen: string[] = []
  const spy = vi.spyOn(process, 'emitWarning').mockImplementation((warning) => {
    seen.push(String(warning))
  })
  onTestFinished(() => spy.mockRestore())
  return seen
}

describe('a server that evicts', () => {
  test("is used with 'warn', the default: one process warning, one event", async () => {
    await evict()
    const seen = warnings()
    const { store, events } = open({})

    await store.set('sid', generateSession(store, 'sid'))

    await vi.waitFor(() => expect(events).toEqual(['eviction-policy']), BUSY)
    expect(seen).toEqual([
      expect.stringMatching(/maxmemory-policy is allkeys-lru.*Set maxmemory-policy to noeviction/),
    ])
    await cutAll()
    await vi.waitFor(async () => expect(await store.get('sid')).not.toBeNull(), BUSY)
    expect(seen).toHaveLength(1)
  })

  test("is refused with 'error' until it is mended, without a restart", async () => {
    await evict()
    const { store, events } = open({ onUnsafeServer: 'error' })

    const failures = [
      await failureOf(store.get('sid')),
      await failureOf(store.set('sid', generateSession(store, 'sid'))),
      await failureOf(store.destroy('sid')),
      await failureOf(store.registry.endAll('alice')),
    ]

    expect(failures).toEqual(
      Array(4).fill(expect.objectContaining({ code: 'ERR_STORE_UNAVAILABLE', reason: 'unsafe-server' })),
    )
    await vi.waitFor(() => expect(events).toEqual(['eviction-policy']), BUSY)
    expect(await store.health()).toMatchObject({ isReady: false, lastFailure: { reason: 'unsafe-server' } })
    expect((await store.check()).map(({ code }) => code)).toContain('eviction-policy')

    await admin.config('SET', 'maxmemory-policy', 'noeviction')
    await vi.waitFor(async () => expect(await store.get('sid')).toBeNull(), BUSY)
  })

  test("is refused with 'error' when it began to evict before the connection was made anew", async () => {
    const { store } = open({ onUnsafeServer: 'error' })
    expect(await store.get('sid')).toBeNull()
    await evict()

    await cutAll()

    await vi.waitFor(
      async () => expect(await failureOf(store.get('sid'))).toMatchObject({ reason: 'unsafe-server' }),
      BUSY,
    )
  })

  test("is not looked at with 'ignore'", async () => {
    await evict()
    const seen = warnings()
    const { store, events } = open({ onUnsafeServer: 'ignore' })
    await admin.config('RESETSTAT')

    expect(await store.get('sid')).toBeNull()

    expect([...seen, ...events]).toEqual([])
    const calls = await admin.info('commandstats')
    // The client's own ready check asks once.
    expect(/cmdstat_info:calls=(\d+)/.exec(calls)?.[1]).toBe('1')
  })

  test('is found when it becomes a primary of a cluster later', async () => {
    const cluster = await startCluster({ primaries: 3, replicas: 1 })
    onTestFinished(() => cluster.stop())
    const [successor] = cluster.replicas
    await successor?.client().config('SET', 'maxmemory-policy', 'volatile-lru')
    const nodes = cluster.primaries.map(({ host, port }) => ({ host, port }))
    const { store, events } = open({ connection: { nodes }, onUnsafeServer: 'error' })
    await vi.waitFor(async () => expect(await store.get('sid')).toBeNull(), BUSY)

    await until(async () => (await successor?.client().call('CLUSTER', 'FAILOVER')) === 'OK')

    const refused = async () =>
      expect(await failureOf(store.get('sid'))).toMatchObject({ reason: 'unsafe-server' })
    await vi.waitFor(refused, { timeout: 20_000 })
    await vi.waitFor(() => expect(events).toEqual(['eviction-policy']), BUSY)
  })

  test('is found among the primaries of a cluster', async () => {
    const cluster = await startCluster({ primaries: 3 })
    onTestFinished(() => cluster.stop())
    await cluster.primaries[1]?.client().config('SET', 'maxmemory-policy', 'volatile-lru')
    const nodes = cluster.primaries.map(({ host, port }) => ({ host, port }))
    const { store } = open({ connection: { nodes }, onUnsafeServer: 'error' })

    await vi.waitFor(
      async () => expect(await failureOf(store.get('sid'))).toMatchObject({ reason: 'unsafe-server' }),
      BUSY,
    )
  })
})

test('a replica is left, so that an address which now leads to another server is followed', async () => {
  const primary = await startValkey()
  const demoted = await startValkey()
  onTestFinished(async () => {
    await Promise.all([primary.stop(), demoted.stop()])
  })
  let leadsTo = demoted.port
  const address = createServer((socket) => {
    const upstream = connect(leadsTo, '127.0.0.1')
    socket.pipe(upstream).pipe(socket)
    for (const end of [socket, upstream]) end.on('error', () => {})
  })
  address.listen(0, '127.0.0.1')
  onTestFinished(() => void address.close())
  await once(address, 'listening')
  const url = `valkey://127.0.0.1:${(address.address() as AddressInfo).port}`
  const { store } = open({ connection: { url }, onUnsafeServer: 'error' })
  expect(await store.get('sid')).toBeNull()

  await demoted.client().call('REPLICAOF', '127.0.0.1', String(primary.port))
  await demoted.client().call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
  await vi.waitFor(
    async () => expect(await failureOf(store.get('sid'))).toMatchObject({ reason: 'unsafe-server' }),
    BUSY,
  )
  leadsTo = primary.port

  await vi.waitFor(async () => expect(await store.get('sid')).toBeNull(), BUSY)
})

describe('a server that may not be looked at', () => {
  const connection = () => ({ url: server.url, username: 'blind', password: 'only-for-this-test' })

  beforeEach(async () => {
    await admin.acl('SETUSER', 'blind', 'reset', 'on', '>only-for-this-test', '~*', '&*', '+@all', '-info')
  })

  test("is refused with 'error' until it shows what it is, and then used", async () => {
    const { store, events } = open({ connection: connection(), onUnsafeServer: 'error' })

    expect(await failureOf(store.get('sid'))).toMatchObject({ reason: 'unsafe-server' })
    await vi.waitFor(() => expect(events).toEqual(['server-unknown']), BUSY)
    await admin.acl('SETUSER', 'blind', '+info')
    await vi.waitFor(async () => expect(await store.get('sid')).toBeNull(), BUSY)
  })

  test("is used with 'warn'", async () => {
    const { store, events } = open({ connection: connection(), onUnsafeServer: 'warn' })

    expect(await store.get('sid')).toBeNull()
    expect(events).toEqual([])
  })
})

test('a server that does not answer the look is not taken for an unsafe one', async () => {
  const { store } = open({ onUnsafeServer: 'error', commandTimeoutMs: 200, retries: 0, breaker: false })
  await store.get('sid')
  await cutAll()
  await server.freeze()

  expect(await failureOf(store.get('sid'))).toMatchObject({
    reason: expect.not.stringMatching('unsafe-server'),
  })

  await server.thaw()
  await vi.waitFor(async () => expect(await store.get('sid')).toBeNull(), BUSY)
})

describe('check', () => {
  test('tells of unsound lifetimes', async () => {
    const codes = async (options: SessionStoreOptions) => {
      const store = new InProcessStore(options)
      onTestFinished(() => store.close())
      return (await store.check()).map(({ code }) => code)
    }

    expect(await codes({})).toEqual([])
    expect(await codes({ ttl: 600, touchAfter: 300 })).toEqual([])
    expect(await codes({ ttl: 600, touchAfter: 301 })).toEqual(['touch-too-rare'])
    expect(await codes({ ttl: 59 })).toEqual(['ttl-too-short'])
    expect(await codes({ ttl: 86_400_000 })).toEqual(['ttl-too-long'])
    for (const name of ['absoluteTtl', 'endedTtl'])
      expect(await codes({ [name]: 86_400_000 })).toEqual(['ttl-too-long'])
    expect(await codes({ ttl: 400 * 86_400 })).toEqual([])
  })
})

describe('health', () => {
  test('tells latency, breaker and the last failure, and never rejects', async () => {
    const { store } = open({
      commandTimeoutMs: 100,
      connectTimeoutMs: 100,
      retries: 0,
      breaker: { failures: 2 },
    })
    const well = { isReady: true, latencyMs: expect.any(Number), breaker: 'closed' }
    await vi.waitFor(async () => expect(await store.health()).toMatchObject(well), BUSY)

    await server.freeze()
    // What fails while this process is busy does not count, so it may take more than two.
    await vi.waitFor(async () => {
      expect(await failureOf(store.get('sid'))).toMatchObject({ reason: 'breaker-open' })
    }, BUSY)
    const ill = await store.health()
    await server.thaw()

    expect(ill).toMatchObject({
      isReady: false,
      failure: 'ERR_STORE_UNAVAILABLE',
      breaker: expect.stringMatching(/^(open|half-open)$/),
      lastFailure: { reason: expect.stringMatching(/^(timeout|connection)$/), at: expect.any(Date) },
    })
    await vi.waitFor(
      async () => expect(await store.health()).toMatchObject({ isReady: true, breaker: 'closed' }),
      {
        timeout: 10_000,
      },
    )
  })
})
