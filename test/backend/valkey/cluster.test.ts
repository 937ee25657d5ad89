import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { until } from '../../support/until.ts'
import { startCluster, type ValkeyCluster } from '../../support/valkey.ts'
import { absent, allHandles, ending, newBlob, newHandle, write } from '../contract/subject.ts'
import { backendContract } from '../contract.ts'
import {
  newPrefix,
  openBackend,
  openClient,
  openLeastClient,
  openReadyClient,
  subjectOn,
} from './subjects.ts'

let cluster: ValkeyCluster
let client: ValkeyClient
let least: ValkeyClient

beforeAll(async () => {
  cluster = await startCluster()
  client = await openReadyClient({ nodes: addresses() })
  least = await openLeastClient(cluster)
})

function addresses(): { host: string; port: number }[] {
  return cluster.nodes.map(({ host, port }) => ({ host, port }))
}

afterAll(async () => {
  client.disconnect()
  least.disconnect()
  await cluster.stop()
})

backendContract('on a cluster of three primaries with the least rights', async () => subjectOn(least), {
  losesNotices: true,
})

describe('ValkeyBackend on a cluster', () => {
  it('spreads records over all primaries and lists them all', async () => {
    const backend = openBackend(client)
    const handles = Array.from({ length: 300 }, newHandle)
    for (const handle of handles) await backend.put(handle, write(absent, newBlob(16)))
    const perNode = await Promise.all(
      (client.nodes?.('master') ?? []).map((node) => node.callBuffer('dbsize')),
    )

    expect(perNode).toHaveLength(3)
    for (const count of perNode) expect(count).toBeGreaterThan(50)
    expect(new Set(await allHandles(backend))).toEqual(new Set(handles))
    await backend.close()
  })
})

describe('a password that a node of a cluster refuses', () => {
  it.each([
    ['where its default user needs none', { password: 'canary' }],
    ['of a user by name', { username: 'app', password: 'canary' }],
  ])('%s is not-authenticated, and nothing is sent as another user', async (_, credentials) => {
    vi.spyOn(console, 'warn').mockImplementation(() => {})
    onTestFinished(() => void vi.restoreAllMocks())
    const backend = openBackend(openClient({ nodes: addresses(), ...credentials }), { ownsClient: true })
    onTestFinished(() => backend.close())
    const reasons = async () => [
      await reasonOf(backend.ping()),
      await reasonOf(backend.get(newHandle(), 100)),
      await reasonOf(backend.put(newHandle(), write(absent, newBlob(16)))),
    ]
    // Until the client has met the nodes, it has no connection.
    await until(async () => (await reasonOf(backend.ping())) !== 'connection')

    expect(await reasons()).toEqual(Array(3).fill('not-authenticated'))
    expect(await backend.inspect()).toEqual([
      expect.objectContaining({
        code: 'unreachable',
        failure: expect.objectContaining({ reason: 'not-authenticated' }),
      }),
    ])
    expect(backend.condition.lastFailure).toMatchObject({ reason: 'not-authenticated', host: '127.0.0.1' })
  })

  it('is found when it was changed on one of them, whose sessions alone are refused', async () => {
    vi.spyOn(console, 'warn').mockImplementation(() => {})
    onTestFinished(() => void vi.restoreAllMocks())
    const user = { username: 'rotated', password: 'only-for-this-test' }
    const admins = cluster.nodes.map((node) => node.client())
    const rights = ['on', `>${user.password}`, '~*', '&*', '+@all']
    for (const admin of admins) await admin.call('ACL', 'SETUSER', user.username, ...rights)
    const backend = openBackend(openClient({ nodes: addresses(), ...user }), { ownsClient: true })
    onTestFinished(() => backend.close())
    await until(async () => (await reasonOf(backend.ping())) === undefined)
    await admins[0]?.call('ACL', 'SETUSER', user.username, 'resetpass', '>another-for-this-test')
    await admins[0]?.call('CLIENT', 'KILL', 'USER', user.username)
    const handles = Array.from({ length: 60 }, newHandle)
    const reasons = () => Promise.all(handles.map((handle) => reasonOf(backend.get(handle, 100))))
    await until(async () => (await reasons()).includes('not-authenticated'))

    // The client takes each connection that was refused for one that is lost.
    const known = [undefined, 'not-authenticated', 'connection']
    expect((await reasons()).filter((reason) => !known.includes(reason))).toEqual([])
    expect(await reasons()).toContain(undefined)
  })
})

async function reasonOf(call: Promise<unknown>): Promise<string | undefined> {
  return call.then(
    () => undefined,
    (error: { reason?: string }) => error.reason,
  )
}

describe('ValkeyBackend on a cluster with connections that come and go', () => {
  it('lists all records for a caller who comes before the client has connected', async () => {
    const prefix = newPrefix()
    const handles = Array.from({ length: 100 }, newHandle)
    await Promise.all(
      handles.map((handle) => openBackend(client, { prefix }).put(handle, write(absent, newBlob(16)))),
    )
    const early = openBackend(openClient({ nodes: addresses() }), { prefix, ownsClient: true })
    onTestFinished(() => early.close())

    expect(new Set(await allHandles(early))).toEqual(new Set(handles))
  })

  it('lists all records or rejects, but never passes a primary over, 20 times', async () => {
    const prefix = newPrefix()
    const backend = openBackend(client, { prefix })
    const handles = Array.from({ length: 100 }, newHandle)
    await Promise.all(handles.map((handle) => backend.put(handle, write(absent, newBlob(16)))))
    const admins = cluster.primaries.map((primary) => primary.client())
    for (let round = 0; round < 20; round += 1) {
      await admins[round % 3]?.call('client', 'kill', 'type', 'normal', 'skipme', 'yes')
      const listed = await allHandles(backend).catch((error: unknown) => error)
      if (!Array.isArray(listed)) expect(listed).toMatchObject({ code: 'ERR_STORE_UNAVAILABLE' })
      else expect(new Set(listed).size).toBe(handles.length)
    }

    const listed = await until(() => allHandles(backend).catch(() => undefined))
    expect(new Set(listed)).toEqual(new Set(handles))
  })
})

describe('ValkeyBackend on a cluster that loses a primary', () => {
  it('serves all records again once a replica has taken over', async () => {
    const replicated = await startCluster({ replicas: 1 })
    onTestFinished(() => replicated.stop())
    const nodes = replicated.nodes.map(({ host, port }) => ({ host, port }))
    const backend = openBackend(openClient({ nodes }), { commandTimeoutMs: 500, ownsClient: true })
    onTestFinished(() => backend.close())
    const handles = Array.from({ length: 60 }, newHandle)
    const [primary] = replicated.primaries
    await expect.poll(() => backend.ping().then(() => 'up')).toBe('up')
    for (const handle of handles) await backend.put(handle, write(absent, newBlob(50)))
    const copies = replicated.replicas.map((replica) => replica.client())
    await until(async () => sum(await Promise.all(copies.map((copy) => copy.dbsize()))) === handles.length)
    await primary?.kill()

    const isServed = (handle: string) => backend.get(handle, 1000).then((found) => typeof found === 'object')
    for (const handle of handles) {
      await until(() => isServed(handle).catch(() => false), {
        withinMs: 20_000,
        what: 'a replica serves the record',
      })
    }
    expect(await backend.end(handles[0] ?? '', ending)).toMatchObject({ answer: 'ended' })
  })
})

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0)
}
