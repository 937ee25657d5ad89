import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { Redis } from 'iovalkey'
import { afterAll, beforeAll, beforeEach, describe, expect, onTestFinished, test } from 'vitest'
import type { Finding } from '../../../lib/backend/finding.ts'
import { safeClientOptions } from '../../../lib/backend/valkey/connection/client-settings.ts'
import { until } from '../../support/until.ts'
import { startCluster, startValkey, type ValkeyServer } from '../../support/valkey.ts'
import { documentedRights, newPrefix, openBackend, openClient } from './subjects.ts'

const SOUND = {
  'maxmemory-policy': 'noeviction',
  maxmemory: '1gb',
  appendonly: 'yes',
  appendfsync: 'everysec',
}
const POLICIES = [
  'volatile-lru',
  'allkeys-lru',
  'volatile-lfu',
  'allkeys-lfu',
  'volatile-random',
  'allkeys-random',
  'volatile-ttl',
]
const PASSWORD = 'only-for-this-test'

let server: ValkeyServer
let admin: Redis

beforeAll(async () => {
  server = await startValkey({ args: ['--appendonly', 'yes'] })
  admin = server.client()
})

afterAll(() => server.stop())

beforeEach(async () => {
  for (const [name, value] of Object.entries(SOUND)) await admin.config('SET', name, value)
})

async function inspect(url: string, user: { username?: string; password?: string } = {}) {
  const backend = openBackend(openClient({ url, ...user }), { ownsClient: true })
  onTestFinished(() => backend.close())
  return backend.inspect()
}

const codes = (findings: readonly Finding[]) => findings.map(({ code, severity }) => `${severity} ${code}`)

async function grant(...rights: readonly string[]): Promise<{ username: string; password: string }> {
  const user = ['SETUSER', 'checker', 'reset', 'on', `>${PASSWORD}`, '~*', '&*', '-@all', ...rights] as const
  await admin.acl(...(user as unknown as ['SETUSER', string]))
  return { username: 'checker', password: PASSWORD }
}

const documented = () => documentedRights().map((right) => `+${right}`)

describe('the inspection of a server', () => {
  test('finds nothing but rights that are too broad where the user may do everything', async () => {
    expect(codes(await inspect(server.url))).toEqual(['warning rights-too-broad'])
  })

  test('says what it may not see where the user has the rights that are documented', async () => {
    const findings = await inspect(server.url, await grant(...documented(), '+info'))

    expect(codes(findings)).toEqual(['unknown fsync-unknown', 'info replicas-unasked'])
  })

  test('raises no alarm where the user may not look, as is right', async () => {
    const told: unknown[] = []
    const listener = (decision: unknown) => void told.push(decision)
    subscribe('express-session-valkey:decision', listener)
    onTestFinished(() => void unsubscribe('express-session-valkey:decision', listener))

    await inspect(server.url, await grant(...documented(), '-info'))

    expect(told).toEqual([])
  })

  test('works without INFO, and says so', async () => {
    const findings = await inspect(server.url, await grant(...documented(), '-info'))

    expect(codes(findings)).toEqual(['unknown server-unknown', 'info replicas-unasked'])
  })

  test.each(POLICIES)('refuses the eviction policy %s', async (policy) => {
    await admin.config('SET', 'maxmemory-policy', policy)

    expect(codes(await inspect(server.url))).toContain('error eviction-policy')
  })

  test('tells of the append-only file, its fsync and the memory', async () => {
    await admin.config('SET', 'appendfsync', 'no')
    await admin.config('SET', 'maxmemory', '0')
    expect(codes(await inspect(server.url))).toEqual([
      'warning memory-unlimited',
      'warning fsync-off',
      'warning rights-too-broad',
    ])

    await admin.config('SET', 'appendonly', 'no')
    expect(codes(await inspect(server.url))).toEqual([
      'warning memory-unlimited',
      'warning append-only-off',
      'warning rights-too-broad',
    ])
  })

  test.each([
    ['set', 'put, end'],
    ['unlink', 'end'],
    ['publish', 'end'],
    ['zadd', 'enroll'],
    ['scan', 'handles'],
  ])('tells which verbs are denied without %s', async (right, verbs) => {
    const rights = documented().filter((one) => one !== `+${right}`)
    const findings = await inspect(server.url, await grant(...rights))

    const denied = findings.filter(({ code }) => code === 'missing-right')
    for (const { message, action, failure } of denied) {
      expect([message, action].join()).toContain(`+${right}`)
      expect(failure).toMatchObject({ reason: 'no-permission', right: `+${right}` })
    }
    for (const verb of verbs.split(', ')) {
      expect(denied.map(({ message }) => message)).toContainEqual(expect.stringContaining(`"${verb}"`))
    }
  })

  test.each([
    ['+subscribe', 'endings-unheard'],
    ['+wait', 'replicas-unasked'],
  ])('finds that %s is missing, which only some calls need', async (right, code) => {
    const rights = [...documented(), '+wait'].filter((one) => one !== right)

    expect((await inspect(server.url, await grant(...rights))).map((found) => found.code)).toEqual([
      'fsync-unknown',
      code,
    ])
  })

  test('tells which keys and channels are denied, by their patterns', async () => {
    const user = await grant(...documented(), 'resetkeys', '~other:*', 'resetchannels')
    const backend = openBackend(openClient({ url: server.url, ...user }), { ownsClient: true, prefix: 'p' })
    onTestFinished(() => backend.close())
    const findings = await backend.inspect()

    const rights = new Map(
      findings.map(({ message, failure }) => [/"(\w+)"/.exec(message)?.[1], failure?.right]),
    )
    expect(rights.get('get')).toBe('~p:r:*')
    expect(rights.get('put')).toBe('~p:r:* ~p:e:*')
    expect(rights.get('mark')).toBe('~p:k:*')
    expect(rights.get('count')).toBe('~p:o:* ~p:x:* ~p:p:* ~p:s:* ~p:d:* ~p:u:*')
    expect(findings.map(({ action }) => action)).toContain('Grant +subscribe &p:n')

    await admin.acl('SETUSER', 'checker', '~p:*')
    const [end] = (await backend.inspect()).filter(({ code }) => code === 'missing-right')
    expect(end).toMatchObject({ message: expect.stringContaining('"end"'), failure: { right: '&p:n' } })
  })

  test('tells of what an option accepts by name as info', async () => {
    const { host, port } = server
    const settings = { ...safeClientOptions(), maxRetriesPerRequest: 1, enableOfflineQueue: true }
    const client = new Redis({ host, port, ...settings })
    onTestFinished(() => client.disconnect())
    const backend = openBackend(client, { acceptsPlaintext: true })
    onTestFinished(() => backend.close())
    await backend.ping()
    // As of a server on another machine, which tests do not reach.
    Object.defineProperty(client.stream, 'remoteAddress', { value: '10.0.0.1' })
    const found = await backend.inspect()

    expect(codes(found)).toEqual([
      'info unsafe-client-setting',
      'info unsafe-client-setting',
      'warning rights-too-broad',
      'info plaintext',
    ])
    expect(found[0]?.message).toBe('"enableOfflineQueue" of the client was accepted by name')
    expect(found[1]?.message).toBe('"maxRetriesPerRequest" of the client was accepted by name')
  })

  test('leaves nothing behind after a second', async () => {
    const prefix = newPrefix()
    const backend = openBackend(openClient({ url: server.url }), { prefix, ownsClient: true })
    onTestFinished(() => backend.close())
    await backend.inspect()

    await until(async () => (await admin.keys(`${prefix}:*`)).length === 0, { what: 'the keys are gone' })
  })

  test('tells of a replica, and tries no rights there', async () => {
    const replica = await startValkey({ args: ['--replicaof', '127.0.0.1', String(server.port)] })
    onTestFinished(() => replica.stop())

    const found = codes(await inspect(replica.url))

    expect(found).toContain('error replica')
    expect(found).toContain('unknown rights-unknown')
  })

  test('tells that a server cannot be reached, or that the store is closed, and does not reject', async () => {
    expect(codes(await inspect('valkey://127.0.0.1:1'))).toEqual(['error unreachable'])
    const backend = openBackend(openClient({ url: server.url }), { ownsClient: true })
    await backend.close()
    expect(codes(await backend.inspect())).toEqual(['error unreachable'])
  })

  test('quotes no user, password, key or prefix', async () => {
    const text = JSON.stringify([
      ...(await inspect(server.url, await grant('+info'))),
      ...(await inspect('valkey://canary-user:canary-password@127.0.0.1:1')),
    ])

    expect(text).not.toMatch(/canary|checker|only-for-this-test|:[reoxpsd]:/)
  })
})

test('the inspection of a cluster looks at every primary, and tells each thing once', async () => {
  const cluster = await startCluster({ primaries: 3 })
  onTestFinished(() => cluster.stop())
  const nodes = cluster.primaries.map(({ host, port }) => ({ host, port }))
  const last = cluster.primaries[2]?.client()
  await last?.config('SET', 'maxmemory-policy', 'volatile-ttl')
  const backend = openBackend(openClient({ nodes }), { ownsClient: true })
  onTestFinished(() => backend.close())

  const found = codes(await backend.inspect())

  expect(found.filter((one) => one === 'error eviction-policy')).toHaveLength(1)
  expect(found.filter((one) => one === 'warning rights-too-broad')).toHaveLength(1)
})
