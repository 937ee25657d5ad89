import * as ioredis from 'ioredis'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { ValkeyBackend } from '../../../lib/backend/valkey/valkey-backend.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import {
  absent,
  allHandles,
  ending,
  LONG_MS,
  newBlob,
  newHandle,
  newOwner,
  version,
  write,
} from '../contract/subject.ts'
import { backendContract } from '../contract.ts'
import { commandCounts, newPrefix, openBackend, openClient, openReadyClient, subjectOn } from './subjects.ts'

let server: ValkeyServer
let client: ValkeyClient
let ioredisClient: ioredis.Redis

beforeAll(async () => {
  server = await startValkey()
  client = await openReadyClient({ url: server.url })
  ioredisClient = new ioredis.Redis({
    host: server.host,
    port: server.port,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
  })
})

afterAll(async () => {
  client.disconnect()
  ioredisClient.disconnect()
  await server.stop()
})

backendContract('on Valkey', async () => subjectOn(client))
backendContract('on Valkey through ioredis', async () => subjectOn(ioredisClient))

describe('ValkeyBackend', () => {
  it('reads with one plain command and asks for the time once', async () => {
    const backend = openBackend(client)
    const handle = newHandle()
    await backend.put(handle, write(absent, newBlob()))
    await client.callBuffer('config', 'resetstat')
    for (let reads = 0; reads < 50; reads += 1) {
      await backend.get(handle, 1000)
      await backend.now()
    }

    const counts = await commandCounts(client)
    expect(counts.get('getrange')).toBe(50)
    expect(
      [...counts.keys()].filter((name) => !['getrange', 'info', 'config|resetstat'].includes(name)),
    ).toEqual([])
    await backend.close()
  })

  it('asks for the time once for 100 callers who have no reading yet', async () => {
    const backend = openBackend(client)
    await client.callBuffer('config', 'resetstat')
    await Promise.all(Array.from({ length: 100 }, () => backend.now()))

    expect((await commandCounts(client)).get('time')).toBe(1)
    await backend.close()
  })

  it('expires keys on the server at the very ms it answers, also after touch', async () => {
    const prefix = newPrefix()
    const backend = openBackend(client, { prefix })
    const handle = newHandle()
    const key = `${prefix}:r:{${handle}}`
    const { expiresAtMs } = await backend.put(handle, write(absent, newBlob(), { ttlMs: 12_345 }))
    expect(await client.callBuffer('pexpiretime', key)).toBe(expiresAtMs)

    const touchedMs = await backend.touch(handle, 54_321)
    expect(await client.callBuffer('pexpiretime', key)).toBe(touchedMs)
    expect(String(await client.callBuffer('getrange', key, 1, 13))).toBe(String(touchedMs))
    await backend.close()
  })

  it('writes the layout docs/VALKEY.md gives', async () => {
    const prefix = newPrefix()
    const backend = openBackend(client, { prefix })
    const [handle, blob, owner] = [newHandle(), newBlob(), newOwner()]
    const endsAtMs = (await backend.now()) + LONG_MS
    const { expiresAtMs } = await backend.put(handle, write(absent, blob, { owner, endsAtMs, ttlMs: 1000 }))
    const value = await client.callBuffer('get', `${prefix}:r:{${handle}}`)
    expect(value).toEqual(Buffer.concat([Buffer.from(`1${expiresAtMs}${endsAtMs}${owner}`), blob]))

    await backend.end(handle, ending)
    expect(await client.callBuffer('get', `${prefix}:e:{${handle}}`)).toEqual(Buffer.from(`1${owner}why`))
    expect(await client.callBuffer('exists', `${prefix}:r:{${handle}}`)).toBe(0)
    await backend.close()
  })

  it('returns the removed blob up to its bound, and removes a larger one without returning it', async () => {
    const backend = openBackend(client, { maxBlobBytes: 100 })
    const [small, large] = [newHandle(), newHandle()]
    const owner = newOwner()
    await backend.put(small, write(absent, newBlob(100)))
    await backend.put(large, write(absent, newBlob(101), { owner }))

    expect((await backend.end(small, ending)).blob).toHaveLength(100)
    expect(await backend.end(large, ending)).toEqual({ answer: 'ended', blob: undefined, owner })
    await backend.close()
  })

  it('lists only its own handles and leaves keys that look alike as they are', async () => {
    const prefix = newPrefix()
    const backend = openBackend(client, { prefix })
    const [own, other] = [newHandle(), newHandle()]
    await backend.put(own, write(absent, newBlob()))
    const canaries = [
      `${prefix}1:r:{${other}}`,
      `x${prefix}:r:{${other}}`,
      `${prefix}:e:{${other}}`,
      `${prefix}:r:{${other}}x}`,
      `${prefix}:r:{${other.slice(1)}}`,
      `${prefix}:r:{{${other}}`,
      `${prefix}:r:{}`,
      `${prefix}:r:${other}`,
      `${prefix}`,
    ]
    for (const canary of canaries) await client.callBuffer('set', canary, canary)

    expect(await allHandles(backend)).toEqual([own])
    for (const canary of canaries) expect(String(await client.callBuffer('get', canary))).toBe(canary)
    await backend.close()
  })

  it('refuses prefixes with glob characters, slashes or braces', () => {
    for (const prefix of ['app[1]', 'app*', 'app?', 'a{b}', 'a\\b', '']) {
      expect(() => openBackend(client, { prefix })).toThrow(/^Option "prefix" must be/)
    }
  })

  it('closes only a client that it owns', async () => {
    await openBackend(client).close()
    expect(client.status).toBe('ready')

    const owned = openClient({ url: server.url })
    const backend = openBackend(owned, { ownsClient: true })
    await backend.ping()
    await backend.close()
    await expect.poll(() => owned.status).toBe('end')
  })

  it('adds its listeners to a shared client once, however many backends share it', async () => {
    const shared = server.client()
    const events = ['ready', 'end', 'error']
    const counts = () => events.map((event) => shared.listenerCount(event))
    const before = counts()
    openBackend(shared)
    const once = counts()
    for (let count = 0; count < 20; count += 1) openBackend(shared)

    expect(once).not.toEqual(before)
    expect(counts()).toEqual(once)
  })

  it('works with the defaults', async () => {
    const backend = new ValkeyBackend({ client, prefix: newPrefix(), maxBlobBytes: 1000 })
    const [handle, first, second] = [newHandle(), newBlob(), newBlob()]
    await backend.put(handle, write(absent, first))

    expect(await backend.put(handle, write(version(first), second))).toMatchObject({ answer: 'stored' })
    await backend.close()
  })
})
