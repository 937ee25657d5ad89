import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { EndOptions } from '../../lib/registry/registry.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { generateSession } from '../store/live-session.ts'
import { SECRET } from '../store/parts-store.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'

let primary: ValkeyServer
let replica: ValkeyServer

beforeAll(async () => {
  primary = await startValkey({ args: ['--repl-diskless-sync-delay', '0'] })
  replica = await startValkey({ args: ['--replicaof', '127.0.0.1', String(primary.port)] })
})

afterAll(async () => {
  await replica.stop()
  await primary.stop()
})

function open(): ValkeyStore {
  const store = new ValkeyStore({
    connection: { url: primary.url },
    secrets: [SECRET],
    connectTimeoutMs: 5000,
    commandTimeoutMs: 5000,
  })
  onTestFinished(() => store.close())
  return store
}

const signIn = (store: ValkeyStore, sid: string) =>
  store.set(sid, generateSession(store, sid, { content: { userId: 'alice' } }))

describe('an ending for which replicas are asked', () => {
  test('tells how many have it: one session, all sessions, and a repeat', async () => {
    const store = open()
    await signIn(store, 'one')
    await signIn(store, 'two')
    const replicas = { replicas: 1, timeoutMs: 10_000 }
    const durability = { acknowledgedBy: 1, isDurable: true }

    expect(await store.registry.end({ sid: 'one' }, { ...replicas, reason: 'lost' })).toEqual({
      outcome: 'ended',
      durability,
    })
    expect(await store.registry.end({ sid: 'one' }, replicas)).toEqual({
      outcome: 'already-ended',
      durability,
    })
    expect(await store.registry.endAll('alice', replicas)).toEqual({
      ended: [store.handle('two')],
      durability,
    })
    expect(await store.registry.endAll('alice', replicas)).toEqual({ ended: [], durability })
  })

  test('has the one shape of every ending: without replicas no durability', async () => {
    const store = open()
    await signIn(store, 'plain')

    expect(await store.registry.end({ sid: 'plain' })).toEqual({ outcome: 'ended', durability: undefined })
    expect(await store.registry.endAll('alice')).toEqual({ ended: [], durability: undefined })
  })

  test('has happened even if fewer have it', async () => {
    const store = open()
    await signIn(store, 'three')

    expect(await store.registry.end({ sid: 'three' }, { replicas: 2, timeoutMs: 50 })).toEqual({
      outcome: 'ended',
      durability: { acknowledgedBy: 1, isDurable: false },
    })
    expect(await store.get('three')).toBeNull()
  })

  test('is on the replica when it says so', async () => {
    const store = open()
    const admin = replica.client()
    for (let round = 0; round < 50; round += 1) {
      const sid = `round-${round}`
      await signIn(store, sid)
      const { durability } = await store.registry.end({ sid }, { replicas: 1, timeoutMs: 10_000 })

      expect([durability?.isDurable, await admin.exists(`sess:e:{${store.handle(sid)}}`)]).toEqual([true, 1])
    }
  })

  test('is not durable in process, where there is nothing to fail over to', async () => {
    const store = new InProcessStore()
    onTestFinished(() => store.close())

    expect(await store.registry.endAll('alice', { replicas: 1 })).toEqual({
      ended: [],
      durability: { acknowledgedBy: 0, isDurable: false },
    })
  })

  test.each([
    [{ replicas: 0 }, /"replicas"/],
    [{ replicas: 1.5 }, /"replicas"/],
    [{ replicas: 1, timeoutMs: 0 }, /"timeoutMs"/],
    [{ replicas: 1, timeoutMs: 60_001 }, /"timeoutMs"/],
    [{ timeoutMs: 5 }, /"replicas"/],
    [{ replicas: 1, timeout: 5 }, /Unknown option "timeout"/],
  ])('is refused with %j before anything is sent', async (terms, message) => {
    const store = open()
    const sid = `kept-${Object.values(terms).join('-')}`
    await signIn(store, sid)

    await expect(store.registry.end({ sid }, terms as EndOptions)).rejects.toThrow(message)
    await expect(store.registry.endAll('alice', terms as EndOptions)).rejects.toThrow(message)

    expect(await store.get(sid)).not.toBeNull()
    await store.destroy(sid)
  })
})
