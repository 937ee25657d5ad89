import { describe, expect, it } from 'vitest'
import { absent, type CreateSubject, ending, freshSubject, newBlob, newHandle, write } from './subject.ts'

export function describeGet(create: CreateSubject): void {
  describe('get', () => {
    const subject = freshSubject(create)

    it('answers nothing for a handle never written', async () => {
      expect(await subject().backend.get(newHandle(), 1000)).toBeUndefined()
    })

    it('returns the bytes that were put and the expiry that put answered', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const blob = newBlob()
      const { expiresAtMs } = await backend.put(handle, write(absent, blob))

      expect(await backend.get(handle, 1000)).toEqual({ blob, expiresAtMs })
    })

    it('returns every byte value, line ends and zeros as they were put', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const blob = Buffer.concat([
        Buffer.from('\r\n\0*3\r\n$-1\r\n'),
        Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)),
      ])
      await backend.put(handle, write(absent, blob))

      expect(await backend.get(handle, 1000)).toMatchObject({ blob })
    })

    it('returns a record of exactly maxBytes and calls one byte more unreadable', async () => {
      const { backend } = subject()
      const handle = newHandle()
      await backend.put(handle, write(absent, newBlob(200)))

      expect(await backend.get(handle, 200)).toMatchObject({ blob: { length: 200 } })
      expect(await backend.get(handle, 199)).toBe('unreadable')
    })

    it('answers nothing once the record expired', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      const { expiresAtMs = 0 } = await backend.put(handle, write(absent, newBlob(), { ttlMs: 40 }))
      await passTo(expiresAtMs)

      expect(await backend.get(handle, 1000)).toBeUndefined()
    })

    it('answers nothing once the record was ended', async () => {
      const { backend } = subject()
      const handle = newHandle()
      await backend.put(handle, write(absent, newBlob()))
      await backend.end(handle, ending)

      expect(await backend.get(handle, 1000)).toBeUndefined()
    })

    it('keeps its bytes apart from the buffers it was given and gave', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const given = newBlob()
      const original = Buffer.from(given)
      await backend.put(handle, write(absent, given))
      given.fill(0)
      const first = await backend.get(handle, 1000)
      if (typeof first === 'object') first.blob.fill(0)

      expect(await backend.get(handle, 1000)).toMatchObject({ blob: original })
    })
  })
}
