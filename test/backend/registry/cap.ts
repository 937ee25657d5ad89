import { describe, expect, it } from 'vitest'
import {
  type CreateRegistrySubject,
  enrollAll,
  enrolment,
  freshRegistry,
  granted,
  memberHandles,
  newHandle,
  newHandles,
  newOwner,
  withdrawal,
} from './subject.ts'

export function describeCap(create: CreateRegistrySubject): void {
  describeEvict(create)
  describeRefuse(create)
}

function describeEvict(create: CreateRegistrySubject): void {
  describe('a cap that evicts', () => {
    const subject = freshRegistry(create)

    it.each([1, 2, 5, 10])(
      'keeps exactly the last %i of 100 parallel enrolments and lists every other as pending',
      async (cap) => {
        const { registry } = subject()
        const owner = newOwner()
        const replies = await Promise.all(
          newHandles(100).map(async (handle) => ({
            handle,
            ...granted(await registry.enroll(owner, enrolment(handle, { cap }))),
          })),
        )
        const oldestFirst = replies.toSorted((a, b) => a.order - b.order).map(({ handle }) => handle)
        const roster = await registry.roster(owner)

        expect(memberHandles(roster)).toEqual(oldestFirst.slice(-cap))
        expect(roster.pending.toSorted()).toEqual(oldestFirst.slice(0, -cap).toSorted())
      },
    )

    it('names a pending handle in every reply until it is withdrawn', async () => {
      const { registry } = subject()
      const owner = newOwner()
      const [first = '', second = '', third = '', fourth = ''] = newHandles(4)
      await enrollAll(registry, owner, [enrolment(first, { cap: 1 })])

      expect(await registry.enroll(owner, enrolment(second, { cap: 1 }))).toMatchObject({ pending: [first] })
      expect(await registry.enroll(owner, enrolment(second, { cap: 1 }))).toMatchObject({ pending: [first] })
      // By expiry, and so in any order if both came in the same ms.
      const both = granted(await registry.enroll(owner, enrolment(third, { cap: 1 }))).pending
      expect(both.toSorted()).toEqual([first, second].toSorted())
      await registry.withdraw(owner, withdrawal([first]))
      const { pending } = granted(await registry.enroll(owner, enrolment(fourth, { cap: 1 })))
      expect(pending.toSorted()).toEqual([second, third].toSorted())
      await registry.withdraw(owner, withdrawal([second, third]))
      expect(await registry.roster(owner)).toMatchObject({ members: [{ handle: fourth }], pending: [] })
    })

    it('does not let an evicted handle back, and names it', async () => {
      const { registry } = subject()
      const [owner, first, second] = [newOwner(), newHandle(), newHandle()]
      await registry.enroll(owner, enrolment(first, { cap: 1 }))
      await registry.enroll(owner, enrolment(second, { cap: 1 }))

      const displaced = { answer: 'crowded', pending: [first] }
      expect(await registry.enroll(owner, enrolment(first, { cap: 1 }))).toEqual(displaced)
      expect(await registry.enroll(owner, enrolment(first))).toEqual(displaced)
      expect(await registry.enroll(owner, enrolment(first, { cap: 1, beyondCap: 'refuse' }))).toEqual(
        displaced,
      )
      expect(await registry.roster(owner)).toMatchObject({ members: [{ handle: second }], pending: [first] })
      expect(await registry.standing(owner, first)).toMatchObject({ isMember: false })
    })

    it('evicts nobody for a repeat, nor while there is room', async () => {
      const { registry } = subject()
      const [owner, handles] = [newOwner(), newHandles(3)]
      for (const round of [handles, handles, handles.toReversed()]) {
        await enrollAll(
          registry,
          owner,
          round.map((handle) => enrolment(handle, { cap: 3 })),
        )
      }

      expect(memberHandles(await registry.roster(owner))).toEqual(handles)
      expect((await registry.roster(owner)).pending).toEqual([])
    })

    it('evicts as many as it takes once the cap is lower, even the one that is enrolled again', async () => {
      const { registry } = subject()
      const [owner, handles] = [newOwner(), newHandles(5)]
      await enrollAll(
        registry,
        owner,
        handles.map((handle) => enrolment(handle)),
      )
      const newest = newHandle()
      await registry.enroll(owner, enrolment(newest, { cap: 3 }))
      expect(memberHandles(await registry.roster(owner))).toEqual([...handles.slice(3), newest])

      const [, , , oldest = ''] = handles
      expect(await registry.enroll(owner, enrolment(oldest, { cap: 1 }))).toEqual({
        answer: 'crowded',
        pending: [oldest],
      })
      expect((await registry.roster(owner)).pending.toSorted()).toEqual(handles.toSorted())
      expect(memberHandles(await registry.roster(owner))).toEqual([newest])
    })

    it('does not count who has expired', async () => {
      const { registry, elapse } = subject()
      const [owner, older, expired, newest] = [newOwner(), newHandle(), newHandle(), newHandle()]
      await enrollAll(registry, owner, [enrolment(older), enrolment(expired, { ttlMs: 1000 })])
      await elapse(owner, 1001)

      expect(await registry.enroll(owner, enrolment(newest, { cap: 2 }))).toMatchObject({ pending: [] })
      expect(memberHandles(await registry.roster(owner))).toEqual([older, newest])
    })

    it('drops pending handles that have expired', async () => {
      const { registry, elapse } = subject()
      const [owner, brief, lasting] = [newOwner(), newHandle(), newHandle()]
      await enrollAll(registry, owner, [
        enrolment(brief, { ttlMs: 1000, cap: 1 }),
        enrolment(lasting, { cap: 1 }),
      ])
      await elapse(owner, 1001)

      expect((await registry.roster(owner)).pending).toEqual([])
      expect(await registry.enroll(owner, enrolment(lasting, { cap: 1 }))).toMatchObject({ pending: [] })
    })

    it('never evicts the one living older member while others come and go, 50 times at cap 5', async () => {
      const { registry } = subject()
      const [owner, older] = [newOwner(), newHandle()]
      await registry.enroll(owner, enrolment(older, { cap: 5 }))
      for (let round = 0; round < 50; round += 1) {
        const passing = newHandle()
        expect(await registry.enroll(owner, enrolment(passing, { cap: 5 }))).toMatchObject({ pending: [] })
        await registry.withdraw(owner, withdrawal([passing]))
      }

      expect(memberHandles(await registry.roster(owner))).toEqual([older])
    })

    it('shows no more than the cap at any instant of 200 parallel enrolments', async () => {
      const { registry } = subject()
      const owner = newOwner()
      const sizeAfter = async (handle: string) => {
        await registry.enroll(owner, enrolment(handle, { cap: 2 }))
        return (await registry.roster(owner)).members.length
      }
      const sizes = await Promise.all(newHandles(200).map(sizeAfter))

      expect(Math.max(...sizes)).toBe(2)
    })
  })
}

function describeRefuse(create: CreateRegistrySubject): void {
  describe('a cap that refuses', () => {
    const subject = freshRegistry(create)
    const refuse = { cap: 2, beyondCap: 'refuse' } as const

    it('lets in exactly the cap of 100 parallel enrolments, and writes nothing for the others', async () => {
      const { registry } = subject()
      const [owner, handles] = [newOwner(), newHandles(100)]
      const replies = await Promise.all(
        handles.map(async (handle) => ({
          handle,
          reply: await registry.enroll(owner, enrolment(handle, refuse)),
        })),
      )
      const admitted = replies.filter(({ reply }) => reply.answer === 'enrolled').map(({ handle }) => handle)
      const roster = await registry.roster(owner)

      expect(admitted).toHaveLength(2)
      expect(new Set(memberHandles(roster))).toEqual(new Set(admitted))
      expect(roster.pending).toEqual([])
      expect(await registry.enroll(owner, enrolment(newHandle(), refuse))).toEqual({ answer: 'full' })
      expect(await registry.roster(owner)).toEqual(roster)
    })

    it('answers a repeat as enrolled, also when it is full or the cap is lower by now', async () => {
      const { registry } = subject()
      const [owner, handles] = [newOwner(), newHandles(2)]
      await enrollAll(
        registry,
        owner,
        handles.map((handle) => enrolment(handle, refuse)),
      )
      const [first = ''] = handles

      expect(await registry.enroll(owner, enrolment(first, refuse))).toMatchObject({
        answer: 'enrolled',
        pending: [],
      })
      expect(await registry.enroll(owner, enrolment(first, { ...refuse, cap: 1 }))).toMatchObject({
        answer: 'enrolled',
        pending: [],
      })
      expect(memberHandles(await registry.roster(owner))).toEqual(handles)
    })

    it('lets in again once one has left or expired', async () => {
      const { registry, elapse } = subject()
      const [owner, brief, leaving, next, last] = [
        newOwner(),
        newHandle(),
        newHandle(),
        newHandle(),
        newHandle(),
      ]
      await enrollAll(registry, owner, [
        enrolment(brief, { ...refuse, ttlMs: 1000 }),
        enrolment(leaving, refuse),
      ])
      expect(await registry.enroll(owner, enrolment(next, refuse))).toEqual({ answer: 'full' })
      await registry.withdraw(owner, withdrawal([leaving]))
      expect(await registry.enroll(owner, enrolment(next, refuse))).toMatchObject({ answer: 'enrolled' })
      expect(await registry.enroll(owner, enrolment(last, refuse))).toEqual({ answer: 'full' })
      await elapse(owner, 1001)

      expect(await registry.enroll(owner, enrolment(last, refuse))).toMatchObject({ answer: 'enrolled' })
      expect(memberHandles(await registry.roster(owner))).toEqual([next, last])
    })

    it('lets in any number without a cap', async () => {
      const { registry } = subject()
      const [owner, handles] = [newOwner(), newHandles(30)]
      await enrollAll(
        registry,
        owner,
        handles.map((handle) => enrolment(handle, { beyondCap: 'refuse' })),
      )

      expect(memberHandles(await registry.roster(owner))).toEqual(handles)
    })
  })
}
