import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, inject, onTestFinished, test } from 'vitest'
import { slotOf } from '../../../lib/backend/valkey/connection/client.ts'
import { createKeys } from '../../../lib/backend/valkey/keys.ts'
import type { ValkeyBackend } from '../../../lib/backend/valkey/valkey-backend.ts'
import { until } from '../../support/until.ts'
import { startCluster, startSentinels, startValkey, type ValkeyServer } from '../../support/valkey.ts'
import { ending, newHandle } from '../contract/subject.ts'
import { newOwner } from '../registry/subject.ts'
import { openBackend, openClient } from './subjects.ts'

const ROUNDS = inject('suite') === 'long' ? 100 : 20
const SHORT = { replicas: 1, timeoutMs: 30 }
const LONG = { replicas: 1, timeoutMs: 10_000 }

function backendOn(connection: Parameters<typeof openClient>[0]): ValkeyBackend {
  const backend = openBackend(openClient(connection), { ownsClient: true, commandTimeoutMs: 10_000 })
  onTestFinished(() => backend.close())
  return backend
}

async function endOn(backend: ValkeyBackend): Promise<string> {
  const handle = newHandle()
  await backend.end(handle, ending)
  return handle
}

async function linked(primary: Redis, count: number): Promise<void> {
  const isLinked = async () =>
    ((await primary.info('replication')).match(/state=online/g)?.length ?? 0) === count
  await until(isLinked, { what: `${count} replicas are linked` })
}

describe('one primary with one replica', () => {
  let primary: ValkeyServer
  let replica: ValkeyServer

  beforeAll(async () => {
    primary = await startValkey({ args: ['--repl-diskless-sync-delay', '0'] })
    replica = await startValkey({ args: ['--replicaof', '127.0.0.1', String(primary.port)] })
    await linked(primary.client(), 1)
  })

  afterAll(async () => {
    await replica.stop()
    await primary.stop()
  })

  test(`a replica that acknowledges is counted ${ROUNDS} times of ${ROUNDS}`, async () => {
    const backend = backendOn({ url: primary.url })
    const counts: number[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      counts.push(await backend.confirm({ handles: [await endOn(backend)] }, LONG))
    }

    expect(counts).toEqual(Array(ROUNDS).fill(1))
  })

  test('an epoch that was raised is confirmed as the endings are', async () => {
    const backend = backendOn({ url: primary.url })
    const owner = newOwner()
    await backend.registry.raise(owner, { keepMs: 60_000 })

    expect(await backend.confirm({ handles: [await endOn(backend)], owner }, LONG)).toBe(1)
  })

  test('what does not stand is not confirmed, however well the replica follows', async () => {
    const backend = backendOn({ url: primary.url })

    expect(await backend.confirm({ handles: [newHandle()] }, LONG)).toBe(0)
    expect(await backend.confirm({ handles: [await endOn(backend)], owner: newOwner() }, LONG)).toBe(0)
  })

  test('other calls do not wait behind it', async () => {
    const backend = backendOn({ url: primary.url })
    const handle = await endOn(backend)
    let isDone = false
    const confirmed = backend
      .confirm({ handles: [handle] }, { replicas: 5, timeoutMs: 2000 })
      .then((count) => {
        isDone = true
        return count
      })

    for (let call = 0; call < 20; call += 1) await backend.get(handle, 100)
    await turn()

    expect(isDone).toBe(false)
    expect(await confirmed).toBe(1)
  })

  test(`a replica that is frozen is counted 0 times of ${ROUNDS}`, async () => {
    const backend = backendOn({ url: primary.url })
    await endOn(backend)
    await replica.freeze()
    const counts: number[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      counts.push(await backend.confirm({ handles: [await endOn(backend)] }, SHORT))
    }
    await replica.thaw()

    expect(counts).toEqual(Array(ROUNDS).fill(0))
  })

  test('a server that is gone is no reason to reject', async () => {
    const backend = backendOn({ url: 'valkey://127.0.0.1:1' })

    expect(await backend.confirm({ handles: [newHandle()] }, SHORT)).toBe(0)
  })

  test('the connection it uses is closed afterwards', async () => {
    const admin = primary.client()
    const connections = async () =>
      String(await admin.client('LIST'))
        .trim()
        .split('\n').length
    const backend = backendOn({ url: primary.url })
    const handle = await endOn(backend)
    const before = await connections()

    await backend.confirm({ handles: [handle] }, LONG)

    await until(async () => (await connections()) === before, { what: 'the connection is closed' })
  })
})

describe('a cluster of three primaries with a replica each', () => {
  test('the count is of the primary that has the fewest, and 0 while one replica is frozen', async () => {
    const cluster = await startCluster({ primaries: 3, replicas: 1 })
    onTestFinished(() => cluster.stop())
    const nodes = cluster.primaries.map(({ host, port }) => ({ host, port }))
    const backend = backendOn({ nodes })
    const all = await Promise.all(Array.from({ length: 30 }, () => endOn(backend)))
    expect(await backend.confirm({ handles: all }, LONG)).toBe(1)

    const [frozen] = cluster.replicas
    await frozen?.freeze()
    onTestFinished(async () => frozen?.thaw())
    const keys = createKeys('any')
    const isOnFrozen = (handle: string) => slotOf(keys.tombstone(handle)) < 5461
    const counts = await Promise.all(
      Array.from({ length: 40 }, async () => {
        const handle = await endOn(backend)
        return { isOnFrozen: isOnFrozen(handle), count: await backend.confirm({ handles: [handle] }, SHORT) }
      }),
    )

    expect(counts.filter((one) => one.isOnFrozen).map(({ count }) => count)).not.toContain(1)
    expect(counts.filter((one) => one.isOnFrozen).length).toBeGreaterThan(0)
    expect(await backend.confirm({ handles: await Promise.all(all.map(() => endOn(backend))) }, SHORT)).toBe(
      0,
    )
  })

  test('slots are those of the server', async () => {
    const server = await startValkey({ args: ['--cluster-enabled', 'yes'] })
    onTestFinished(() => server.stop())
    const client = server.client()
    const ours = Array.from({ length: 200 }, () => `p:e:{${randomBytes(32).toString('base64url')}}`)
    // As another program names its keys: without a tag, or with braces that are none.
    const others = [
      'sess:abc',
      'sess:ü',
      '',
      'a{}b',
      '{}',
      'a{b',
      'a}b',
      'a}b{c',
      'a{b}c}',
      'a{b}{c}',
      'a{{b}}',
      '}{a}',
    ]
    const keys = [...ours, ...others]

    expect(slotOf('x:{123456789}')).toBe(0x31c3)
    expect(await Promise.all(keys.map((key) => client.call('CLUSTER', 'KEYSLOT', key)))).toEqual(
      keys.map(slotOf),
    )
  })
})

test('through sentinels it asks the primary they name', async () => {
  const sentinels = await startSentinels()
  onTestFinished(() => sentinels.stop())
  const backend = backendOn({ sentinels: sentinels.addresses, sentinelName: sentinels.name })

  expect(await backend.confirm({ handles: [await endOn(backend)] }, LONG)).toBeGreaterThanOrEqual(1)
})
