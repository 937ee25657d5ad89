import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { Cluster, Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { causeOf, parseAddress, placeOf } from '../../../lib/backend/valkey/commands/failures.ts'
import type { ValkeyConnection } from '../../../lib/backend/valkey/connection/connection.ts'
import { troubleOf } from '../../../lib/backend/valkey/connection/connection-trouble.ts'
import { describeFailure, StoreUnavailableError } from '../../../lib/errors.ts'
import { ValkeyStore } from '../../../lib/store/valkey-store.ts'
import { createCertificates, tlsArguments } from '../../support/certificates.ts'
import { freePort } from '../../support/free-port.ts'
import { until } from '../../support/until.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import { FakeClient } from './fake-client.ts'

const SECRET = '0123456789abcdef0123456789abcdef'
const PASSWORD = 'hunter2-hunter2'
const SID = 'x'.repeat(32)

let open: ValkeyServer
// One for each case that a password keeps out, as their warnings are told apart by the port.
let unsigned: ValkeyServer
let locked: ValkeyServer
let lockedNode: ValkeyServer
let secure: ValkeyServer
let other: Server
let dir: string
const ports = { dead: 0, deadCluster: 0, deadSentinel: 0, tls: 0, other: 0 }
const warnings: string[] = []

beforeAll(async () => {
  vi.spyOn(process, 'emitWarning').mockImplementation((warning) => void warnings.push(String(warning)))
  vi.spyOn(console, 'warn').mockImplementation(() => {})
  dir = mkdtempSync(join(tmpdir(), 'cause-test-'))
  for (const name of ['dead', 'deadCluster', 'deadSentinel', 'tls'] as const) ports[name] = await freePort()
  const tls = tlsArguments(dir, ports.tls, await createCertificates())
  const lock = { args: ['--requirepass', 'another'] }
  ;[open, unsigned, locked, lockedNode, secure] = await Promise.all([
    startValkey(),
    startValkey(lock),
    startValkey(lock),
    startValkey(lock),
    startValkey({ args: [...tls, '--tls-auth-clients', 'no'] }),
  ])
  other = createServer((socket) =>
    socket.on('error', () => {}).on('data', () => socket.end('HTTP/1.1 400\r\n\r\n')),
  )
  await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
  ports.other = (other.address() as { port: number }).port
})

afterAll(async () => {
  vi.restoreAllMocks()
  await Promise.all([open, unsigned, locked, lockedNode, secure].map((server) => server.stop()))
  other.close()
  rmSync(dir, { recursive: true })
})

function storeOn(connection: ValkeyConnection): ValkeyStore {
  const store = new ValkeyStore({
    connection,
    secrets: [SECRET],
    // Long enough for a name to be looked up on a busy machine, short enough that nothing waits for silence.
    connectTimeoutMs: 150,
    retries: 0,
    breaker: { failures: 2, halfOpenAfterMs: 60_000 },
  })
  return store
}

async function failureOf(store: ValkeyStore): Promise<StoreUnavailableError> {
  const error: unknown = await store.get(SID).then(
    () => 'it was answered',
    (rejection: unknown) => rejection,
  )
  if (error instanceof StoreUnavailableError) return error
  throw new Error(`not unavailable: ${String(error)}`)
}

const coded = (code: string, more: object = {}) => Object.assign(new Error('canary'), { code }, more)
const nowhere = 'nowhere.invalid'
const at = (port: number, host = '127.0.0.1') => ({ host, port })

const cases: readonly (readonly [name: string, connection: () => ValkeyConnection, cause: () => object])[] = [
  [
    'a server that is down',
    () => ({ url: `valkey://:${PASSWORD}@127.0.0.1:${ports.dead}` }),
    () => ({ reason: 'connection', systemCode: 'ECONNREFUSED', ...at(ports.dead) }),
  ],
  [
    'an IPv6 address where nothing listens',
    () => ({ url: `valkey://[::1]:${ports.dead}` }),
    () => ({
      reason: 'connection',
      systemCode: expect.stringMatching(/^(ECONNREFUSED|EADDRNOTAVAIL|ENETUNREACH)$/),
      ...at(ports.dead, '::1'),
    }),
  ],
  [
    'a host that is not',
    () => ({ url: `valkeys://app:${PASSWORD}@${nowhere}:${ports.dead}` }),
    () => ({
      reason: 'connection',
      systemCode: expect.stringMatching(/^(ENOTFOUND|EAI_AGAIN)$/),
      ...at(ports.dead, nowhere),
    }),
  ],
  [
    'a socket that is not',
    () => ({ url: `unix://${dir}/no.sock` }),
    () => ({ reason: 'connection', systemCode: 'ENOENT', host: `${dir}/no.sock` }),
  ],
  [
    'TLS to a plain port of a server that waits',
    () => ({ url: `valkeys://127.0.0.1:${open.port}` }),
    () => ({ reason: 'tls', systemCode: 'ETIMEDOUT', ...at(open.port) }),
  ],
  [
    'TLS to a plain port that talks',
    () => ({ url: `valkeys://127.0.0.1:${ports.other}` }),
    () => ({ reason: 'tls', systemCode: 'ERR_SSL_WRONG_VERSION_NUMBER', ...at(ports.other) }),
  ],
  [
    'a plain connection to a port of TLS',
    () => ({ url: `valkey://127.0.0.1:${ports.tls}` }),
    () => ({ reason: 'connection', systemCode: 'ECONNRESET', ...at(ports.tls) }),
  ],
  [
    'a certificate of nobody we know',
    () => ({ url: `valkeys://127.0.0.1:${ports.tls}` }),
    () => ({ reason: 'tls', systemCode: 'SELF_SIGNED_CERT_IN_CHAIN', ...at(ports.tls) }),
  ],
  [
    'no password',
    () => ({ url: unsigned.url }),
    () => ({ reason: 'not-authenticated', ...at(unsigned.port) }),
  ],
  [
    'a wrong password',
    () => ({ url: locked.url, password: PASSWORD }),
    () => ({ reason: 'not-authenticated', ...at(locked.port) }),
  ],
  [
    'a wrong password where the default user needs none',
    () => ({ url: open.url, username: 'app', password: PASSWORD }),
    () => ({ reason: 'not-authenticated', ...at(open.port) }),
  ],
  [
    'a password where the default user needs none',
    () => ({ url: `valkey://:${PASSWORD}@127.0.0.1:${secure.port}` }),
    () => ({ reason: 'not-authenticated', command: 'auth', ...at(secure.port) }),
  ],
  [
    'a database that is not',
    () => ({ url: `${open.url}/99` }),
    () => ({ reason: 'no-database', command: 'select', ...at(open.port) }),
  ],
  [
    'a cluster that is down',
    () => ({ nodes: [at(ports.deadCluster)], password: PASSWORD }),
    () => ({ reason: 'connection', systemCode: 'ECONNREFUSED', ...at(ports.deadCluster) }),
  ],
  [
    'a node of a cluster whose name is none',
    () => ({ nodes: [at(ports.deadCluster, nowhere)], tls: true }),
    () => ({
      reason: 'connection',
      systemCode: expect.stringMatching(/^(ENOTFOUND|EAI_AGAIN)$/),
      ...at(ports.deadCluster, nowhere),
    }),
  ],
  [
    'a cluster that is none',
    () => ({ nodes: [at(open.port)] }),
    () => ({ reason: 'not-a-cluster', ...at(open.port) }),
  ],
  [
    'a wrong password of a cluster',
    () => ({ nodes: [at(lockedNode.port)], password: PASSWORD }),
    () => ({ reason: 'not-authenticated', ...at(lockedNode.port) }),
  ],
  [
    'TLS to a plain node of a cluster',
    () => ({ nodes: [at(secure.port)], tls: true }),
    () => ({ reason: 'tls', systemCode: 'ETIMEDOUT', ...at(secure.port) }),
  ],
  [
    'sentinels that are down',
    () => ({ sentinels: [at(ports.deadSentinel)], sentinelName: 'main', sentinelPassword: PASSWORD }),
    () => ({ reason: 'connection', systemCode: 'ECONNREFUSED', ...at(ports.deadSentinel) }),
  ],
  [
    'a sentinel that is none',
    () => ({ sentinels: [at(open.port)], sentinelName: 'main' }),
    () => ({ reason: 'not-a-sentinel', ...at(open.port) }),
  ],
]

describe('errors, health, check and one process warning name, without a secret,', () => {
  test.concurrent.each(cases)('%s', async (_name, connection, cause) => {
    const store = storeOn(connection())
    const named = expect.objectContaining(cause())
    await until(async () => named.asymmetricMatch((await failureOf(store)).failure), {
      withinMs: 20_000,
      what: `the cause is ${JSON.stringify(cause())}`,
    })
    const error = await failureOf(store)
    const health = await store.health()
    const found = (await store.check()).filter(({ code }) => code === 'unreachable')
    const what = describeFailure(error.failure)

    expect(error.failure).toEqual(named)
    expect(error.message).toContain(what)
    expect(health).toMatchObject({ isReady: false, lastFailure: { ...cause(), at: expect.any(Date) } })
    expect(found).toEqual([
      expect.objectContaining({ failure: named, message: expect.stringContaining(what) }),
    ])
    expect(warnings.filter((warning) => warning.includes(`(${what})`))).toHaveLength(1)
    expect(JSON.stringify([error, error.message, error.stack, health, found, warnings])).not.toMatch(
      /hunter2|another/,
    )
  })
})

describe('the last failure', () => {
  test('is the root cause while the breaker answers, and stays after the server came back', async () => {
    const server = await startValkey()
    onTestFinished(() => server.stop())
    const store = new ValkeyStore({
      connection: { url: server.url },
      secrets: [SECRET],
      retries: 0,
      breaker: { failures: 2, halfOpenAfterMs: 100 },
    })
    onTestFinished(() => store.close())
    await until(async () => (await store.health()).isReady)
    await server.kill()
    const root = { reason: 'connection', systemCode: 'ECONNREFUSED', ...at(server.port) }

    await until(async () => (await failureOf(store)).reason === 'breaker-open')
    await until(async () => (await store.health()).lastFailure?.systemCode === 'ECONNREFUSED')
    expect((await store.health()).lastFailure).toMatchObject({ kind: 'refused', ...root })
    await until(async () => {
      const { reason, failure } = await failureOf(store)
      return reason === 'breaker-open' && failure.systemCode === 'ECONNREFUSED'
    })
    await server.restart()
    await until(async () => (await store.health()).isReady)

    expect(await store.health()).toMatchObject({ isReady: true, breaker: 'closed', lastFailure: root })
  })
})

// A fake client, as the moment between two events of a real one is too short to be busy in.
describe('what the client has said of its attempt to connect', () => {
  const refused = (message: string, name: string) => Object.assign(new Error(message), { command: { name } })
  const wrongPassword = refused('WRONGPASS invalid username-password pair or user is disabled.', 'auth')

  function troubled() {
    const address = `127.0.0.1:${open.port}`
    const client = Object.assign(new FakeClient(), {
      status: 'connecting',
      startupNodes: [at(open.port)],
      options: { redisOptions: { connectTimeout: 30 } },
    })
    const trouble = troubleOf(client)
    client.emit('connecting')
    client.emit('node error', wrongPassword, address)
    return { client, trouble, address }
  }

  async function busyBetween(event: () => void): Promise<void> {
    event()
    const endMs = performance.now() + 150
    while (performance.now() < endMs);
    await delay(150)
  }

  test('is not replaced by what a busy process finds out late', async () => {
    const { client, trouble } = troubled()

    await busyBetween(() => client.emit('close'))

    expect(trouble.cause).toMatchObject({ reason: 'not-authenticated', ...at(open.port) })
  })

  test('outlives an attempt that only this process was late for', async () => {
    const { client, trouble, address } = troubled()

    client.emit('connecting')
    await busyBetween(() => client.emit('node error', coded('ETIMEDOUT'), address))

    expect(trouble.cause).toMatchObject({ reason: 'not-authenticated', ...at(open.port) })
  })

  test('is one cause, whichever of its commands was refused last', () => {
    const { client, trouble, address } = troubled()
    const cause = { reason: 'not-authenticated', ...at(open.port) }

    expect(trouble.cause).toEqual(cause)
    client.emit('node error', refused('NOAUTH Authentication required.', 'cluster'), address)
    expect(trouble.cause).toEqual(cause)
  })

  test('is replaced by what the next attempt shows', async () => {
    const { client, trouble, address } = troubled()

    client.emit('connecting')
    client.emit('node error', coded('ECONNREFUSED'), address)

    expect(trouble.cause).toMatchObject({ reason: 'connection', systemCode: 'ECONNREFUSED' })
  })
})

describe('a cause', () => {
  test('is the first of several addresses that were tried', () => {
    const errors = [
      coded('ECONNREFUSED', { address: '::1', port: 6379 }),
      coded('ECONNREFUSED', { address: '127.0.0.1', port: 6379 }),
    ]

    expect(causeOf(Object.assign(new AggregateError(errors), { code: 'ECONNREFUSED' }))).toEqual({
      reason: 'connection',
      systemCode: 'ECONNREFUSED',
      host: '::1',
      port: 6379,
    })
  })

  test('is that of the last node where all of a cluster have failed', () => {
    const all = Object.assign(new Error('Failed to refresh slots cache.'), {
      lastNodeError: coded('EHOSTUNREACH'),
    })

    expect(causeOf(all, parseAddress('10.0.0.1:7000'))).toEqual({
      reason: 'connection',
      systemCode: 'EHOSTUNREACH',
      host: '10.0.0.1',
      port: 7000,
    })
  })

  test.each([
    ['a message', new Error('canary')],
    ['a code that is none', coded('canary canary')],
    ['a host with credentials', coded('ENOTFOUND', { hostname: `app:${PASSWORD}@canary` })],
    ['arguments', Object.assign(new Error('ERR'), { command: { name: 'auth', args: ['canary', PASSWORD] } })],
    [
      'a name of a command that is none',
      Object.assign(new Error('ERR'), { command: { name: 'canary canary' } }),
    ],
    ['no error', { code: 'canary', message: 'canary' }],
    ['nothing', undefined],
  ])('repeats nothing of %s', (_what, error) => {
    expect(JSON.stringify(causeOf(error, { host: '127.0.0.1', port: 1 }))).not.toMatch(/canary|hunter2/)
  })

  const handle = 'a'.repeat(43)
  const denied = (message: string, ...args: unknown[]) =>
    causeOf(Object.assign(new Error(message), { command: { name: 'evalsha', args } }))

  test.each([
    ["NOPERM User app has no permissions to run the 'publish' command", '+publish'],
    ["NOPERM this user has no permissions to run the 'config|get' command", '+config|get'],
    ["ERR ACL failure in script: User app has no permissions to run the 'zadd' command script: 1", '+zadd'],
    ['NOPERM No permissions to access a key', `~sess:r:* ~sess:e:* ~taint:v1:*`],
    [
      'NOPERM this user has no permissions to access one of the keys used as arguments',
      `~sess:r:* ~sess:e:* ~taint:v1:*`,
    ],
    ['NOPERM No permissions to access a channel', '&sess:n'],
    ['ERR ACL failure in script: No permissions to access a channel', '&sess:n'],
  ])('of %j lacks %s', (message, right) => {
    const cause = denied(
      message,
      'f'.repeat(40),
      3,
      `sess:r:{${handle}}`,
      `sess:e:{${handle}}`,
      `taint:v1:${'0'.repeat(64)}`,
      'sess:n',
    )

    expect(cause).toMatchObject({ reason: 'no-permission', right })
    expect(JSON.stringify(cause)).not.toMatch(/aaaa|0000/)
  })

  test('has the place of a client of one server, and none of one that has several', () => {
    const client = new Redis({ host: 'h', port: 1, lazyConnect: true })
    const cluster = new Cluster([{ host: 'h', port: 1 }], { lazyConnect: true })
    const ofSentinels = new Redis({ sentinels: [{ host: 'h', port: 1 }], name: 'main', lazyConnect: true })

    expect([client, cluster, ofSentinels].map(placeOf)).toEqual([{ host: 'h', port: 1 }, {}, {}])
  })

  test.each([
    [{ reason: 'timeout' }, 'timeout'],
    [
      { reason: 'connection', systemCode: 'ECONNREFUSED', host: '::1', port: 1 },
      'connection: ECONNREFUSED at [::1]:1',
    ],
    [{ reason: 'connection', host: '/a.sock' }, 'connection at /a.sock'],
    [{ reason: 'no-permission', command: 'zadd', right: '+zadd' }, 'no-permission: lacks +zadd'],
    [{ reason: 'no-permission', command: 'get', right: '~a:*' }, 'no-permission: lacks ~a:* for get'],
  ])('of %j in words: %s', (cause, words) => {
    expect(describeFailure(cause)).toBe(words)
  })
})
