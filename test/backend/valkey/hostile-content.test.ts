import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Backend, Expectation } from '../../../lib/backend/backend.ts'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import {
  absent,
  allHandles,
  any,
  ending,
  LONG_MS,
  newBlob,
  newHandle,
  newOwner,
  version,
  write,
} from '../contract/subject.ts'
import { newPrefix, openBackend, openReadyClient } from './subjects.ts'

let server: ValkeyServer
let client: ValkeyClient

beforeAll(async () => {
  server = await startValkey()
  client = await openReadyClient({ url: server.url })
})

afterAll(async () => {
  client.disconnect()
  await server.stop()
})

type Plant = (key: string) => Promise<unknown>

const command =
  (name: string, ...args: (string | Buffer | number)[]): Plant =>
  (key) =>
    client.callBuffer(name, key, ...args)

const wrongTypes: readonly (readonly [string, Plant])[] = [
  ['a list', command('rpush', 'item')],
  ['a hash', command('hset', 'field', 'value')],
  ['a set', command('sadd', 'member')],
  ['a sorted set', command('zadd', 1, 'member')],
  ['a stream', command('xadd', '*', 'field', 'value')],
]

const wrongStrings: readonly (readonly [string, Plant])[] = [
  ['one byte', command('set', 'x')],
  ['plain JSON', command('set', JSON.stringify({ user: 'admin', padding: 'x'.repeat(200) }))],
  ['random bytes', command('set', newBlob(500))],
  ['a number', command('set', 1)],
  ['a header cut short', command('set', `1${'0'.repeat(25)}`)],
  [
    'another format',
    command('set', Buffer.concat([Buffer.from(`2${'0'.repeat(26)}${'.'.repeat(43)}`), newBlob()])),
  ],
]

const expectations: readonly (readonly [string, Expectation])[] = [
  ['absent', absent],
  ['version', version(newBlob())],
  ['any', any],
]

interface Planted {
  readonly backend: Backend
  readonly handle: string
  readonly recordKey: string
  readonly tombstoneKey: string
}

async function plant(kind: 'r' | 'e', planting: Plant): Promise<Planted> {
  const prefix = newPrefix()
  const handle = newHandle()
  await planting(`${prefix}:${kind}:{${handle}}`)
  const keys = { recordKey: `${prefix}:r:{${handle}}`, tombstoneKey: `${prefix}:e:{${handle}}` }
  return { backend: openBackend(client, { prefix }), handle, ...keys }
}

async function contentOf(...keys: string[]): Promise<unknown[]> {
  return Promise.all(keys.map((key) => client.callBuffer('dump', key)))
}

describe.each([...wrongTypes, ...wrongStrings])('%s under a record key', (_, planting) => {
  it('is unreadable', async () => {
    const { backend, handle } = await plant('r', planting)

    expect(await backend.get(handle, 65_536)).toBe('unreadable')
  })

  it.each(expectations)('is refused by put when %s, and stays', async (_kind, expectation) => {
    const { backend, handle, recordKey, tombstoneKey } = await plant('r', planting)
    const before = await contentOf(recordKey, tombstoneKey)

    await expect(backend.put(handle, write(expectation, newBlob()))).rejects.toMatchObject({
      code: 'ERR_SESSION_INVALID',
    })
    expect(await contentOf(recordKey, tombstoneKey)).toEqual(before)
  })

  it('is refused by touch, and stays as it was', async () => {
    const { backend, handle, recordKey } = await plant('r', planting)
    const before = await contentOf(recordKey)

    await expect(backend.touch(handle, LONG_MS)).rejects.toMatchObject({ code: 'ERR_SESSION_INVALID' })
    expect(await contentOf(recordKey)).toEqual(before)
    expect(await client.callBuffer('pttl', recordKey)).toBe(-1)
  })

  it('is removed by end, which returns nothing of it', async () => {
    const { backend, handle, recordKey } = await plant('r', planting)

    expect(await backend.end(handle, ending)).toEqual({ answer: 'ended', blob: undefined, owner: undefined })
    expect(await client.callBuffer('exists', recordKey)).toBe(0)
    expect(await backend.put(handle, write(any, newBlob()))).toEqual({ answer: 'ended' })
  })

  it('is a handle to list, so that it can be ended', async () => {
    const { backend, handle } = await plant('r', planting)

    expect(await allHandles(backend)).toEqual([handle])
  })
})

describe.each([...wrongTypes, ...wrongStrings, ['nothing', command('set', '')] as const])(
  '%s under a tombstone key',
  (_, planting) => {
    it.each(expectations)('is a tombstone to put when %s', async (_kind, expectation) => {
      const { backend, handle, recordKey } = await plant('e', planting)

      expect(await backend.put(handle, write(expectation, newBlob()))).toEqual({ answer: 'ended' })
      expect(await client.callBuffer('exists', recordKey)).toBe(0)
    })

    it('is a tombstone to end, and stays', async () => {
      const { backend, handle, tombstoneKey } = await plant('e', planting)
      const before = await contentOf(tombstoneKey)

      expect(await backend.end(handle, ending)).toEqual({
        answer: 'already-ended',
        blob: undefined,
        owner: undefined,
      })
      expect(await contentOf(tombstoneKey)).toEqual(before)
    })

    it('is nothing to get and touch', async () => {
      const { backend, handle } = await plant('e', planting)

      expect(await backend.get(handle, 1000)).toBeUndefined()
      expect(await backend.touch(handle, LONG_MS)).toBeUndefined()
    })
  },
)

describe.each([...wrongTypes, ...wrongStrings])('%s under a tombstone key', (_, planting) => {
  it('is no ending that could be read, and stays', async () => {
    const { backend, handle, tombstoneKey } = await plant('e', planting)
    const before = await contentOf(tombstoneKey)

    await expect(backend.ending(handle)).rejects.toMatchObject({ code: 'ERR_SESSION_INVALID' })
    expect(await contentOf(tombstoneKey)).toEqual(before)
  })
})

describe('a hostile value', () => {
  it('of 100 MB behind the header of a tombstone is not fetched by ending', async () => {
    const { backend, handle, tombstoneKey } = await plant('e', command('set', `1${'.'.repeat(43)}`))
    await client.callBuffer('setrange', tombstoneKey, 100_000_000, 'x')
    const before = await sentBytes()

    await expect(backend.ending(handle)).rejects.toMatchObject({ code: 'ERR_SESSION_INVALID' })
    expect((await sentBytes()) - before).toBeLessThan(80_000)
  })

  it('of no bytes is no record to any verb', async () => {
    const empty = () => plant('r', command('set', ''))
    const [read, touched, ended] = [await empty(), await empty(), await empty()]

    expect(await read.backend.get(read.handle, 1000)).toBeUndefined()
    expect(await read.backend.put(read.handle, write(version(newBlob()), newBlob()))).toEqual({
      answer: 'gone',
    })
    expect(await read.backend.put(read.handle, write(absent, newBlob()))).toMatchObject({ answer: 'stored' })
    expect(await touched.backend.touch(touched.handle, LONG_MS)).toBeUndefined()
    expect(await ended.backend.end(ended.handle, ending)).toMatchObject({ answer: 'missing' })
  })

  it('of 100 MB is neither fetched by get nor returned by end', async () => {
    const { backend, handle, recordKey } = await plant('r', command('setrange', 100_000_000, 'x'))
    await backend.ping()
    const before = await sentBytes()

    expect(await backend.get(handle, 65_536)).toBe('unreadable')
    const afterGet = await sentBytes()
    expect(await backend.end(handle, ending)).toEqual({ answer: 'ended', blob: undefined, owner: undefined })
    const afterEnd = await sentBytes()

    expect(afterGet - before).toBeLessThan(80_000)
    expect(afterEnd - afterGet).toBeLessThan(10_000)
    expect(await client.callBuffer('exists', recordKey)).toBe(0)
  })

  it('of 100 MB behind a true header is not returned either, but its owner is remembered', async () => {
    const { backend, handle, recordKey } = await plant('r', async () => {})
    const owner = newOwner()
    await backend.put(handle, write(absent, newBlob(), { owner }))
    await client.callBuffer('setrange', recordKey, 100_000_000, 'x')
    const before = await sentBytes()

    expect(await backend.get(handle, 65_536)).toBe('unreadable')
    expect(await backend.end(handle, ending)).toEqual({ answer: 'ended', blob: undefined, owner })
    expect((await sentBytes()) - before).toBeLessThan(90_000)
    expect(await backend.end(handle, ending)).toEqual({ answer: 'already-ended', owner, blob: undefined })
  })

  it('planted under a standing tombstone goes when the handle is ended again', async () => {
    const { backend, handle, recordKey } = await plant('e', command('set', `1${'.'.repeat(43)}`))
    const blob = newBlob()
    const header = `1${Date.now() + LONG_MS}${'0'.repeat(13)}${'.'.repeat(43)}`
    await client.callBuffer('set', recordKey, Buffer.concat([Buffer.from(header), blob]))

    expect(await backend.end(handle, ending)).toEqual({ answer: 'already-ended', blob, owner: undefined })
    expect(await backend.get(handle, 1000)).toBeUndefined()
  })

  it('leaves every other key as it is, whatever verb meets it', async () => {
    const canaries = Array.from({ length: 20 }, () => `canary:{${newHandle()}}`)
    for (const canary of canaries) await client.callBuffer('set', canary, newBlob())
    const before = await contentOf(...canaries)
    for (const [, planting] of [...wrongTypes, ...wrongStrings]) {
      const { backend, handle } = await plant('r', planting)
      await Promise.allSettled([
        backend.put(handle, write(any, newBlob())),
        backend.touch(handle, 10),
        backend.end(handle, ending),
      ])
    }

    expect(await contentOf(...canaries)).toEqual(before)
  })
})

async function sentBytes(): Promise<number> {
  const info = String(await client.callBuffer('info', 'stats'))
  return Number(/total_net_output_bytes:(\d+)/.exec(info)?.[1])
}
