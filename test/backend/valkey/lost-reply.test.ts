import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import type { ValkeyBackend, ValkeyBackendOptions } from '../../../lib/backend/valkey/valkey-backend.ts'
import { type FaultProxy, startFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/until.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import {
  absent,
  any,
  ending,
  LONG_MS,
  newBlob,
  newHandle,
  newOwner,
  version,
  write,
} from '../contract/subject.ts'
import { commandCounts, newPrefix, openBackend, openClient, openReadyClient } from './subjects.ts'

let server: ValkeyServer
let direct: ValkeyClient
let proxy: FaultProxy
let backend: ValkeyBackend
let witness: ValkeyBackend

beforeAll(async () => {
  server = await startValkey()
  direct = await openReadyClient({ url: server.url })
  await teachScripts()
})

beforeEach(async () => {
  proxy = await startFaultProxy(server)
  backend = await openThroughProxy({})
})

afterEach(async () => {
  await backend.close()
  await proxy.stop()
})

afterAll(async () => {
  direct.disconnect()
  await server.stop()
})

// So that the reply that gets lost is not the one that says NOSCRIPT.
async function teachScripts(): Promise<void> {
  const handle = newHandle()
  const teacher = openBackend(direct)
  await teacher.put(handle, write(absent, newBlob()))
  await teacher.touch(handle, LONG_MS)
  await teacher.end(handle, ending)
}

async function openThroughProxy(more: Partial<ValkeyBackendOptions>): Promise<ValkeyBackend> {
  const prefix = newPrefix()
  witness = openBackend(direct, { prefix })
  const faulty = openBackend(openClient({ url: proxy.url }), { prefix, ownsClient: true, ...more })
  await faulty.ping()
  return faulty
}

const isScript = (request: Buffer) => request.includes('evalsha')

async function loseNextScriptReply(): Promise<void> {
  await proxy.set({ kind: 'drop-reply', times: 1, when: isScript })
}

describe('a write whose reply is lost', () => {
  it('is applied once and answered stored by its repeat', async () => {
    const handle = newHandle()
    const [first, second] = [newBlob(), newBlob()]
    await backend.put(handle, write(absent, first))
    await direct.callBuffer('config', 'resetstat')
    await loseNextScriptReply()

    expect(await backend.put(handle, write(version(first), second))).toMatchObject({ answer: 'stored' })
    expect(proxy.counts.droppedReplies).toBe(1)
    const counts = await commandCounts(direct)
    expect([counts.get('evalsha'), counts.get('set')]).toEqual([2, 1])
    expect(await witness.get(handle, 1000)).toMatchObject({ blob: second })
  })

  it('creates once', async () => {
    const handle = newHandle()
    const blob = newBlob()
    await loseNextScriptReply()

    expect(await backend.put(handle, write(absent, blob))).toMatchObject({ answer: 'stored' })
    expect(await witness.get(handle, 1000)).toMatchObject({ blob })
  })

  it('extends once', async () => {
    const handle = newHandle()
    await backend.put(handle, write(absent, newBlob()))
    await loseNextScriptReply()

    expect(await backend.touch(handle, 2 * LONG_MS)).toBeGreaterThan((await backend.now()) + LONG_MS)
    expect(proxy.counts.droppedReplies).toBe(1)
  })

  it('ends once, and its repeat still knows the owner', async () => {
    const handle = newHandle()
    const owner = newOwner()
    await backend.put(handle, write(absent, newBlob(), { owner }))
    await loseNextScriptReply()

    expect(await backend.end(handle, ending)).toEqual({ answer: 'already-ended', blob: undefined, owner })
    expect(await witness.get(handle, 1000)).toBeUndefined()
  })

  it('is unsure, no plain conflict, when another write built on it before the repeat', async () => {
    const handle = newHandle()
    const [first, ours, theirs] = [newBlob(), newBlob(), newBlob()]
    await backend.put(handle, write(absent, first))
    await proxy.set({ kind: 'delay', direction: 'reply', ms: 60_000 })
    const call = backend.put(handle, write(version(first), ours))
    await until(async () => (await witness.put(handle, write(version(ours), theirs))).answer === 'stored')
    await proxy.set({ kind: 'refuse' })
    await proxy.set({ kind: 'pass' })

    expect(await call).toEqual({ answer: 'unsure' })
    expect(await witness.get(handle, 1000)).toMatchObject({ blob: theirs })
  })

  it('is a conflict, not unsure, when the reply of the conflict came at once', async () => {
    const handle = newHandle()
    await backend.put(handle, write(absent, newBlob()))

    expect(await backend.put(handle, write(version(newBlob()), newBlob()))).toEqual({ answer: 'conflict' })
  })

  it('is unknown without retries, and safe to repeat by the caller', async () => {
    await backend.close()
    backend = await openThroughProxy({ retries: 0 })
    const handle = newHandle()
    const blob = newBlob()
    await loseNextScriptReply()

    await expect(backend.put(handle, write(any, blob))).rejects.toMatchObject({
      code: 'ERR_STORE_OUTCOME_UNKNOWN',
      reason: 'connection',
    })
    expect(await backend.put(handle, write(any, blob))).toMatchObject({ answer: 'stored' })
    expect(await witness.get(handle, 1000)).toMatchObject({ blob })
  })

  it('was not applied, and says so, when nobody listens', async () => {
    await proxy.set({ kind: 'refuse' })
    await expect.poll(() => proxy.open).toBe(0)
    const handle = newHandle()
    const hasty = openBackend(openClient({ url: proxy.url }), { connectTimeoutMs: 100, ownsClient: true })

    await expect(hasty.put(handle, write(any, newBlob()))).rejects.toMatchObject({
      code: 'ERR_STORE_UNAVAILABLE',
      reason: 'connection',
    })
    await hasty.close()
  })
})

describe('a connection that misbehaves', () => {
  it('by sending every byte as a packet of its own changes nothing', async () => {
    await proxy.set({ kind: 'split' })
    const handle = newHandle()
    const blob = newBlob(300)
    await backend.put(handle, write(absent, blob))

    expect(await backend.get(handle, 1000)).toMatchObject({ blob })
  })

  it('by ending in the middle of a reply is a lost read, which is repeated', async () => {
    const handle = newHandle()
    const blob = newBlob(1000)
    await backend.put(handle, write(absent, blob))
    await proxy.set({ kind: 'cut', bytes: 500 })
    const read = backend.get(handle, 2000)
    await expect.poll(() => proxy.open).toBe(0)
    await proxy.set({ kind: 'pass' })

    expect(await read).toMatchObject({ blob })
  })

  it('by swallowing everything keeps no call longer than its deadline', async () => {
    await backend.close()
    backend = await openThroughProxy({ commandTimeoutMs: 100, connectTimeoutMs: 100 })
    await proxy.set({ kind: 'blackhole' })
    const start = performance.now()
    const calls = [
      backend.get(newHandle(), 1000),
      backend.put(newHandle(), write(any, newBlob())),
      backend.ping(),
    ]
    const settled = await Promise.allSettled(calls)

    expect(performance.now() - start).toBeLessThan(2 * 100 + 50 + 2000)
    expect(settled.map(({ status }) => status)).toEqual(['rejected', 'rejected', 'rejected'])
    await proxy.set({ kind: 'pass' })
    await expect.poll(() => backend.ping().then(() => 'up'), { timeout: 15_000 }).toBe('up')
  })
})
