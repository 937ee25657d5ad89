import { describe, expect, it } from 'vitest'
import {
  absent,
  type CreateSubject,
  ending,
  freshSubject,
  LONG_MS,
  newBlob,
  newHandle,
  newOwner,
  write,
} from './subject.ts'

export function describeLookout(create: CreateSubject): void {
  describe('lookout', () => {
    const subject = freshSubject(create)

    it('tells what stands under each of many handles, in their order', async () => {
      const { backend } = subject()
      const owner = newOwner()
      const [living, owned, ended, fenced, unknown] = Array.from({ length: 5 }, newHandle) as [
        string,
        string,
        string,
        string,
        string,
      ]
      for (const handle of [living, ended]) await backend.put(handle, write(absent, newBlob()))
      await backend.put(owned, write(absent, newBlob(), { owner }))
      for (const handle of [owned, ended, fenced]) await backend.end(handle, ending)

      const fates = await backend.lookout.fates([unknown, fenced, living, owned, ended, living])

      const told = { state: 'ended', blob: ending.blob }
      const lives = { state: 'active', leftMs: expect.any(Number) }
      expect(fates).toEqual([
        { state: 'absent' },
        { ...told, owner: undefined },
        lives,
        { ...told, owner },
        { ...told, owner: undefined },
        lives,
      ])
      const [leftMs = Number.NaN] = fates.flatMap((fate) => (fate?.state === 'active' ? [fate.leftMs] : []))
      expect(leftMs).toBeGreaterThan(LONG_MS / 2)
      expect(leftMs).toBeLessThanOrEqual(LONG_MS + 1000)
    })

    it('tells of what has expired that it is absent', async () => {
      const { backend, passTo } = subject()
      const handle = newHandle()
      const { expiresAtMs = 0 } = await backend.put(handle, write(absent, newBlob(), { ttlMs: 40 }))
      await passTo(expiresAtMs)

      expect(await backend.lookout.fates([handle])).toEqual([{ state: 'absent' }])
    })

    it('shows the roster of an owner, and knows nothing after close, without a failure', async () => {
      const { backend } = subject()
      const owner = newOwner()
      const roster = await backend.lookout.registry.roster(owner)
      await backend.close()

      expect(roster).toEqual(expect.objectContaining({ members: [], pending: [], departed: [] }))
      expect(await backend.lookout.fates([newHandle()])).toEqual([undefined])
    })
  })
}
