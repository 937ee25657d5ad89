import * as ioredis from 'ioredis'
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'iovalkey'
import { describe, expect, onTestFinished, test } from 'vitest'
import { flawsOf } from '../../../lib/backend/valkey/checks/client-inspection.ts'
import {
  safeClientOptions,
  safeClusterOptions,
} from '../../../lib/backend/valkey/connection/client-settings.ts'

interface Closable {
  disconnect(): void
}

function opened<Client extends Closable>(client: Client): Client {
  onTestFinished(() => client.disconnect())
  return client
}

const single = (options: RedisOptions) => opened(new Redis({ ...options, lazyConnect: true }))
const cluster = (options: ClusterOptions, host = '127.0.0.1') =>
  opened(new Cluster([{ host, port: 1 }], { ...options, lazyConnect: true }))
const settingsOf = (client: object) => flawsOf(client).map(({ setting }) => setting)

const safe = safeClientOptions()
const safeCluster = safeClusterOptions()
const elsewhere = 'valkey.invalid'

describe('the inspection of a client', () => {
  test('has nothing against the settings that are offered', () => {
    expect(flawsOf(single(safe))).toEqual([])
    expect(flawsOf(cluster(safeCluster))).toEqual([])
    expect(flawsOf(opened(new ioredis.Redis({ ...(safe as object), lazyConnect: true })))).toEqual([])
  })

  test('lists everything that is wrong with the defaults at once', () => {
    expect(settingsOf(single({}))).toEqual([
      'enableOfflineQueue',
      'socketTimeout',
      'maxRetriesPerRequest',
      'reconnectOnError',
    ])
    expect(settingsOf(cluster({}))).toEqual(['enableOfflineQueue', 'socketTimeout', 'retryDelayOnFailover'])
    expect(settingsOf(opened(new ioredis.Redis({ lazyConnect: true })))).toEqual(settingsOf(single({})))
  })

  test.each<[string, RedisOptions]>([
    ['enableAutoPipelining', { enableAutoPipelining: true }],
    ['enableOfflineQueue', { enableOfflineQueue: true }],
    ['keyPrefix', { keyPrefix: 'app:' }],
    ['readOnly', { readOnly: true }],
    ['socketTimeout', { socketTimeout: 0 }],
    ['stringNumbers', { stringNumbers: true }],
    ['replyMapping', { replyMapping: 'resp3' } as RedisOptions],
    ['autoResendUnfulfilledCommands', { autoResendUnfulfilledCommands: false }],
    ['maxRetriesPerRequest', { maxRetriesPerRequest: null }],
    ['reconnectOnError', { reconnectOnError: () => 2 }],
    ['retryStrategy', { retryStrategy: null as never }],
    ['role', { role: 'slave' }],
    ['tls', { host: elsewhere }],
    ['tls', { host: elsewhere, tls: { rejectUnauthorized: false } }],
    ['tls', { host: elsewhere, tls: { minVersion: 'TLSv1' } }],
    ['tls', { host: elsewhere, tls: { secureProtocol: 'TLSv1_method' } }],
    ['tls', { sentinels: [{ host: elsewhere, port: 1 }], name: 'main' }],
    ['tls', { sentinels: [{ host: elsewhere, port: 1 }], name: 'main', tls: {} }],
    [
      'tls',
      { sentinels: [{ host: elsewhere, port: 1 }], name: 'main', tls: {}, enableTLSForSentinelMode: true },
    ],
    [
      'tls',
      {
        sentinels: [{ host: elsewhere, port: 1 }],
        name: 'main',
        tls: {},
        enableTLSForSentinelMode: true,
        sentinelTLS: { rejectUnauthorized: false },
      },
    ],
  ])('finds %s of a single client in %j', (setting, options) => {
    expect(settingsOf(single({ ...safe, ...options }))).toEqual([setting])
  })

  test.each<[string, ClusterOptions]>([
    ['enableAutoPipelining', { enableAutoPipelining: true }],
    ['enableAutoPipelining', { redisOptions: { ...safeCluster.redisOptions, enableAutoPipelining: true } }],
    ['enableOfflineQueue', { enableOfflineQueue: true }],
    ['keyPrefix', { keyPrefix: 'app:' }],
    ['retryDelayOnFailover', { retryDelayOnFailover: 100 }],
    ['scaleReads', { scaleReads: 'slave' }],
    ['db', { redisOptions: { ...safeClusterOptions().redisOptions, db: 1 } }],
    ['scaleReads', { scaleReads: () => [] }],
    ['socketTimeout', { redisOptions: { ...safeCluster.redisOptions, socketTimeout: 0 } }],
  ])('finds %s of a cluster client in %j', (setting, options) => {
    expect(settingsOf(cluster({ ...safeCluster, ...options }))).toEqual([setting])
  })

  test.each<[string, unknown, boolean]>([
    ['an object', { host: elsewhere, port: 1 }, true],
    ['a URL', `redis://${elsewhere}:1`, true],
    ['host and port', `${elsewhere}:1`, true],
    ['a port of this machine', 7000, false],
    ['a URL of this machine', 'redis://127.0.0.1:1', false],
  ])('knows where a cluster node given as %s is', (_, node, isElsewhere) => {
    const client = opened(new Cluster([node as string], { ...safeCluster, lazyConnect: true }))

    expect(settingsOf(client)).toEqual(isElsewhere ? ['tls'] : [])
  })

  test('is content with TLS, a socket, and sentinels that are reached by TLS as their primary is', () => {
    const tls = { ca: 'certificate' }

    expect(settingsOf(single({ ...safe, host: elsewhere, tls }))).toEqual([])
    for (const Client of [Redis, ioredis.Redis as unknown as typeof Redis]) {
      const ofUrl = opened(new Client(`rediss://${elsewhere}:1`, { ...safe, lazyConnect: true }))
      expect(settingsOf(ofUrl)).toEqual([])
    }
    expect(settingsOf(single({ ...safe, path: '/tmp/none.sock' }))).toEqual([])
    expect(
      settingsOf(
        single({
          ...safe,
          sentinels: [{ host: elsewhere, port: 1 }],
          name: 'main',
          tls,
          enableTLSForSentinelMode: true,
          sentinelTLS: tls,
        }),
      ),
    ).toEqual([])
    const redisOptions = { ...safeCluster.redisOptions, tls }
    expect(settingsOf(cluster({ ...safeCluster, redisOptions }, elsewhere))).toEqual([])
  })

  test('quotes no address, user or password', () => {
    const client = single({ host: elsewhere, username: 'canary-user', password: 'canary-password' })

    expect(JSON.stringify(flawsOf(client))).not.toMatch(/canary|invalid/)
    const ofUrl = opened(
      new Cluster(['redis://:canary/password@127.0.0.1:1'], { ...safeCluster, lazyConnect: true }),
    )
    expect(settingsOf(ofUrl)).toEqual(['tls'])
  })
})
