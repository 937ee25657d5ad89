import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { ValkeyClient } from '../../../lib/backend/valkey/client.ts'
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
