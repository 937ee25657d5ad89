import { Cluster, Redis } from 'iovalkey'
import { describe, expect, it, onTestFinished } from 'vitest'
import { flawsOf } from '../../../lib/backend/valkey/checks/client-inspection.ts'
import {
  createValkeyClient,
  type ValkeyConnection,
} from '../../../lib/backend/valkey/connection/connection.ts'

const timing = { connectTimeoutMs: 250, commandTimeoutMs: 500 }
const nowhere = { host: '127.0.0.1', port: 1 }

function open(connection: ValkeyConnection): Redis | Cluster {
  const client = createValkeyClient(connection, timing)
  onTestFinished(() => client.disconnect())
  if (client instanceof Redis || client instanceof Cluster) return client
  throw new Error('iovalkey makes the client')
}

function redisOptions(connection: ValkeyConnection): Redis['options'] {
  const client = open(connection)
  if (client instanceof Redis) return client.options
  throw new Error('This connection asks for a single client')
}

describe('createValkeyClient', () => {
  it('sets what was measured to be safe', () => {
    const { retryStrategy, reconnectOnError, ...options } = redisOptions({ url: 'valkey://127.0.0.1:1' })

    expect(options).toMatchObject({
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
      autoResendUnfulfilledCommands: true,
      enableAutoPipelining: false,
      connectTimeout: 250,
      socketTimeout: 1000,
      keepAlive: 5000,
    })
    // Its timer would run before the sockets are read, in a process that was busy.
    expect(options.commandTimeout).toBeUndefined()
    expect(reconnectOnError?.(new Error('READONLY You can not write against a read only replica.'))).toBe(
      true,
    )
    expect(reconnectOnError?.(new Error('OOM command not allowed'))).toBe(false)
    const delays = Array.from({ length: 500 }, (_, times) => retryStrategy?.(times + 1) ?? 0)
    expect(Math.min(...delays)).toBeGreaterThan(0)
    expect(Math.max(...delays)).toBeLessThanOrEqual(2000)
    expect(new Set(delays.slice(10)).size).toBeGreaterThan(300)
  })

  it('reads everything a URL can say', () => {
    const url = 'valkeys://app:p%40ss%3Aword@[::1]:6390/3'

    expect(redisOptions({ url })).toMatchObject({
      host: '::1',
      port: 6390,
      db: 3,
      username: 'app',
      password: 'p@ss:word',
      tls: { minVersion: 'TLSv1.2' },
    })
    expect(redisOptions({ url: 'unix:///tmp/none.sock' })).toMatchObject({ path: '/tmp/none.sock' })
    expect(redisOptions({ url: 'redis://127.0.0.1' })).toMatchObject({ host: '127.0.0.1', port: 6379, db: 0 })
    expect(redisOptions({ url: 'redis://127.0.0.1' }).tls).toBeUndefined()
  })

  it('passes credentials, TLS and a name on', () => {
    const tls = { ca: 'certificate', servername: 'valkey.test' }
    const options = { username: 'app', password: 'secret', tls, connectionName: 'web-1' }

    expect(redisOptions({ url: 'valkey://127.0.0.1:1', ...options })).toMatchObject(options)
    expect(open({ nodes: [nowhere], ...options }).options).toMatchObject({ redisOptions: options })
  })

  it('makes a cluster client that repeats nothing by itself and reads from primaries', () => {
    const client = open({ nodes: [nowhere] })

    expect(client).toBeInstanceOf(Cluster)
    expect(client.options).toMatchObject({
      enableOfflineQueue: false,
      retryDelayOnFailover: 0,
      retryDelayOnClusterDown: 0,
      scaleReads: 'master',
      redisOptions: {
        maxRetriesPerRequest: 0,
        connectTimeout: 250,
        socketTimeout: 1000,
      },
    })
  })

  it('makes a sentinel client that watches for failovers', () => {
    const connection = { sentinels: [nowhere], sentinelName: 'main', sentinelPassword: 'secret', tls: true }

    expect(redisOptions(connection)).toMatchObject({
      sentinels: [nowhere],
      name: 'main',
      sentinelPassword: 'secret',
      enableTLSForSentinelMode: true,
      sentinelTLS: { minVersion: 'TLSv1.2' },
      tls: { minVersion: 'TLSv1.2' },
      failoverDetector: true,
    })
  })

  it.each([
    'valkey://127.0.0.1',
    'valkey://127.1.2.3',
    'valkey://[::1]',
    'valkey://localhost',
    'unix:///tmp/none.sock',
  ])('needs no TLS to %s, which is this machine', (url) => {
    expect(redisOptions({ url }).tls).toBeUndefined()
  })

  it('lets plaintext to another machine be chosen by name', () => {
    const elsewhere = { host: 'valkey.invalid', port: 6379 }

    expect(redisOptions({ url: 'valkey://valkey.invalid', unsafeAllowPlaintext: true })).toMatchObject({
      host: 'valkey.invalid',
    })
    expect(open({ nodes: [elsewhere], unsafeAllowPlaintext: true })).toBeInstanceOf(Cluster)
  })

  it('makes clients that the inspection of a client from elsewhere has nothing against', () => {
    const tls = true
    for (const connection of [
      { url: 'valkey://127.0.0.1:1' },
      { nodes: [nowhere] },
      { sentinels: [nowhere], sentinelName: 'main' },
      { url: 'valkeys://valkey.invalid' },
      { nodes: [{ host: 'valkey.invalid', port: 1 }], tls },
      { sentinels: [{ host: 'valkey.invalid', port: 1 }], sentinelName: 'main', tls },
    ]) {
      expect(flawsOf(open(connection))).toEqual([])
    }
  })

  it('is quiet while nothing answers', async () => {
    const client = open({ url: 'valkey://127.0.0.1:1' })

    await new Promise((resolve) => client.once('reconnecting', resolve))
    expect(client.listenerCount('error')).toBeGreaterThan(0)
  })
})

const password = 'hunter2-canary'

describe('a wrong connection', () => {
  it.each<[string, unknown, RegExp]>([
    ['no object', 'valkey://127.0.0.1', /^Option "connection" must be an object$/],
    ['nowhere to go', {}, /^Option "connection" must be .*exactly one of "url", "nodes" and "sentinels"/],
    ['two places', { url: 'valkey://127.0.0.1', nodes: [nowhere] }, /exactly one/],
    ['an unknown name', { url: 'valkey://127.0.0.1', pasword: password }, /^Unknown option "pasword"/],
    ['no URL', { url: `:${password}` }, /^Option "connection.url" must be a URL/],
    ['another protocol', { url: `http://:${password}@127.0.0.1` }, /^Option "connection.url" must be a URL/],
    [
      'a query',
      { url: `valkey://127.0.0.1?password=${password}` },
      /^Option "connection.url" must be without "\?"/,
    ],
    ['a path that is no number', { url: `valkey://127.0.0.1/${password}` }, /database number/],
    ['broken percent signs', { url: `valkey://:%zz${password}@127.0.0.1` }, /percent-encoded/],
    ...[
      'unix://name',
      'unix://name/',
      'unix://host/path.sock',
      'unix:relative.sock',
      'unix:///',
      'unix:///tmp/%00none.sock',
      'unix://',
    ].map((url): [string, unknown, RegExp] => [
      url,
      { url },
      /^Option "connection.url" must be (unix:|a URL)/,
    ]),
    ...['valkey://', 'valkey:127.0.0.1', 'valkey:///tmp/x.sock', 'valkeys://:6379'].map(
      (url): [string, unknown, RegExp] => [url, { url }, /^Option "connection.url" must be a URL/],
    ),
    ['a database beside another path', { url: 'valkey://127.0.0.1/1/2' }, /database number/],
    ['a database below 0', { url: 'valkey://127.0.0.1/-1' }, /database number/],
    ['port 0', { url: 'valkey://127.0.0.1:0' }, /"connection.url" must be with a port/],
    ['no host', { url: 'valkey:///1' }, /^Option "connection.url" must be a URL/],
    ['credentials twice', { url: `valkey://:${password}@127.0.0.1`, password }, /without credentials/],
    ['TLS on and off', { url: 'valkeys://127.0.0.1', tls: false }, /^Option "connection.tls"/],
    ['TLS as a word', { url: 'valkey://127.0.0.1', tls: 'on' }, /^Option "connection.tls" must be an object/],
    [
      'a password in bytes',
      { url: 'valkey://127.0.0.1', password: Buffer.from(password) },
      /^Option "connection.password" must be a string$/,
    ],
    [
      'TLS that is not verified',
      { url: 'valkeys://127.0.0.1', tls: { rejectUnauthorized: false } },
      /"connection.tls.rejectUnauthorized" must be left out; give the CA/,
    ],
    ['a retired TLS', { nodes: [nowhere], tls: { minVersion: 'TLSv1.1' } }, /"connection.tls.minVersion"/],
    [
      'at most a retired TLS',
      { nodes: [nowhere], tls: { maxVersion: 'TLSv1' } },
      /"connection.tls.maxVersion"/,
    ],
    [
      'no TLS to another machine',
      { url: 'valkey://valkey.internal' },
      /^Option "connection.url" must be used with TLS.*unsafeAllowPlaintext/,
    ],
    [
      'no TLS to a node elsewhere',
      { nodes: [nowhere, { host: '10.0.0.1', port: 1 }] },
      /^Option "connection.nodes" must be used with TLS/,
    ],
    [
      'no TLS to a sentinel elsewhere',
      { sentinels: [{ host: '::2', port: 1 }], sentinelName: 'main' },
      /^Option "connection.sentinels" must be used with TLS/,
    ],
    [
      'an unsafe flag that is none',
      { url: 'valkey://valkey.internal', unsafeAllowPlaintext: 1 },
      /^Option "connection.unsafeAllowPlaintext"/,
    ],
    ['no nodes', { nodes: [] }, /^Option "connection.nodes" must be a list/],
    ['a node without a host', { nodes: [{ port: 1 }] }, /^Option "connection.nodes\[0\].host"/],
    ['a node without a port', { nodes: [{ host: '127.0.0.1' }] }, /^Option "connection.nodes\[0\].port"/],
    ['a node with more', { nodes: [{ ...nowhere, password }] }, /^Unknown option "password"/],
    ['sentinels without a name', { sentinels: [nowhere] }, /^Option "connection.sentinelName"/],
  ])('with %s is refused by name and not quoted', (_, connection, message) => {
    const create = () => createValkeyClient(connection as ValkeyConnection, timing)

    expect(create).toThrow(TypeError)
    expect(create).toThrow(message)
    expect(create).not.toThrow(password)
  })
})
