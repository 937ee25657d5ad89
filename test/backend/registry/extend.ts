import { describe, expect, it } from 'vitest'
import {
  type CreateRegistrySubject,
  empty,
  enrollAll,
  enrolment,
  freshRegistry,
  granted,
  HOUR_MS,
  memberHandles,
  newHandle,
  newOwner,
  withdrawal,
} from './subject.ts'

export function describeExtend(create: CreateRegistrySubject): void {
  describe('extend and standing', () => {
    const subject = freshRegistry(create)

    it.each([2 * HOUR_MS, 1000])(
      'moves the expiry to %i ms from now and marks the member seen',
      async (ttlMs) => {
        const { registry, elapse, nowMs } = subject()
        const [owner, handle] = [newOwner(), newHandle()]
        const { epoch, order } = granted(await registry.enroll(owner, enrolment(handle)))
        await elapse(owner, 500)
        const beforeMs = await nowMs()

        expect(await registry.extend(owner, { handle, ttlMs })).toEqual({ epoch, isMember: true })
        const [member] = (await registry.roster(owner)).members
        expect(member?.seenAtMs).toBeGreaterThanOrEqual(beforeMs)
        expect(member).toMatchObject({ handle, order, expiresAtMs: (member?.seenAtMs ?? 0) + ttlMs })
      },
    )

    it('keeps a member that slides for ten times its ttl, and nobody else', async () => {
      const { registry, elapse } = subject()
      const [owner, sliding, still] = [newOwner(), newHandle(), newHandle()]
      const { epoch } = granted(await registry.enroll(owner, enrolment(sliding)))
      await registry.enroll(owner, enrolment(still))
      for (let step = 0; step < 20; step += 1) {
        await elapse(owner, HOUR_MS / 2)
        expect(await registry.extend(owner, { handle: sliding, ttlMs: HOUR_MS })).toEqual({
          epoch,
          isMember: true,
        })
      }

      expect(memberHandles(await registry.roster(owner))).toEqual([sliding])
      expect(await registry.standing(owner, sliding)).toEqual({ epoch, isMember: true })
    })

    it('does nothing for a handle that is missing, expired, withdrawn or pending', async () => {
      const { registry, elapse } = subject()
      const [owner, missing, expired, withdrawn, pending, member] = [
        newOwner(),
        newHandle(),
        newHandle(),
        newHandle(),
        newHandle(),
        newHandle(),
      ]
      await enrollAll(registry, owner, [
        enrolment(withdrawn),
        enrolment(expired, { ttlMs: 1000 }),
        enrolment(pending),
      ])
      await registry.withdraw(owner, withdrawal([withdrawn]))
      await elapse(owner, 1001)
      const { epoch } = granted(await registry.enroll(owner, enrolment(member, { cap: 1 })))
      const before = await registry.roster(owner)
      expect(before.pending).toEqual([pending])

      for (const handle of [missing, expired, withdrawn, pending]) {
        expect(await registry.standing(owner, handle)).toEqual({ epoch, isMember: false })
        expect(await registry.extend(owner, { handle, ttlMs: HOUR_MS })).toEqual({ epoch, isMember: false })
      }
      expect(await registry.roster(owner)).toEqual(before)
    })

    it('creates no registry', async () => {
      const { registry } = subject()
      const [owner, handle] = [newOwner(), newHandle()]

      expect(await registry.extend(owner, { handle, ttlMs: HOUR_MS })).toEqual({ epoch: 0, isMember: false })
      expect(await registry.roster(owner)).toEqual(empty)
    })

    it('does not pass the hard end, and does nothing once that has passed', async () => {
      const { registry, nowMs } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      const endsAtMs = (await nowMs()) + 10_000
      const { epoch } = granted(await registry.enroll(owner, enrolment(handle)))
      expect(await registry.extend(owner, { handle, ttlMs: HOUR_MS, endsAtMs })).toEqual({
        epoch,
        isMember: true,
      })
      const before = await registry.roster(owner)
      expect(before.members).toMatchObject([{ expiresAtMs: endsAtMs }])

      const past = { handle, ttlMs: HOUR_MS, endsAtMs: (await nowMs()) - 1 }
      expect(await registry.extend(owner, past)).toEqual({ epoch, isMember: false })
      expect(await registry.roster(owner)).toEqual(before)
    })

    it('does not bring a handle back that is withdrawn meanwhile, 100 times', async () => {
      const { registry } = subject()
      const owner = newOwner()
      for (let round = 0; round < 100; round += 1) {
        const handle = newHandle()
        await registry.enroll(owner, enrolment(handle))
        const extend = () => registry.extend(owner, { handle, ttlMs: HOUR_MS })
        await Promise.all([extend(), registry.withdraw(owner, withdrawal([handle])), extend()])
        expect(await registry.standing(owner, handle)).toMatchObject({ isMember: false })
      }

      expect((await registry.roster(owner)).members).toEqual([])
    })
  })
}
