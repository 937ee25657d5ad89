import { inspect } from 'node:util'
import type { Redis } from 'iovalkey'
import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest'
import type { ValkeyBackend } from '../../../lib/backend/valkey/valkey-backend.ts'
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
import { newPrefix, openBackend, openClient, timing } from './subjects.ts'

let server: ValkeyServer
let admin: Redis

beforeEach(async () => {
  server = await startValkey()
  admin = server.client()
})

afterEach(() => server.stop())

const hasty = { commandTimeoutMs: 150, connectTimeoutMs: 100, retries: 1 }
// Two attempts and the pause between them; the rest is for a busy machine.
const hastyDeadlineMs = 2 * 150 + 50 + 2000

const unavailable = (reason: string) => ({ code: 'ERR_STORE_UNAVAILABLE', reason })
const unknown = (reason: string) => ({ code: 'ERR_STORE_OUTCOME_UNKNOWN', reason })

function open(limits = { ...timing, retries: 1 }, prefix = newPrefix()): ValkeyBackend {
  const backend = openBackend(openClient({ url: server.url }), { ...limits, prefix, ownsClient: true })
  onTestFinished(() => backend.close())
  return backend
}

async function openReady(limits?: typeof hasty, prefix?: string): Promise<ValkeyBackend> {
  const backend = open(limits, prefix)
  await expect.poll(() => backend.ping().then(() => 'up')).toBe('up')
  return backend
}

async function failure(call: Promise<unknown>): Promise<{ error: unknown; tookMs: number }> {
  const start = performance.now()
  const error = await call.then(
    () => expect.fail('the call succeeded'),
    (rejection: unknown) => rejection,
  )
  return { error, tookMs: performance.now() - start }
}

describe('a server that is there', () => {
  it('serves calls made before the client has connected', async () => {
    const backend = open()
    const handle = newHandle()
    const [found, stored] = await Promise.all([
      backend.get(handle, 1000),
      backend.put(newHandle(), write(absent, newBlob())),
    ])

    expect(found).toBeUndefined()
    expect(stored.answer).toBe('stored')
  })

  it('serves again after it closed every connection', async () => {
    const backend = await openReady()
    const handle = newHandle()
    await backend.put(handle, write(absent, newBlob()))
    await admin.call('client', 'kill', 'type', 'normal', 'skipme', 'yes')

    expect(await backend.get(handle, 1000)).toMatchObject({ blob: { length: 100 } })
  })
})

describe('a server that is gone', () => {
  it('is unavailable at once, without noise and without an unhandled rejection', async () => {
    const noise = [vi.spyOn(console, 'error'), vi.spyOn(console, 'warn'), vi.spyOn(console, 'log')]
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    onTestFinished(() => void process.off('unhandledRejection', unhandled))
    const backend = await openReady(hasty)
    admin.disconnect()
    await server.stop()

    for (let call = 0; call < 5; call += 1) {
      const { error, tookMs } = await failure(backend.get(newHandle(), 1000))
      expect(error).toMatchObject(unavailable('connection'))
      expect(tookMs).toBeLessThan(hastyDeadlineMs)
    }
    expect(unhandled).not.toHaveBeenCalled()
    for (const spy of noise) expect(spy).not.toHaveBeenCalled()
  })

  it('refuses a wrong password as not-authenticated', async () => {
    await admin.config('SET', 'requirepass', 'right')
    const client = openClient({ url: server.url, password: 'wrong' })
    const backend = openBackend(client, { ...hasty, ownsClient: true })
    onTestFinished(() => backend.close())

    await expect
      .poll(() => failure(backend.ping()).then(({ error }) => error))
      .toMatchObject(unavailable('not-authenticated'))
  })
})

describe('a frozen server', () => {
  it('is a timeout: a read is unavailable, a write unknown, each within its deadline, and a thaw heals it', async () => {
    const backend = await openReady(hasty)
    const handle = newHandle()
    const blob = newBlob()
    await backend.put(handle, write(absent, blob))
    await server.freeze()

    const reads = [backend.get(handle, 1000), backend.ping()]
    const writes = [
      backend.put(handle, write(version(blob), newBlob())),
      backend.touch(handle, LONG_MS),
      backend.end(newHandle(), ending),
    ]
    const [failedReads, failedWrites] = await Promise.all([
      Promise.all(reads.map(failure)),
      Promise.all(writes.map(failure)),
    ])
    for (const { error, tookMs } of failedReads) {
      expect(error).toMatchObject({ code: 'ERR_STORE_UNAVAILABLE' })
      expect(tookMs).toBeLessThan(hastyDeadlineMs)
    }
    for (const { error, tookMs } of failedWrites) {
      expect(error).toMatchObject({ code: 'ERR_STORE_OUTCOME_UNKNOWN' })
      expect(tookMs).toBeLessThan(hastyDeadlineMs)
    }

    await server.thaw()
    await expect
      .poll(() => backend.get(handle, 1000).then((found) => typeof found), { timeout: 10_000 })
      .toBe('object')
  })

  it('settles what is in flight when the backend is closed', async () => {
    const backend = await openReady(hasty)
    await server.freeze()
    const calls = Array.from({ length: 50 }, () =>
      failure(backend.put(newHandle(), write(absent, newBlob()))),
    )
    const start = performance.now()
    await backend.close()

    expect(performance.now() - start).toBeLessThan(hastyDeadlineMs)
    for (const { error } of await Promise.all(calls)) expect(error).toMatchObject(unknown('timeout'))
  })

  it('revives nothing when writes that had timed out land after the thaw, 20 times', async () => {
    const prefix = newPrefix()
    const witness = await openReady(undefined, prefix)
    for (let round = 0; round < 20; round += 1) {
      const backend = await openReady(hasty, prefix)
      const handle = newHandle()
      const blob = newBlob()
      await backend.put(handle, write(absent, blob, { owner: newOwner() }))
      await server.freeze()
      const late = [version(blob), any, absent].map((expectation) =>
        failure(backend.put(handle, write(expectation, newBlob()))),
      )
      const touched = failure(backend.touch(handle, LONG_MS))
      const ended = witness.end(handle, ending)
      await Promise.all([...late, touched])
      await server.thaw()

      expect(await ended).toMatchObject({ answer: 'ended' })
      // Its own connection is served in order, so whatever was still to land has landed before this answer.
      await expect.poll(() => backend.ping().then(() => 'up'), { timeout: 10_000 }).toBe('up')
      expect(await witness.get(handle, 1000)).toBeUndefined()
      await backend.close()
    }
  })
})

describe('a full server', () => {
  it('refuses new bytes, yet ends and extends what lives, and reads', async () => {
    const backend = await openReady()
    const [kept, ended] = [newHandle(), newHandle()]
    const blob = newBlob()
    for (const handle of [kept, ended]) await backend.put(handle, write(absent, blob, { owner: newOwner() }))
    await admin.config('SET', 'maxmemory', '1mb', 'maxmemory-policy', 'noeviction')

    for (const handle of [kept, newHandle()]) {
      await expect(backend.put(handle, write(any, newBlob()))).rejects.toMatchObject(
        unavailable('out-of-memory'),
      )
    }
    expect(await backend.get(kept, 1000)).toMatchObject({ blob })
    expect(await backend.touch(kept, 2 * LONG_MS)).toBeGreaterThan((await backend.now()) + LONG_MS)
    expect(await backend.end(ended, ending)).toMatchObject({ answer: 'ended', blob })
    expect(await backend.end(ended, ending)).toMatchObject({ answer: 'already-ended' })
    await admin.config('SET', 'maxmemory', '0')
    expect(await backend.put(ended, write(any, newBlob()))).toEqual({ answer: 'ended' })
    expect(await backend.get(kept, 1000)).toMatchObject({ blob })
  })
})

describe('an error', () => {
  it('carries neither handle, key, blob, owner nor password, whatever the server said', async () => {
    const prefix = newPrefix()
    const password = 'hunter2-canary'
    await admin.acl('SETUSER', 'app', 'on', `>${password}`, '~*', '+@all', '-set', '-getrange')
    const client = openClient({ url: server.url, username: 'app', password })
    const denied = openBackend(client, { prefix, ownsClient: true })
    onTestFinished(() => denied.close())
    const hurried = await openReady({ ...hasty, retries: 0 }, prefix)
    const full = await openReady(undefined, prefix)
    const handle = newHandle()
    const [blob, owner] = [Buffer.from('payload-canary-payload-canary'), newOwner('alice')]
    const put = (backend: ValkeyBackend) => failure(backend.put(handle, write(any, blob, { owner })))

    const failures = [await failure(denied.get(handle, 1000)), await put(denied)]
    await admin.rpush(`${prefix}:r:{${handle}}`, 'item')
    failures.push(await put(full))
    await admin.del(`${prefix}:r:{${handle}}`)
    await admin.config('SET', 'maxmemory', '1mb')
    failures.push(await put(full))
    await server.freeze()
    failures.push(await put(hurried), await failure(hurried.get(handle, 1000)))

    expect(new Set(failures.map(({ error }) => (error as { code: string }).code)).size).toBe(3)
    const canaries = [handle, prefix, blob.toString(), owner, password]
    for (const { error } of failures) {
      const shown = `${inspect(error, { depth: Number.POSITIVE_INFINITY, showHidden: true })}${JSON.stringify(error)}`
      expect(canaries.filter((canary) => shown.includes(canary))).toEqual([])
    }
  })
})
