import { describe, expect, it } from 'vitest'
import type { Backend } from '../../../lib/backend/backend.ts'
import {
  absent,
  allHandles,
  any,
  type CreateSubject,
  ending,
  freshSubject,
  LONG_MS,
  newBlob,
  newHandle,
  newOwner,
  version,
  write,
} from './subject.ts'

export function describeWhole(create: CreateSubject): void {
  describe('handles', () => {
    const subject = freshSubject(create)

    it('lists nothing when there is nothing', async () => {
      expect(await allHandles(subject().backend)).toEqual([])
    })

    it('lists all of 1,200 living records, none that was ended or has expired', async () => {
      const { backend, passTo } = subject()
      const living = Array.from({ length: 1200 }, newHandle)
      const [ended, expired] = [newHandle(), newHandle()]
      await Promise.all(living.map((handle) => backend.put(handle, write(absent, newBlob(16)))))
      await backend.put(ended, write(absent, newBlob()))
      await backend.end(ended, ending)
      const { expiresAtMs = 0 } = await backend.put(expired, write(absent, newBlob(), { ttlMs: 40 }))
      await passTo(expiresAtMs)

      expect(new Set(await allHandles(backend))).toEqual(new Set(living))
    })

    it('lists what lives throughout while other records come and go', async () => {
      const { backend } = subject()
      const living = Array.from({ length: 600 }, newHandle)
      await Promise.all(living.map((handle) => backend.put(handle, write(absent, newBlob(16)))))
      const listed = new Set<string>()
      for await (const batch of backend.handles()) {
        for (const handle of batch) listed.add(handle)
        const passing = newHandle()
        await backend.put(passing, write(absent, newBlob()))
        await backend.end(passing, ending)
      }

      expect(living.filter((handle) => !listed.has(handle))).toEqual([])
    })
  })

  describeClockAndLife(create)
}

function describeClockAndLife(create: CreateSubject): void {
  describe('clock, arguments and close', () => {
    const subject = freshSubject(create)

    it('has a clock in whole ms that reaches what it is waited for', async () => {
      const { backend, passTo } = subject()
      const start = await backend.now()
      await passTo(start + 400)

      // A reading through a network is off by up to half its round trip.
      expect(Number.isInteger(start)).toBe(true)
      expect(await backend.now()).toBeGreaterThanOrEqual(start + 200)
    })

    it('answers a ping', async () => {
      await expect(subject().backend.ping()).resolves.toBeUndefined()
    })

    it('refuses handles that could name another key, without quoting them', async () => {
      const { backend } = subject()
      const wrong = [
        '',
        'a',
        `${'a'.repeat(42)}}`,
        `{${'a'.repeat(42)}`,
        `${'a'.repeat(42)}*`,
        'a'.repeat(44),
        `${'a'.repeat(43)}\n`,
      ]
      for (const handle of wrong) {
        for (const call of callsOn(backend, handle)) {
          await expect(call).rejects.toThrow(new TypeError('A handle must be 43 characters of base64url'))
        }
      }
    })

    it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])('refuses a lifetime of %s ms', async (ttlMs) => {
      const { backend } = subject()
      const handle = newHandle()

      await expect(backend.put(handle, write(any, newBlob(), { ttlMs }))).rejects.toThrow(TypeError)
      await expect(backend.touch(handle, ttlMs)).rejects.toThrow(TypeError)
      await expect(backend.end(handle, { ...ending, fenceTtlMs: ttlMs })).rejects.toThrow(TypeError)
      expect(await backend.put(handle, write(absent, newBlob()))).toMatchObject({ answer: 'stored' })
    })

    it('refuses a blob without an etag, a short etag, a strange owner and a hard end in fractions', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const writes = [
        write(any, newBlob(15)),
        write({ kind: 'version', etag: Buffer.alloc(15) }, newBlob()),
        write(any, newBlob(), { owner: 'alice' }),
        write(any, newBlob(), { endsAtMs: 0.5 }),
      ]
      for (const wrong of writes) await expect(backend.put(handle, wrong)).rejects.toThrow(TypeError)
      expect(await backend.get(handle, 1000)).toBeUndefined()
    })

    it('rejects every verb after close, which may be called twice', async () => {
      const { backend } = subject()
      await backend.now()
      await backend.close()
      await backend.close()

      const calls = [
        ...callsOn(backend, newHandle()),
        backend.registry.roster(newOwner()),
        Promise.resolve().then(() => backend.now()),
        backend.ping(),
        allHandles(backend),
      ]
      for (const call of calls) await expect(call).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' })
    })

    it('rejects, and never throws, when it is asked for the time after it was closed', async () => {
      const { backend } = subject()
      await backend.close()

      const asked = backend.now()

      await expect(Promise.resolve(asked)).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' })
    })

    it('lets 100 calls in flight settle when it is closed', async () => {
      const { backend } = subject()
      await backend.ping()
      const calls = Array.from({ length: 100 }, () => backend.put(newHandle(), write(absent, newBlob())))
      await backend.close()

      const replies = await Promise.all(calls)
      expect(replies.filter(({ answer }) => answer === 'stored')).toHaveLength(100)
    })
  })
}

function callsOn(backend: Backend, handle: string): Promise<unknown>[] {
  const calls = [
    backend.get(handle, 1000),
    backend.put(handle, write(any, newBlob())),
    backend.put(handle, write(version(newBlob()), newBlob())),
    backend.touch(handle, LONG_MS),
    backend.end(handle, ending),
    backend.ending(handle),
  ]
  // Each is awaited by itself later on.
  for (const call of calls) call.catch(() => {})
  return calls
}
