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
  newOwner,
  version,
  write,
} from './subject.ts'

export function describePut(create: CreateSubject): void {
  describe('put when absent', () => {
    const subject = freshSubject(create)

    it('stores the first write and refuses the second, whose bytes leave no trace', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const blob = newBlob()

      expect(await backend.put(handle, write(absent, blob))).toMatchObject({ answer: 'stored' })
      expect(await backend.put(handle, write(absent, newBlob()))).toEqual({ answer: 'conflict' })
      expect(await backend.get(handle, 1000)).toMatchObject({ blob })
    })

    it('answers stored to a repeat of the same bytes, with the expiry of the first', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const blob = newBlob()
      const first = await backend.put(handle, write(absent, blob))

      expect(await backend.put(handle, write(absent, blob, { ttlMs: 2 * LONG_MS }))).toEqual(first)
    })

    it('brings the expiry no nearer as an extension', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const first = newBlob()
      await backend.put(handle, write(absent, first))
      const touched = await backend.touch(handle, 3 * LONG_MS)
      const terms = { ttlMs: LONG_MS, isExtension: true }

      const reply = await backend.put(handle, write(version(first), newBlob(), terms))
      expect(reply).toEqual({ answer: 'stored', expiresAtMs: touched })
      const last = await backend.put(handle, write(any, newBlob(), { ttlMs: LONG_MS }))
      expect(last.expiresAtMs).toBeLessThan((touched ?? 0) - LONG_MS)
    })

    it('stores again once the earlier record expired', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      const { expiresAtMs = 0 } = await backend.put(handle, write(absent, newBlob(), { ttlMs: 40 }))
      await passTo(expiresAtMs)

      expect(await backend.put(handle, write(absent, newBlob()))).toMatchObject({ answer: 'stored' })
    })

    it('lets exactly one of 64 parallel writes in', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const replies = await Promise.all(
        Array.from({ length: 64 }, () => backend.put(handle, write(absent, newBlob()))),
      )

      expect(replies.filter(({ answer }) => answer === 'stored')).toHaveLength(1)
      expect(replies.filter(({ answer }) => answer === 'conflict')).toHaveLength(63)
    })
  })

  describe('put of a version', () => {
    const subject = freshSubject(create)

    it('replaces exactly the version it names', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const [first, second, third] = [newBlob(), newBlob(300), newBlob(50)]
      await backend.put(handle, write(absent, first))

      expect(await backend.put(handle, write(version(first), second))).toMatchObject({ answer: 'stored' })
      expect(await backend.put(handle, write(version(first), third))).toEqual({ answer: 'conflict' })
      expect(await backend.get(handle, 1000)).toMatchObject({ blob: second })
    })

    it('answers stored to a repeat, though the version it names is gone', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const [first, second] = [newBlob(), newBlob()]
      await backend.put(handle, write(absent, first))
      const stored = await backend.put(handle, write(version(first), second))

      expect(await backend.put(handle, write(version(first), second))).toEqual(stored)
    })

    it('creates nothing where nothing is', async () => {
      const { backend } = subject()
      const handle = newHandle()

      expect(await backend.put(handle, write(version(newBlob()), newBlob()))).toEqual({ answer: 'gone' })
      expect(await backend.get(handle, 1000)).toBeUndefined()
    })

    it('answers gone once the record expired', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      const blob = newBlob()
      const { expiresAtMs = 0 } = await backend.put(handle, write(absent, blob, { ttlMs: 40 }))
      await passTo(expiresAtMs)

      expect(await backend.put(handle, write(version(blob), newBlob()))).toEqual({ answer: 'gone' })
    })

    it('lets exactly one of 64 parallel writes replace a version', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const blob = newBlob()
      await backend.put(handle, write(absent, blob))
      const replies = await Promise.all(
        Array.from({ length: 64 }, () => backend.put(handle, write(version(blob), newBlob()))),
      )

      expect(replies.filter(({ answer }) => answer === 'stored')).toHaveLength(1)
      expect(replies.filter(({ answer }) => answer === 'conflict')).toHaveLength(63)
    })
  })

  describe('put of any', () => {
    const subject = freshSubject(create)

    it('stores where nothing is and over what is', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const second = newBlob()

      expect(await backend.put(handle, write(any, newBlob()))).toMatchObject({ answer: 'stored' })
      expect(await backend.put(handle, write(any, second))).toMatchObject({ answer: 'stored' })
      expect(await backend.get(handle, 1000)).toMatchObject({ blob: second })
    })

    it('replaces the owner and the hard end with the bytes', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const owner = newOwner()
      const endsAtMs = (await backend.now()) + 5000
      await backend.put(handle, write(any, newBlob(), { owner: newOwner(), endsAtMs }))
      await backend.put(handle, write(any, newBlob(), { owner }))

      expect(await backend.touch(handle, LONG_MS)).toBeGreaterThan(endsAtMs)
      expect(await backend.end(handle, ending)).toMatchObject({ owner })
    })
  })

  describePutLimits(create)
}

function describePutLimits(create: CreateSubject): void {
  describe('put against tombstones and hard ends', () => {
    const subject = freshSubject(create)

    it('answers ended to every write while a tombstone stands, even to a repeat', async () => {
      const { backend } = subject()
      const handle = newHandle()
      const blob = newBlob()
      await backend.put(handle, write(absent, blob))
      await backend.end(handle, ending)

      for (const expectation of [absent, version(blob), any]) {
        expect(await backend.put(handle, write(expectation, newBlob()))).toEqual({ answer: 'ended' })
        expect(await backend.put(handle, write(expectation, blob))).toEqual({ answer: 'ended' })
      }
      expect(await backend.get(handle, 1000)).toBeUndefined()
    })

    it('answers gone and writes nothing when the hard end has passed', async () => {
      const { backend } = subject()
      const [empty, kept] = [newHandle(), newHandle()]
      const blob = newBlob()
      await backend.put(kept, write(absent, blob))
      const endsAtMs = (await backend.now()) - 1000

      expect(await backend.put(empty, write(absent, newBlob(), { endsAtMs }))).toEqual({ answer: 'gone' })
      expect(await backend.put(empty, write(any, newBlob(), { endsAtMs }))).toEqual({ answer: 'gone' })
      expect(await backend.put(kept, write(version(blob), newBlob(), { endsAtMs }))).toEqual({
        answer: 'gone',
      })
      expect(await backend.get(empty, 1000)).toBeUndefined()
      expect(await backend.get(kept, 1000)).toMatchObject({ blob })
    })

    it('answers gone for a missing version before it looks at the hard end, and conflict for another one', async () => {
      const { backend } = subject()
      const handle = newHandle()
      await backend.put(handle, write(absent, newBlob()))
      const past = { endsAtMs: (await backend.now()) - 1000 }

      expect(await backend.put(handle, write(version(newBlob()), newBlob(), past))).toEqual({
        answer: 'conflict',
      })
      expect(await backend.put(handle, write(absent, newBlob(), past))).toEqual({ answer: 'conflict' })
    })

    it('expires at the hard end when that comes before the ttl', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      const endsAtMs = (await backend.now()) + 1000
      const reply = await backend.put(handle, write(absent, newBlob(), { endsAtMs }))

      expect(reply).toEqual({ answer: 'stored', expiresAtMs: endsAtMs })
      await passTo(endsAtMs)
      expect(await backend.get(handle, 1000)).toBeUndefined()
    })

    it('expires after the ttl, counted on the backend clock', async () => {
      const { backend } = subject()
      const before = await backend.now()
      const { expiresAtMs } = await backend.put(newHandle(), write(absent, newBlob(), { ttlMs: 12_345 }))
      const after = await backend.now()

      // Two readings of one clock through a network may differ by the round trip.
      expect(expiresAtMs).toBeGreaterThanOrEqual(before + 12_345 - 50)
      expect(expiresAtMs).toBeLessThanOrEqual(after + 12_345 + 50)
    })
  })
}
