import { once } from 'node:events'
import { mkdir } from 'node:fs/promises'
import { join } from 'node:path'
import { Redis, type RedisOptions } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { classifyFailure } from '../../../lib/backend/valkey/commands/failures.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'

let server: ValkeyServer
let admin: Redis

beforeAll(async () => {
  server = await startValkey()
  admin = server.client()
})

afterAll(() => server.stop())

const patient = { timeout: 20_000 }
const refused = { mayBeApplied: false }
const passing = { ...refused, isWorthRepeating: true }
const lasting = { ...refused, isWorthRepeating: false }
const lost = { reason: 'connection', mayBeApplied: true, isWorthRepeating: true }

function connect(options: RedisOptions = {}): Redis {
  const client = new Redis({
    host: server.host,
    port: server.port,
    enableOfflineQueue: true,
    maxRetriesPerRequest: 0,
    ...options,
  })
  client.on('error', () => {})
  onTestFinished(() => client.disconnect())
  return client
}

async function failureOf(call: Promise<unknown>) {
  const error: unknown = await call.then(
    (reply) => expect.fail(`the server answered ${String(reply)}`),
    (rejection: unknown) => rejection,
  )
  return classifyFailure(error)
}

async function configure(name: string, value: string): Promise<void> {
  const [, before = ''] = (await admin.config('GET', name)) as [string, string]
  await admin.config('SET', name, value)
  onTestFinished(() => admin.config('SET', name, before).then(() => {}))
}

describe('a reply the server really gave', () => {
  it('read-only, by a replica', async () => {
    const replica = await startValkey()
    onTestFinished(() => replica.stop())
    const client = connect({ port: replica.port })
    await client.replicaof(server.host, server.port)

    expect(await failureOf(client.set('key', 'value'))).toEqual({ reason: 'read-only', ...passing })
  })

  it('primary-down, by a replica that may not serve stale data', async () => {
    const replica = await startValkey({ args: ['--replica-serve-stale-data', 'no'] })
    onTestFinished(() => replica.stop())
    const client = connect({ port: replica.port })
    await client.replicaof('127.0.0.1', 1)

    expect(await failureOf(client.get('key'))).toEqual({ reason: 'primary-down', ...passing })
  })

  it('loading, while a server reads its data', async () => {
    const other = await startValkey()
    onTestFinished(() => other.stop())
    const client = connect({ port: other.port })
    await client.mset(
      Object.fromEntries(Array.from({ length: 200 }, (_, index) => [`key${index}`, 'x'.repeat(100)])),
    )
    await client.config('SET', 'key-load-delay', '5000')
    await client.config('SET', 'loading-process-events-interval-bytes', '1024')
    const reload = client.call('debug', 'reload')
    const witness = connect({ port: other.port, enableReadyCheck: false })

    expect(await failureOf(witness.get('key1'))).toEqual({ reason: 'loading', ...passing })
    await reload
  })

  it('busy, while a script runs for too long', async () => {
    await configure('busy-reply-threshold', '20')
    const client = connect()
    const endless = failureOf(client.eval('while true do end', 0))
    onTestFinished(() => endless.then(() => {}))
    await expect
      .poll(() => failureOf(admin.get('key')), { interval: 20 })
      .toEqual({ reason: 'busy', ...passing })

    await admin.script('KILL')
  })

  it('no-script', async () => {
    expect(await failureOf(connect().evalsha('0'.repeat(40), 0))).toEqual({ reason: 'no-script', ...passing })
  })

  it('out-of-memory', async () => {
    await configure('maxmemory', '1mb')

    expect(await failureOf(admin.set('key', 'value'))).toEqual({ reason: 'out-of-memory', ...lasting })
    expect(await failureOf(admin.eval('#!lua\nreturn 1', 0))).toEqual({ reason: 'out-of-memory', ...lasting })
  })

  it('no-replicas', async () => {
    await configure('min-replicas-to-write', '1')

    expect(await failureOf(admin.set('key', 'value'))).toEqual({ reason: 'no-replicas', ...lasting })
  })

  it('misconfigured, after a snapshot failed', async () => {
    const other = await startValkey()
    onTestFinished(() => other.stop())
    const client = connect({ port: other.port })
    await mkdir(join(other.dir, 'dump.rdb'))
    await client.config('SET', 'save', '3600 1')
    await client.bgsave()
    await expect.poll(() => client.info('persistence'), patient).toContain('rdb_last_bgsave_status:err')

    expect(await failureOf(client.set('key', 'value'))).toEqual({ reason: 'misconfigured', ...lasting })
  })

  it('no-permission and not-authenticated', async () => {
    await admin.acl('SETUSER', 'reader', 'on', '>secret', '~*', '-@all', '+get', '+eval', '+auth', '+info')
    onTestFinished(() => admin.acl('DELUSER', 'reader').then(() => {}))
    const client = connect({ username: 'reader', password: 'secret' })

    expect(await failureOf(client.set('key', 'value'))).toEqual({ reason: 'no-permission', ...lasting })
    const inScript = await failureOf(client.eval('return redis.call("set", KEYS[1], 1)', 1, 'key'))
    expect(inScript).toEqual({ reason: 'no-permission', mayBeApplied: true, isWorthRepeating: false })
    // What Redis 7.0 says to the same.
    for (const what of [
      'run this command or subcommand',
      'publish to the channel mentioned in the command',
    ]) {
      const reply = new Error(`ERR The user executing the script can't ${what} script: 0, on @user_script:1.`)
      expect(classifyFailure(reply)).toEqual(inScript)
    }
    expect(await failureOf(client.auth('reader', 'wrong'))).toEqual({
      reason: 'not-authenticated',
      ...lasting,
    })
  })

  it('not-authenticated, before any password was given', async () => {
    const guarded = await startValkey()
    onTestFinished(() => guarded.stop())
    await connect({ port: guarded.port }).config('SET', 'requirepass', 'secret')
    const client = connect({ port: guarded.port, enableReadyCheck: false })

    expect(await failureOf(client.get('key'))).toEqual({ reason: 'not-authenticated', ...lasting })
  })

  it('unreadable, for a value of another type', async () => {
    await admin.lpush('list', 'item')

    expect(await failureOf(admin.getrange('list', 0, 1))).toEqual({ reason: 'unreadable', ...lasting })
    expect(await failureOf(admin.eval('return redis.error_reply("CORRUPT no record")', 0))).toEqual({
      reason: 'unreadable',
      ...lasting,
    })
  })

  it('unknown, and perhaps applied, for anything else', async () => {
    expect(await failureOf(admin.call('nosuchcommand'))).toEqual({
      reason: 'unknown',
      mayBeApplied: true,
      isWorthRepeating: false,
    })
    expect(classifyFailure('text')).toEqual({
      reason: 'unknown',
      mayBeApplied: true,
      isWorthRepeating: false,
    })
  })
})

describe('a reply of a cluster node', () => {
  it('moved, cluster-down and cross-slot', async () => {
    const node = await startValkey({
      args: ['--cluster-enabled', 'yes', '--cluster-require-full-coverage', 'no'],
    })
    onTestFinished(() => node.stop())
    const client = connect({ port: node.port })
    expect(await failureOf(client.get('key'))).toEqual({ reason: 'cluster-down', ...passing })

    await client.cluster('ADDSLOTSRANGE', 0, 16383)
    await expect.poll(() => client.cluster('INFO'), patient).toContain('cluster_state:ok')
    expect(await failureOf(client.mget('{a}', '{b}'))).toEqual({ reason: 'cross-slot', ...lasting })

    const other = await startValkey({ args: ['--cluster-enabled', 'yes'] })
    onTestFinished(() => other.stop())
    const otherId = await connect({ port: other.port }).cluster('MYID')
    await client.cluster('MEET', other.host, other.port, other.busPort)
    await expect
      .poll(() => client.cluster('NODES'), patient)
      .toMatch(new RegExp(`${otherId} 127.0.0.1:${other.port}.* connected`))
    const slot = Number(await client.cluster('KEYSLOT', '{a}'))

    await client.cluster('SETSLOT', slot, 'MIGRATING', String(otherId))
    expect(await failureOf(client.get('{a}'))).toEqual({ reason: 'moved', ...passing })
    await client.cluster('SETSLOT', slot, 'STABLE')
    await client.set('{a}1', 'here')
    await client.cluster('SETSLOT', slot, 'MIGRATING', String(otherId))
    expect(await failureOf(client.mget('{a}1', '{a}2'))).toEqual({ reason: 'moved', ...passing })
    await client.del('{a}1')
    await client.cluster('SETSLOT', slot, 'NODE', String(otherId))
    expect(await failureOf(client.get('{a}'))).toEqual({ reason: 'moved', ...passing })
  })
})

describe('a failure of the client', () => {
  it('timeout, when the server does not answer in time', async () => {
    const client = connect({ commandTimeout: 50 })
    await once(client, 'ready')

    expect(await failureOf(client.blpop('nothing', 5))).toEqual({
      reason: 'timeout',
      mayBeApplied: true,
      isWorthRepeating: true,
    })
  })

  it('a lost connection, when the server closes it before it answers', async () => {
    const client = connect({ retryStrategy: () => 50 })
    const ending = connect({ retryStrategy: () => null })
    const failures = Promise.all([
      failureOf(client.blpop('nothing', 5)),
      failureOf(ending.blpop('nothing', 5)),
    ])
    await expect.poll(() => admin.info('clients'), patient).toContain('blocked_clients:2')
    await admin.call('client', 'kill', 'type', 'normal', 'skipme', 'yes')

    expect(await failures).toEqual([lost, lost])
  })

  it('a lost connection, when nothing came for the socket timeout', async () => {
    const client = connect({ socketTimeout: 50, retryStrategy: () => 50 })
    await once(client, 'ready')
    const emitted = once(client, 'error')

    expect(await failureOf(client.blpop('nothing', 5))).toEqual(lost)
    expect(classifyFailure((await emitted)[0])).toEqual(lost)
  })

  it('not sent, while the client keeps no queue and has no connection', async () => {
    const client = connect({ port: 1, enableOfflineQueue: false, retryStrategy: () => 50 })
    const cluster = new Redis.Cluster([{ host: '127.0.0.1', port: 1 }], { enableOfflineQueue: false })
    cluster.on('error', () => {})
    onTestFinished(() => cluster.disconnect())

    expect(await failureOf(client.get('key'))).toEqual({ reason: 'connection', ...passing })
    expect(await failureOf(cluster.get('key'))).toEqual({ reason: 'connection', ...passing })
  })

  it('a lost connection, for an error of the socket itself', async () => {
    const client = connect({ port: 1, retryStrategy: () => null })
    const [error] = await once(client, 'error')

    expect(classifyFailure(error)).toEqual(lost)
  })

  // These two texts of the client need a cluster in a state of some milliseconds, so here they are spelled out.
  it('as the last redirection, when the client gives up following them', () => {
    const wrapped = (last: string) =>
      classifyFailure(new Error(`Too many Cluster redirections. Last error: ${last}`))

    expect(wrapped('ReplyError: MOVED 1 127.0.0.1:7000')).toEqual({ reason: 'moved', ...passing })
    expect(wrapped('ReplyError: TRYAGAIN Multiple keys request during rehashing of slot')).toEqual({
      reason: 'moved',
      ...passing,
    })
    expect(wrapped('Error: Connection is closed.')).toEqual(lost)
  })

  it('as what made the ready check fail', () => {
    const failure = classifyFailure(new Error('Ready check failed: NOAUTH Authentication required.'))
    expect(failure).toEqual({ reason: 'not-authenticated', ...lasting })
  })
})
