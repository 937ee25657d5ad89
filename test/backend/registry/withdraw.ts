import { describe, expect, it } from 'vitest'
import { MAX_DEPARTED } from '../../../lib/backend/registry.ts'
import {
  type CreateRegistrySubject,
  departed,
  empty,
  enrollAll,
  enrolment,
  freshRegistry,
  granted,
  HOUR_MS,
  newHandle,
  newHandles,
  newOwner,
  withdrawal,
} from './subject.ts'

export function describeWithdraw(create: CreateRegistrySubject): void {
  describe('withdraw', () => {
    const subject = freshRegistry(create)

    it('removes members and pending handles, a page at once, and leaves the others', async () => {
      const { registry } = subject()
      const [owner, handles] = [newOwner(), newHandles(102)]
      await Promise.all(handles.map((handle) => registry.enroll(owner, enrolment(handle))))
      const { members, next } = await registry.roster(owner)
      const older = await registry.roster(owner, next)
      const all = [...older.members, ...members].map(({ handle }) => handle)
      await registry.enroll(owner, enrolment(all.at(-1) ?? '', { cap: 60 }))
      await registry.withdraw(owner, withdrawal(all.slice(1, -1)))

      expect(await registry.roster(owner)).toMatchObject({
        members: [{ handle: all.at(-1) }],
        pending: [all[0]],
      })
    })

    it('removes, with a time, only who was last seen then: one that comes late takes nobody who came again', async () => {
      const { registry, elapse } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      const first = granted(await registry.enroll(owner, enrolment(handle)))
      await elapse(owner, 5)
      let again = first
      while (again.seenAtMs === first.seenAtMs)
        again = granted(await registry.enroll(owner, enrolment(handle)))

      await registry.withdraw(owner, withdrawal([handle], { seenAtMs: first.seenAtMs }))
      expect(await registry.standing(owner, handle)).toMatchObject({ isMember: true })
      await registry.withdraw(owner, withdrawal([handle], { seenAtMs: again.seenAtMs }))
      expect(await registry.standing(owner, handle)).toMatchObject({ isMember: false })
    })

    it('does nothing for what is not there, and creates no registry', async () => {
      const { registry } = subject()
      const owner = newOwner()
      await registry.withdraw(owner, withdrawal(newHandles(2)))

      expect(await registry.roster(owner)).toEqual(empty)
    })

    it('remembers what is kept of the departed, the last of several as the newest', async () => {
      const { registry } = subject()
      const [owner, handles] = [newOwner(), newHandles(3)]
      await enrollAll(
        registry,
        owner,
        handles.map((handle) => enrolment(handle)),
      )
      const [first, second, third] = handles.map(departed)
      if (!first || !second || !third) throw new Error('There are three')
      await registry.withdraw(owner, withdrawal([first.handle, second.handle], { departed: [first, second] }))
      await registry.withdraw(owner, withdrawal([third.handle], { departed: [third] }))

      expect(await registry.roster(owner)).toMatchObject({ members: [], departed: [third, second, first] })
    })

    it('keeps the first of two memories of one handle, so that a repeat changes nothing', async () => {
      const { registry, elapse } = subject()
      const [owner, first, second] = [newOwner(), departed(newHandle()), departed(newHandle())]
      await registry.withdraw(owner, withdrawal([first.handle], { departed: [first] }))
      await registry.withdraw(owner, withdrawal([second.handle], { departed: [second] }))
      await elapse(owner, HOUR_MS / 2)
      await registry.withdraw(
        owner,
        withdrawal([first.handle], { departed: [{ ...first, blob: Buffer.from('late') }] }),
      )
      expect((await registry.roster(owner)).departed).toEqual([second, first])

      await elapse(owner, HOUR_MS / 2 + 1)
      expect((await registry.roster(owner)).departed).toEqual([])
    })

    it('keeps every byte value of a blob, also an empty one', async () => {
      const { registry } = subject()
      const owner = newOwner()
      const bytes = { handle: newHandle(), blob: Buffer.from(Array.from({ length: 256 }, (_, byte) => byte)) }
      const nothing = { handle: newHandle(), blob: Buffer.alloc(0) }
      await registry.withdraw(owner, withdrawal([], { departed: [bytes, nothing] }))

      expect((await registry.roster(owner)).departed).toEqual([nothing, bytes])
    })

    it('keeps blobs apart from the buffers it was given and gave', async () => {
      const { registry } = subject()
      const [owner, one] = [newOwner(), departed(newHandle())]
      const blob = Buffer.from(one.blob)
      await registry.withdraw(owner, withdrawal([], { departed: [one] }))
      one.blob.fill(0)
      const [given] = (await registry.roster(owner)).departed
      given?.blob.fill(1)

      expect((await registry.roster(owner)).departed).toEqual([{ handle: one.handle, blob }])
    })

    it('remembers the 100 newest, however they came', async () => {
      const { registry } = subject()
      const [owner, left] = [newOwner(), newHandles(250).map(departed)]
      await registry.withdraw(owner, withdrawal([], { departed: left.slice(0, 130) }))
      for (const one of left.slice(130, 150))
        await registry.withdraw(owner, withdrawal([], { departed: [one] }))
      expect((await registry.roster(owner)).departed).toEqual(left.slice(50, 150).toReversed())

      await registry.withdraw(owner, withdrawal([], { departed: left.slice(150) }))
      const kept = (await registry.roster(owner)).departed
      expect(kept).toEqual(left.slice(150).toReversed())
      expect(kept).toHaveLength(MAX_DEPARTED)
    })

    it('forgets each departed handle when its own time has come', async () => {
      const { registry, elapse } = subject()
      const [owner, brief, lasting, third] = [
        newOwner(),
        departed(newHandle()),
        departed(newHandle()),
        departed(newHandle()),
      ]
      await registry.withdraw(owner, withdrawal([], { departed: [lasting] }))
      await registry.withdraw(owner, withdrawal([], { departed: [brief], departedTtlMs: 1000 }))
      expect((await registry.roster(owner)).departed).toEqual([brief, lasting])
      await elapse(owner, 1001)
      expect((await registry.roster(owner)).departed).toEqual([lasting])

      await registry.withdraw(owner, withdrawal([], { departed: [third] }))
      expect((await registry.roster(owner)).departed).toEqual([third, lasting])
    })
  })
}
