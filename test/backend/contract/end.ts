import { describe, expect, it } from 'vitest'
import { MAX_ENDING_BYTES } from '../../../lib/backend/backend.ts'
import {
  absent,
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

const BRIEF_MS = 60

export function describeEnd(create: CreateSubject): void {
  describe('end', () => {
    const subject = freshSubject(create)

    it('answers ended with the blob and the owner it removed', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const [blob, owner] = [newBlob(), newOwner()]
      await backend.put(handle, write(absent, blob, { owner }))

      expect(await backend.end(handle, ending)).toEqual({ answer: 'ended', blob, owner })
    })

    it('answers ended without an owner for a record that has none', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const blob = newBlob()
      await backend.put(handle, write(absent, blob))
      const reply = await backend.end(handle, ending)

      expect(reply).toMatchObject({ answer: 'ended', blob })
      expect(reply.owner).toBeUndefined()
    })

    it('answers missing where nothing was, and fences the handle all the same', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const reply = await backend.end(handle, ending)

      expect([reply.answer, reply.blob, reply.owner]).toEqual(['missing', undefined, undefined])
      expect(await backend.put(handle, write(absent, newBlob()))).toEqual({ answer: 'ended' })
    })

    it('answers missing for a record that expired', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      const { expiresAtMs = 0 } = await backend.put(
        handle,
        write(absent, newBlob(), { ttlMs: 40, owner: newOwner() }),
      )
      await passTo(expiresAtMs)
      const reply = await backend.end(handle, ending)

      expect([reply.answer, reply.blob, reply.owner]).toEqual(['missing', undefined, undefined])
    })

    it('answers already-ended the second time, and still knows the owner', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const owner = newOwner()
      await backend.put(handle, write(absent, newBlob(), { owner }))
      await backend.end(handle, ending)
      const repeat = await backend.end(handle, { ...ending, blob: Buffer.alloc(0) })

      expect([repeat.answer, repeat.blob, repeat.owner]).toEqual(['already-ended', undefined, owner])
    })

    it('keeps its bytes apart from the buffer it was given', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const blob = newBlob()
      await backend.put(handle, write(absent, blob))
      const { blob: removed } = await backend.end(handle, ending)

      expect(removed).toEqual(blob)
      expect(removed).not.toBe(blob)
    })

    it('wins over every parallel write, 100 times', async () => {
      const { backend } = subject()
      for (let round = 0; round < 100; round += 1) {
        const handle = newHandle()
        const blob = newBlob()
        await backend.put(handle, write(absent, blob))
        const writes = [version(blob), any, absent].map((expectation) =>
          backend.put(handle, write(expectation, newBlob())),
        )
        await Promise.all([
          ...writes.slice(0, 2),
          backend.end(handle, ending),
          ...writes.slice(2),
          backend.touch(handle, LONG_MS),
        ])
        expect(await backend.get(handle, 1000)).toBeUndefined()
      }
    })
  })

  describeTombstones(create)
  describeEnding(create)
}

function describeTombstones(create: CreateSubject): void {
  describe('the tombstone', () => {
    const subject = freshSubject(create)

    it('of an owned record stands for its ownedTtlMs, past the fenceTtlMs', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      await backend.put(handle, write(absent, newBlob(), { owner: newOwner() }))
      await backend.end(handle, { ...ending, ownedTtlMs: 30 * BRIEF_MS, fenceTtlMs: BRIEF_MS })
      const endedAtMs = await backend.now()

      await passTo(endedAtMs + 6 * BRIEF_MS)
      expect(await backend.put(handle, write(any, newBlob()))).toEqual({ answer: 'ended' })
      await passTo(endedAtMs + 36 * BRIEF_MS)
      expect(await backend.put(handle, write(any, newBlob()))).toMatchObject({ answer: 'stored' })
    })

    it('of any other record stands for its fenceTtlMs', async () => {
      const { backend, passTo } = subject()
      const [ownerless, missing] = [newHandle(), newHandle()]
      await backend.put(ownerless, write(absent, newBlob()))
      for (const handle of [ownerless, missing])
        await backend.end(handle, { ...ending, fenceTtlMs: 20 * BRIEF_MS })
      expect(await backend.put(ownerless, write(any, newBlob()))).toEqual({ answer: 'ended' })
      await passTo((await backend.now()) + 26 * BRIEF_MS)

      for (const handle of [ownerless, missing]) {
        expect(await backend.put(handle, write(absent, newBlob()))).toMatchObject({ answer: 'stored' })
      }
    })

    it('is not prolonged by ending again', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      await backend.end(handle, { ...ending, fenceTtlMs: 20 * BRIEF_MS })
      const endedAtMs = await backend.now()
      await backend.end(handle, ending)
      await passTo(endedAtMs + 26 * BRIEF_MS)

      expect(await backend.put(handle, write(absent, newBlob()))).toMatchObject({ answer: 'stored' })
    })

    it('does not outlive a record: a handle whose tombstone lapsed is as good as new', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      await backend.put(handle, write(absent, newBlob(), { owner: newOwner() }))
      await backend.end(handle, { ...ending, ownedTtlMs: BRIEF_MS })
      await passTo((await backend.now()) + 6 * BRIEF_MS)
      const reply = await backend.end(handle, ending)

      expect([reply.answer, reply.owner]).toEqual(['missing', undefined])
    })
  })
}

function describeEnding(create: CreateSubject): void {
  describe('ending', () => {
    const subject = freshSubject(create)

    it('answers nothing where nothing was ended', async () => {
      const { backend } = subject()
      const [missing, living] = [newHandle(), newHandle()]
      await backend.put(living, write(absent, newBlob()))

      expect([await backend.ending(missing), await backend.ending(living)]).toEqual([undefined, undefined])
    })

    it('answers what the tombstone keeps, of owned records, others and none', async () => {
      const { backend } = subject()
      const [owned, ownerless, missing] = [newHandle(), newHandle(), newHandle()]
      await backend.put(owned, write(absent, newBlob(), { owner: newOwner() }))
      await backend.put(ownerless, write(absent, newBlob()))
      const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
      for (const handle of [owned, ownerless, missing]) await backend.end(handle, { ...ending, blob: bytes })

      for (const handle of [owned, ownerless, missing]) expect(await backend.ending(handle)).toEqual(bytes)
    })

    it('answers an empty buffer for a mere fence', async () => {
      const { backend } = subject()
      const handle = newHandle()
      await backend.end(handle, { ...ending, blob: Buffer.alloc(0) })

      expect(await backend.ending(handle)).toEqual(Buffer.alloc(0))
    })

    it('answers what the first of two endings left', async () => {
      const { backend } = subject()
      const handle = newHandle()
      await backend.put(handle, write(absent, newBlob()))
      await backend.end(handle, ending)
      await backend.end(handle, { ...ending, blob: Buffer.from('late') })

      expect(await backend.ending(handle)).toEqual(ending.blob)
    })

    it('answers nothing once the tombstone has lapsed', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      await backend.end(handle, { ...ending, fenceTtlMs: BRIEF_MS })
      await passTo((await backend.now()) + 6 * BRIEF_MS)

      expect(await backend.ending(handle)).toBeUndefined()
    })

    it('keeps its bytes apart from the buffers it was given and gave', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const blob = Buffer.from('why')
      await backend.end(handle, { ...ending, blob })
      blob.fill(0)
      ;(await backend.ending(handle))?.fill(1)

      expect(await backend.ending(handle)).toEqual(Buffer.from('why'))
    })

    it('reads a tombstone of the largest size, and a larger one is refused', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const tooLarge = { ...ending, blob: newBlob(MAX_ENDING_BYTES + 1) }
      await expect(backend.end(handle, tooLarge)).rejects.toThrow(TypeError)
      expect(await backend.ending(handle)).toBeUndefined()

      const largest = { ...ending, blob: newBlob(MAX_ENDING_BYTES) }
      await backend.end(handle, largest)
      expect((await backend.ending(handle))?.equals(largest.blob)).toBe(true)
    })
  })
}
