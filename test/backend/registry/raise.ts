import { describe, expect, it } from 'vitest'
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

const keepMs = HOUR_MS

export function describeRaise(create: CreateRegistrySubject): void {
  describe('raise', () => {
    const subject = freshRegistry(create)

    it('raises the epoch and answers the roster as of then', async () => {
      const { registry } = subject()
      const [owner, [first = '', second = '', third = ''], left] = [
        newOwner(),
        newHandles(3),
        departed(newHandle()),
      ]
      await enrollAll(registry, owner, [enrolment(first), enrolment(second), enrolment(third, { cap: 2 })])
      await registry.withdraw(owner, withdrawal([], { departed: [left] }))
      const before = await registry.roster(owner)
      const raised = await registry.raise(owner, { keepMs })

      expect(raised.epoch).toBeGreaterThan(before.epoch)
      expect(raised).toEqual({ ...before, epoch: raised.epoch })
      expect(raised).toMatchObject({
        members: [{ handle: second }, { handle: third }],
        pending: [first],
        departed: [left],
      })
      expect(await registry.roster(owner)).toEqual(raised)
      expect(await registry.standing(owner, second)).toEqual({ epoch: raised.epoch, isMember: true })
    })

    it('raises to the time in microseconds, or the next number where that is no more', async () => {
      const { registry, nowMs } = subject()
      const owner = newOwner()
      const beforeMs = await nowMs()
      const { epoch } = await registry.raise(owner, { keepMs })
      expect(Math.floor(epoch / 1000)).toBeGreaterThanOrEqual(beforeMs)
      expect(Math.floor(epoch / 1000)).toBeLessThanOrEqual(await nowMs())

      const ahead = epoch + 1_000_000_000_000
      await registry.raise(owner, { keepMs, epoch: ahead })
      expect((await registry.raise(owner, { keepMs })).epoch).toBe(ahead + 1)
      expect((await registry.raise(owner, { keepMs })).epoch).toBe(ahead + 2)
    })

    it('raises to the given epoch, and does not lower it', async () => {
      const { registry } = subject()
      const owner = newOwner()
      const { epoch } = granted(await registry.enroll(owner, enrolment(newHandle())))

      expect((await registry.raise(owner, { keepMs, epoch: epoch + 5 })).epoch).toBe(epoch + 5)
      expect((await registry.raise(owner, { keepMs, epoch: epoch + 5 })).epoch).toBe(epoch + 5)
      expect((await registry.raise(owner, { keepMs, epoch })).epoch).toBe(epoch + 5)
      expect(granted(await registry.enroll(owner, enrolment(newHandle()))).epoch).toBe(epoch + 5)
    })

    it('gives 50 parallel raises 50 epochs', async () => {
      const { registry } = subject()
      const owner = newOwner()
      const rosters = await Promise.all(Array.from({ length: 50 }, () => registry.raise(owner, { keepMs })))

      expect(new Set(rosters.map(({ epoch }) => epoch)).size).toBe(50)
    })

    it('leaves an epoch where there was no registry, which stands for the time given', async () => {
      const { registry, elapse } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      const { epoch, ...rest } = await registry.raise(owner, { keepMs })
      expect(rest).toMatchObject({ members: [], pending: [], departed: [] })
      await elapse(owner, keepMs - 10_000)
      expect(await registry.standing(owner, handle)).toEqual({ epoch, isMember: false })

      await elapse(owner, 10_001)
      expect(await registry.roster(owner)).toEqual(empty)
    })

    it('puts every racing enrolment either on its roster or under its epoch', async () => {
      const { registry } = subject()
      for (let round = 0; round < 20; round += 1) {
        const owner = newOwner()
        await registry.enroll(owner, enrolment(newHandle()))
        const enroll = async (handle: string) => ({
          handle,
          ...granted(await registry.enroll(owner, enrolment(handle))),
        })
        const [early, { epoch, members }, late] = await Promise.all([
          Promise.all(newHandles(10).map(enroll)),
          registry.raise(owner, { keepMs }),
          Promise.all(newHandles(10).map(enroll)),
        ])
        const isListed = (handle: string) => members.some((member) => member.handle === handle)
        const missed = [...early, ...late].filter(
          (reply) => isListed(reply.handle) === (reply.epoch === epoch),
        )
        expect(missed).toEqual([])
      }
    })
  })

  describeLife(create)
}

function describeLife(create: CreateRegistrySubject): void {
  describe('the life of a registry', () => {
    const subject = freshRegistry(create)

    it('ends with its last member', async () => {
      const { registry, elapse } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      const { epoch, order } = granted(await registry.enroll(owner, enrolment(handle)))
      await elapse(owner, HOUR_MS + 1)

      expect(await registry.roster(owner)).toEqual(empty)
      const next = granted(await registry.enroll(owner, enrolment(handle)))
      expect(next.epoch).toBeGreaterThan(epoch)
      expect(next.order).toBeGreaterThan(order)
    })

    it('is not cut short by a shorter enrolment or extension', async () => {
      const { registry, elapse } = subject()
      const [owner, lasting, brief] = [newOwner(), newHandle(), newHandle()]
      const { epoch } = granted(await registry.enroll(owner, enrolment(lasting)))
      await registry.enroll(owner, enrolment(brief, { ttlMs: 1000 }))
      await registry.extend(owner, { handle: brief, ttlMs: 1000 })
      await registry.raise(owner, { keepMs: 1000, epoch: 1 })
      await registry.withdraw(
        owner,
        withdrawal([brief], { departed: [departed(brief)], departedTtlMs: 1000 }),
      )
      await elapse(owner, HOUR_MS - 10_000)

      expect(await registry.roster(owner)).toMatchObject({ epoch, members: [{ handle: lasting }] })
    })

    it('outlasts its members for the departed, and its epoch with it', async () => {
      const { registry, elapse } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      const { epoch } = granted(await registry.enroll(owner, enrolment(handle, { ttlMs: 1000 })))
      const left = departed(handle)
      await registry.withdraw(owner, withdrawal([handle], { departed: [left] }))
      await elapse(owner, HOUR_MS - 10_000)
      expect(await registry.roster(owner)).toEqual({ epoch, members: [], pending: [], departed: [left] })

      await elapse(owner, 10_001)
      expect(await registry.roster(owner)).toEqual(empty)
    })

    it('lasts for an evicted handle that would have outlived who evicted it', async () => {
      const { registry, elapse } = subject()
      const [owner, lasting, brief] = [newOwner(), newHandle(), newHandle()]
      await registry.enroll(owner, enrolment(lasting))
      await registry.enroll(owner, enrolment(brief, { ttlMs: 1000, cap: 1 }))
      await elapse(owner, HOUR_MS - 10_000)

      expect(await registry.roster(owner)).toMatchObject({ members: [], pending: [lasting] })
    })

    it('does not outlast its last withdrawn member by more than that had left', async () => {
      const { registry, elapse } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      await registry.enroll(owner, enrolment(handle))
      await registry.withdraw(owner, withdrawal([handle]))
      await elapse(owner, HOUR_MS + 1)

      expect(await registry.standing(owner, handle)).toEqual({ epoch: 0, isMember: false })
    })
  })
}
