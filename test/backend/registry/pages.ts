import { describe, expect, it } from 'vitest'
import { MAX_DEPARTED_BYTES, PAGE_SIZE, type Registry } from '../../../lib/backend/registry.ts'
import {
  type CreateRegistrySubject,
  departed,
  enrollAll,
  enrolment,
  freshRegistry,
  granted,
  HOUR_MS,
  memberHandles,
  newHandle,
  newHandles,
  newOwner,
  withdrawal,
} from './subject.ts'

export function describePages(create: CreateRegistrySubject): void {
  describe('work in pages', () => {
    const subject = freshRegistry(create)
    const cap = 10

    it('shows all members page by page, the newest page first, each oldest first', async () => {
      const { registry } = subject()
      const [owner, handles] = [newOwner(), newHandles(2 * PAGE_SIZE + 7)]
      await enrollAll(
        registry,
        owner,
        handles.map((handle) => enrolment(handle)),
      )
      await registry.withdraw(owner, withdrawal([], { departed: [departed(newHandle())] }))

      const pages = await pagesOf(registry, owner)
      expect(pages.map(({ members }) => members.length)).toEqual([PAGE_SIZE, PAGE_SIZE, 7])
      expect(pages.toReversed().flatMap(memberHandles)).toEqual(handles)
      expect(pages.map((page) => page.departed.length)).toEqual([1, 0, 0])
    })

    it('shows a page beside which others are withdrawn or enrolled', async () => {
      const { registry } = subject()
      const [owner, handles] = [newOwner(), newHandles(PAGE_SIZE + 5)]
      await enrollAll(
        registry,
        owner,
        handles.map((handle) => enrolment(handle)),
      )
      const raised = await registry.raise(owner, { keepMs: HOUR_MS })
      await registry.withdraw(owner, withdrawal(memberHandles(raised)))
      await registry.enroll(owner, enrolment(newHandle()))

      const rest = await registry.roster(owner, raised.next)
      expect(memberHandles(rest)).toEqual(handles.slice(0, 5))
      expect(rest.next).toBeUndefined()
    })

    it('displaces a page at a time once the cap is far lower, and grants nothing before all are gone', async () => {
      const { registry } = subject()
      const [owner, handles, newest] = [newOwner(), newHandles(2 * PAGE_SIZE + cap), newHandle()]
      await enrollAll(
        registry,
        owner,
        handles.map((handle) => enrolment(handle)),
      )
      let [rounds, ended, reply] = [
        0,
        new Set<string>(),
        await registry.enroll(owner, enrolment(newest, { cap })),
      ]
      while (reply.answer === 'crowded') {
        expect(reply.pending.length).toBeLessThanOrEqual(PAGE_SIZE)
        expect(await registry.standing(owner, newest)).toMatchObject({ isMember: false })
        ended = new Set([...ended, ...reply.pending])
        await registry.withdraw(owner, withdrawal(reply.pending))
        reply = await registry.enroll(owner, enrolment(newest, { cap }))
        rounds += 1
      }

      expect(rounds).toBe(2)
      expect([...ended, ...granted(reply).pending].toSorted()).toEqual(handles.slice(0, -cap + 1).toSorted())
      expect(memberHandles(await registry.roster(owner))).toEqual([...handles.slice(-cap + 1), newest])
    })

    it('takes no more at once than a page, and no larger memory than is returned', async () => {
      const { registry } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      await expect(registry.withdraw(owner, withdrawal(newHandles(PAGE_SIZE + 1)))).rejects.toThrow(TypeError)

      const blob = Buffer.alloc(MAX_DEPARTED_BYTES)
      await registry.withdraw(owner, withdrawal([], { departed: [{ handle, blob }] }))
      expect((await registry.roster(owner)).departed).toEqual([{ handle, blob }])
      const tooLarge = [{ handle, blob: Buffer.alloc(MAX_DEPARTED_BYTES + 1) }]
      await expect(registry.withdraw(owner, withdrawal([], { departed: tooLarge }))).rejects.toThrow(
        TypeError,
      )
    })

    it('refuses a cursor that no roster answered', async () => {
      const { registry } = subject()
      await expect(registry.roster(newOwner(), 'x')).rejects.toThrow(TypeError)
    })
  })

  describeTaking(create)
}

async function pagesOf(registry: Registry, owner: string) {
  const pages = [await registry.roster(owner)]
  for (let next = pages[0]?.next; next !== undefined; next = pages.at(-1)?.next)
    pages.push(await registry.roster(owner, next))
  return pages
}

function describeTaking(create: CreateRegistrySubject): void {
  describe('a place that is not taken', () => {
    const subject = freshRegistry(create)
    const takenWithinMs = HOUR_MS / 4
    const refuse = { cap: 1, beyondCap: 'refuse' } as const

    it.each([
      ['refuses', refuse],
      ['evicts', { cap: 2 }],
    ])('counts for nothing once its time is up, under a cap that %s', async (_, terms) => {
      const { registry, elapse } = subject()
      const [owner, dead, second, newest] = [newOwner(), newHandle(), newHandle(), newHandle()]
      await registry.enroll(owner, enrolment(dead, { takenWithinMs }))
      if (terms.cap === 2) await registry.enroll(owner, enrolment(second))
      expect(await registry.count(owner)).toBe(terms.cap)
      await elapse(owner, takenWithinMs + 1)

      expect(await registry.count(owner)).toBe(terms.cap - 1)
      const reply = granted(await registry.enroll(owner, enrolment(newest, terms)))
      expect(reply.pending).toEqual([dead])
      expect(await registry.standing(owner, dead)).toMatchObject({ isMember: false })
      expect(memberHandles(await registry.roster(owner))).toEqual(
        terms.cap === 2 ? [second, newest] : [newest],
      )
    })

    it('counts while there is time', async () => {
      const { registry, elapse } = subject()
      const [owner, under] = [newOwner(), newHandle()]
      await registry.enroll(owner, enrolment(under, { takenWithinMs: HOUR_MS / 2 }))
      await elapse(owner, HOUR_MS / 4)

      expect(await registry.count(owner)).toBe(1)
      expect(await registry.enroll(owner, enrolment(newHandle(), refuse))).toEqual({ answer: 'full' })
    })

    it.each([
      [
        'was taken',
        (registry: Registry, owner: string, handle: string) =>
          registry.withdraw(owner, withdrawal([], { taken: handle })),
      ],
      [
        'was extended',
        (registry: Registry, owner: string, handle: string) =>
          registry.extend(owner, { handle, ttlMs: HOUR_MS }),
      ],
    ] as const)(
      'is another one than a place that %s, for which no enrolment sets a time again',
      async (_, take) => {
        const { registry, elapse } = subject()
        const [owner, handle] = [newOwner(), newHandle()]
        await registry.enroll(owner, enrolment(handle, { takenWithinMs }))
        await take(registry, owner, handle)
        await registry.enroll(owner, enrolment(handle, { takenWithinMs }))
        await elapse(owner, takenWithinMs + 1)

        expect(await registry.count(owner)).toBe(1)
        expect(await registry.enroll(owner, enrolment(newHandle(), refuse))).toEqual({ answer: 'full' })
      },
    )

    it('gets its time anew with every enrolment', async () => {
      const { registry, elapse } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      for (let round = 0; round < 3; round += 1) {
        await registry.enroll(owner, enrolment(handle, { takenWithinMs: HOUR_MS / 2 }))
        await elapse(owner, HOUR_MS / 3)
      }
      expect(await registry.count(owner)).toBe(1)
    })

    it('is the same one for who comes again after its time was up, as long as nobody else came', async () => {
      const { registry, elapse } = subject()
      const [owner, again, other] = [newOwner(), newHandle(), newHandle()]
      const { order } = granted(await registry.enroll(owner, enrolment(again, { takenWithinMs })))
      await elapse(owner, takenWithinMs + 1)

      const place = enrolment(again, { ...refuse, takenWithinMs })
      expect(granted(await registry.enroll(owner, place))).toMatchObject({ order, pending: [] })
      expect(await registry.count(owner)).toBe(1)
      await elapse(owner, takenWithinMs + 1)
      expect(granted(await registry.enroll(owner, enrolment(other, refuse))).pending).toEqual([again])
    })

    it('is shown as such', async () => {
      const { registry } = subject()
      const [owner, ...handles] = [newOwner(), ...newHandles(2)]
      await enrollAll(
        registry,
        owner,
        handles.map((handle) => enrolment(handle)),
      )
      await registry.withdraw(owner, withdrawal([], { taken: handles[1] ?? '' }))

      expect((await registry.roster(owner)).members.map(({ isTaken }) => isTaken)).toEqual([false, true])
    })

    it('is not brought back by being taken too late', async () => {
      const { registry, elapse } = subject()
      const [owner, late, newest] = [newOwner(), newHandle(), newHandle()]
      await registry.enroll(owner, enrolment(late, { takenWithinMs }))
      await elapse(owner, takenWithinMs + 1)
      await registry.enroll(owner, enrolment(newest))
      await registry.withdraw(owner, withdrawal([], { taken: late }))

      expect(await registry.roster(owner)).toMatchObject({ members: [{ handle: newest }], pending: [late] })
      expect(await registry.enroll(owner, enrolment(late))).toEqual({ answer: 'crowded', pending: [late] })
    })
  })
}
