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
  newHandles,
  newOwner,
  withdrawal,
} from './subject.ts'

export function describeEnroll(create: CreateRegistrySubject): void {
  describe('enroll', () => {
    const subject = freshRegistry(create)

    it('starts from an empty registry of epoch 0', async () => {
      const { registry } = subject()
      const owner = newOwner()

      expect(await registry.roster(owner)).toEqual(empty)
      expect(await registry.standing(owner, newHandle())).toEqual({ epoch: 0, isMember: false })
    })

    it('starts the epoch and the order at the time in microseconds, and shows the member', async () => {
      const { registry, nowMs } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      const beforeMs = await nowMs()
      const { epoch, order, pending } = granted(await registry.enroll(owner, enrolment(handle)))
      const afterMs = await nowMs()
      const [member, ...others] = (await registry.roster(owner)).members

      expect(Math.floor(epoch / 1000)).toBeGreaterThanOrEqual(beforeMs)
      expect(Math.floor(epoch / 1000)).toBeLessThanOrEqual(afterMs)
      expect(order).toBe(epoch)
      expect([pending, others]).toEqual([[], []])
      expect(member).toMatchObject({ handle, order, expiresAtMs: (member?.seenAtMs ?? 0) + HOUR_MS })
      expect(member?.seenAtMs).toBeGreaterThanOrEqual(beforeMs)
      expect(member?.seenAtMs).toBeLessThanOrEqual(afterMs)
    })

    it('keeps the epoch through later enrolments', async () => {
      const { registry } = subject()
      const owner = newOwner()
      const { epoch } = granted(await registry.enroll(owner, enrolment(newHandle())))

      expect(granted(await registry.enroll(owner, enrolment(newHandle()))).epoch).toBe(epoch)
      expect(await registry.standing(owner, newHandle())).toEqual({ epoch, isMember: false })
    })

    it('gives 100 parallel enrolments strictly increasing orders, and lists them oldest first', async () => {
      const { registry } = subject()
      const owner = newOwner()
      const replies = await Promise.all(
        newHandles(100).map(async (handle) => ({
          handle,
          order: granted(await registry.enroll(owner, enrolment(handle))).order,
        })),
      )
      const oldestFirst = replies.toSorted((a, b) => a.order - b.order)

      expect(new Set(replies.map(({ order }) => order)).size).toBe(100)
      expect(memberHandles(await registry.roster(owner))).toEqual(oldestFirst.map(({ handle }) => handle))
    })

    it('goes on with higher orders and the same epoch after the last member was withdrawn', async () => {
      const { registry } = subject()
      const [owner, first, second] = [newOwner(), newHandle(), newHandle()]
      const before = granted(await registry.enroll(owner, enrolment(first)))
      await registry.withdraw(owner, withdrawal([first]))
      const after = granted(await registry.enroll(owner, enrolment(second)))

      expect(after.order).toBeGreaterThan(before.order)
      expect(after.epoch).toBe(before.epoch)
    })

    it('answers a repeat with the first order and moves the expiry', async () => {
      const { registry } = subject()
      const [owner, handle, younger] = [newOwner(), newHandle(), newHandle()]
      const { order } = granted(await registry.enroll(owner, enrolment(handle)))
      await registry.enroll(owner, enrolment(younger))
      const repeat = granted(await registry.enroll(owner, enrolment(handle, { ttlMs: 3 * HOUR_MS })))
      const { members } = await registry.roster(owner)

      expect(repeat.order).toBe(order)
      expect(members.map((member) => member.handle)).toEqual([handle, younger])
      expect(members[0]?.expiresAtMs).toBe((members[0]?.seenAtMs ?? 0) + 3 * HOUR_MS)
    })

    it('does not let a membership pass its hard end', async () => {
      const { registry, nowMs } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      const endsAtMs = (await nowMs()) + 10_000
      await registry.enroll(owner, enrolment(handle, { endsAtMs }))

      expect((await registry.roster(owner)).members).toMatchObject([{ handle, expiresAtMs: endsAtMs }])
    })

    it('answers gone past the hard end, evicts nobody and leaves no trace', async () => {
      const { registry, nowMs } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      const endsAtMs = (await nowMs()) - 1

      expect(await registry.enroll(owner, enrolment(newHandle(), { endsAtMs }))).toEqual({ answer: 'gone' })
      expect(await registry.roster(owner)).toEqual(empty)
      await registry.enroll(owner, enrolment(handle))
      expect(await registry.enroll(owner, enrolment(newHandle(), { endsAtMs, cap: 1 }))).toEqual({
        answer: 'gone',
      })
      expect(await registry.roster(owner)).toMatchObject({ members: [{ handle }], pending: [] })
    })

    it('drops who has expired, and enrols an expired handle as the newest', async () => {
      const { registry, elapse } = subject()
      const [owner, brief, lasting] = [newOwner(), newHandle(), newHandle()]
      await enrollAll(registry, owner, [enrolment(brief, { ttlMs: 1000 }), enrolment(lasting)])
      await elapse(owner, 1001)

      expect(memberHandles(await registry.roster(owner))).toEqual([lasting])
      expect(await registry.standing(owner, brief)).toMatchObject({ isMember: false })
      await registry.enroll(owner, enrolment(brief))
      expect(memberHandles(await registry.roster(owner))).toEqual([lasting, brief])
    })

    it('keeps owners apart', async () => {
      const { registry } = subject()
      const [mine, theirs, handle] = [newOwner(), newOwner(), newHandle()]
      await registry.enroll(mine, enrolment(handle))

      expect(await registry.roster(theirs)).toEqual(empty)
      expect(await registry.standing(theirs, handle)).toEqual({ epoch: 0, isMember: false })
    })
  })

  describeArguments(create)
}

function describeArguments(create: CreateRegistrySubject): void {
  describe('arguments of the registry', () => {
    const subject = freshRegistry(create)

    it('refuses owners and handles that could name another key, without quoting them', async () => {
      const { registry } = subject()
      const [owner, handle] = [newOwner(), newHandle()]
      for (const wrong of ['', 'a'.repeat(42), `${'a'.repeat(42)}}`, `${'a'.repeat(43)}\n`]) {
        const asOwner = new TypeError('An owner must be 43 characters of base64url')
        await expect(registry.enroll(wrong, enrolment(handle))).rejects.toThrow(asOwner)
        await expect(registry.extend(wrong, { handle, ttlMs: 1 })).rejects.toThrow(asOwner)
        await expect(registry.standing(wrong, handle)).rejects.toThrow(asOwner)
        await expect(registry.withdraw(wrong, withdrawal([]))).rejects.toThrow(asOwner)
        await expect(registry.roster(wrong)).rejects.toThrow(asOwner)
        await expect(registry.count(wrong)).rejects.toThrow(asOwner)
        await expect(registry.raise(wrong, { keepMs: 1 })).rejects.toThrow(asOwner)

        const asHandle = new TypeError('A handle must be 43 characters of base64url')
        await expect(registry.enroll(owner, enrolment(wrong))).rejects.toThrow(asHandle)
        await expect(registry.extend(owner, { handle: wrong, ttlMs: 1 })).rejects.toThrow(asHandle)
        await expect(registry.standing(owner, wrong)).rejects.toThrow(asHandle)
        await expect(registry.withdraw(owner, withdrawal([wrong]))).rejects.toThrow(asHandle)
        await expect(registry.withdraw(owner, withdrawal([], { taken: wrong }))).rejects.toThrow(asHandle)
        const withBlob = { departed: [{ handle: wrong, blob: Buffer.alloc(1) }] }
        await expect(registry.withdraw(owner, withdrawal([], withBlob))).rejects.toThrow(asHandle)
      }
      expect(await registry.roster(owner)).toEqual(empty)
    })

    it.each([0, -1, Number.NaN, Number.POSITIVE_INFINITY])(
      'refuses %s as a lifetime, a cap and an epoch',
      async (wrong) => {
        const { registry } = subject()
        const [owner, handle] = [newOwner(), newHandle()]

        await expect(registry.enroll(owner, enrolment(handle, { ttlMs: wrong }))).rejects.toThrow(TypeError)
        await expect(registry.enroll(owner, enrolment(handle, { cap: wrong }))).rejects.toThrow(TypeError)
        await expect(registry.enroll(owner, enrolment(handle, { takenWithinMs: wrong }))).rejects.toThrow(
          TypeError,
        )
        await expect(registry.enroll(owner, enrolment(handle, { endsAtMs: wrong }))).rejects.toThrow(
          TypeError,
        )
        await expect(registry.extend(owner, { handle, ttlMs: wrong })).rejects.toThrow(TypeError)
        await expect(
          registry.withdraw(owner, withdrawal([handle], { departedTtlMs: wrong })),
        ).rejects.toThrow(TypeError)
        await expect(registry.raise(owner, { keepMs: wrong })).rejects.toThrow(TypeError)
        await expect(registry.raise(owner, { keepMs: 1, epoch: wrong })).rejects.toThrow(TypeError)
        expect(await registry.roster(owner)).toEqual(empty)
      },
    )

    it('rounds a lifetime with a fraction up', async () => {
      const { registry } = subject()
      const owner = newOwner()
      await registry.enroll(owner, enrolment(newHandle(), { ttlMs: 999.2 }))
      const [member] = (await registry.roster(owner)).members

      expect(member?.expiresAtMs).toBe((member?.seenAtMs ?? 0) + 1000)
    })
  })
}
