import { describe, expect, it } from 'vitest'
import {
  absent,
  any,
  type CreateSubject,
  ending,
  freshSubject,
  LONG_MS,
  newBlob,
  newHandle,
  version,
  write,
} from './subject.ts'

export function describeTouch(create: CreateSubject): void {
  describe('touch', () => {
    const subject = freshSubject(create)

    it('moves the expiry, answers it and leaves the bytes', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const blob = newBlob()
      const { expiresAtMs: before = 0 } = await backend.put(handle, write(absent, blob))
      const expiresAtMs = await backend.touch(handle, 3 * LONG_MS)

      expect(expiresAtMs).toBeGreaterThan(before + LONG_MS)
      expect(await backend.get(handle, 1000)).toEqual({ blob, expiresAtMs })
    })

    it('can bring the expiry nearer, and the record then expires there', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      await backend.put(handle, write(absent, newBlob()))
      const expiresAtMs = (await backend.touch(handle, 40)) ?? 0
      await passTo(expiresAtMs)

      expect(await backend.get(handle, 1000)).toBeUndefined()
    })

    it('brings the expiry no nearer as an extension', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const { expiresAtMs } = await backend.put(handle, write(absent, newBlob()))

      expect(await backend.touch(handle, 40, true)).toBe(expiresAtMs)
      expect(await backend.get(handle, 1000)).toMatchObject({ expiresAtMs })
      expect(await backend.touch(handle, 3 * LONG_MS, true)).toBeGreaterThan((expiresAtMs ?? 0) + LONG_MS)
    })

    it('never passes the hard end, however often it is called', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      const endsAtMs = (await backend.now()) + 1000
      await backend.put(handle, write(absent, newBlob(), { ttlMs: 100, endsAtMs }))

      expect(await backend.touch(handle, LONG_MS)).toBe(endsAtMs)
      expect(await backend.touch(handle, LONG_MS)).toBe(endsAtMs)
      await passTo(endsAtMs)
      expect(await backend.touch(handle, LONG_MS)).toBeUndefined()
      expect(await backend.get(handle, 1000)).toBeUndefined()
    })

    it('answers nothing and creates nothing where nothing lives', async () => {
      const { backend, passTo } = subject()
      const [missing, expired, ended] = [newHandle(), newHandle(), newHandle()]
      const { expiresAtMs = 0 } = await backend.put(expired, write(absent, newBlob(), { ttlMs: 40 }))
      await backend.put(ended, write(absent, newBlob()))
      await backend.end(ended, ending)
      await passTo(expiresAtMs)

      for (const handle of [missing, expired, ended]) {
        expect(await backend.touch(handle, LONG_MS)).toBeUndefined()
        expect(await backend.get(handle, 1000)).toBeUndefined()
      }
    })

    it('keeps owner and hard end of the record', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const owner = newHandle()
      const endsAtMs = (await backend.now()) + LONG_MS
      await backend.put(handle, write(absent, newBlob(), { owner, endsAtMs }))
      await backend.touch(handle, 1000)

      expect(await backend.touch(handle, 2 * LONG_MS)).toBe(endsAtMs)
      expect(await backend.end(handle, ending)).toMatchObject({ owner })
    })

    it('leaves the bytes of a parallel write, 200 times', async () => {
      const { backend } = subject()
      const handle = newHandle()
      let blob = newBlob()
      await backend.put(handle, write(any, blob))
      for (let round = 0; round < 200; round += 1) {
        const next = newBlob(16 + round)
        const touches = [backend.touch(handle, LONG_MS + round), backend.touch(handle, LONG_MS - round)]
        const [{ answer }] = await Promise.all([backend.put(handle, write(version(blob), next)), ...touches])
        expect(answer).toBe('stored')
        expect(await backend.get(handle, 1000)).toMatchObject({ blob: next })
        blob = next
      }
    })
  })
}
