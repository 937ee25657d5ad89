import { describe, expect, it } from 'vitest'
import { InProcessRegistry } from '../../lib/backend/in-process-registry.ts'
import { StoreClosedError } from '../../lib/errors.ts'
import { empty, enrolment, granted, newHandle, newOwner, withdrawal } from './registry/subject.ts'
import { registryContract } from './registry-contract.ts'

function createSettable(nowMs = 1_700_000_000_000) {
  const clock = { nowMs, now: () => clock.nowMs }
  return { clock, registry: new InProcessRegistry({ clock }) }
}

registryContract('in process', async () => {
  const { clock, registry } = createSettable()
  const elapse = async (_owner: string, ms: number) => {
    clock.nowMs += ms
  }
  return { registry, elapse, nowMs: async () => clock.nowMs, close: async () => registry.close() }
})

describe('InProcessRegistry', () => {
  it('keeps a member through the ms it expires in and not one more', async () => {
    const { clock, registry } = createSettable()
    const [owner, handle] = [newOwner(), newHandle()]
    await registry.enroll(owner, enrolment(handle, { ttlMs: 10 }))

    clock.nowMs += 10
    expect(await registry.standing(owner, handle)).toMatchObject({ isMember: true })
    clock.nowMs += 1
    expect(await registry.standing(owner, handle)).toEqual({ epoch: 0, isMember: false })
  })

  it('gives higher orders though the clock was set back', async () => {
    const { clock, registry } = createSettable()
    const owner = newOwner()
    const before = granted(await registry.enroll(owner, enrolment(newHandle())))
    clock.nowMs -= 1000
    const after = granted(await registry.enroll(owner, enrolment(newHandle())))

    expect(after.order).toBe(before.order + 1)
    expect((await registry.raise(owner, { keepMs: 1000 })).epoch).toBe(before.epoch + 1)
  })

  it('enrols nobody at the very ms of the hard end', async () => {
    const { clock, registry } = createSettable()
    const owner = newOwner()

    expect(await registry.enroll(owner, enrolment(newHandle(), { endsAtMs: clock.nowMs }))).toEqual({
      answer: 'gone',
    })
    expect(await registry.enroll(owner, enrolment(newHandle(), { endsAtMs: clock.nowMs + 1 }))).toMatchObject(
      { answer: 'enrolled' },
    )
  })

  it('rejects everything once it is closed', async () => {
    const { registry } = createSettable()
    const [owner, handle] = [newOwner(), newHandle()]
    registry.close()

    await expect(registry.enroll(owner, enrolment(handle))).rejects.toThrow(StoreClosedError)
    await expect(registry.extend(owner, { handle, ttlMs: 1 })).rejects.toThrow(StoreClosedError)
    await expect(registry.standing(owner, handle)).rejects.toThrow(StoreClosedError)
    await expect(registry.withdraw(owner, withdrawal([handle]))).rejects.toThrow(StoreClosedError)
    await expect(registry.roster(owner)).rejects.toThrow(StoreClosedError)
    await expect(registry.raise(owner, { keepMs: 1 })).rejects.toThrow(StoreClosedError)
  })

  it('sweeps away what has expired and nothing else', async () => {
    const { clock, registry } = createSettable()
    const [dead, living] = [newOwner(), newOwner()]
    await registry.enroll(dead, enrolment(newHandle(), { ttlMs: 10 }))
    await registry.enroll(living, enrolment(newHandle()))
    clock.nowMs += 11
    registry.sweep()

    // A clock set back would show what is still there.
    clock.nowMs -= 11
    expect(await registry.roster(dead)).toEqual(empty)
    expect((await registry.roster(living)).members).toHaveLength(1)
  })
})
