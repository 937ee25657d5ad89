import fc from 'fast-check'
import { describe, expect, inject, it } from 'vitest'
import { SEED } from '../../support/seed.ts'
import { RegistryModel } from './model.ts'
import { type CreateRegistrySubject, newBlob, newHandles, newOwner, type RegistrySubject } from './subject.ts'

const STEP_MS = 1_000_000
const RUNS = inject('suite') === 'long' ? 20 : 6
const OPERATIONS = 100

// Lifetimes end half a step, hard ends a quarter of a step beside the steps of the clock: how long the test itself takes
// decides nothing.
const ttlMs = fc.nat(5).map((steps) => steps * STEP_MS + STEP_MS / 2)
const endsInMs = fc.option(
  fc.integer({ min: -1, max: 4 }).map((steps) => steps * STEP_MS + STEP_MS / 4),
  { nil: undefined },
)
const handle = fc.nat(7)

const operation = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('enroll' as const),
      handle,
      ttlMs,
      endsInMs,
      cap: fc.option(fc.integer({ min: 1, max: 4 }), { nil: undefined }),
      beyondCap: fc.constantFrom('evict' as const, 'refuse' as const),
      takenWithinMs: fc.constantFrom(STEP_MS / 2, 2.5 * STEP_MS),
    }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constant('extend' as const), handle, ttlMs, endsInMs }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('standing' as const), handle }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('withdraw' as const),
      handles: fc.uniqueArray(handle, { maxLength: 3 }),
      departed: fc.uniqueArray(handle, { maxLength: 3 }),
      taken: fc.option(handle, { nil: undefined }),
      ttlMs,
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant('raise' as const),
      by: fc.option(fc.nat(3), { nil: undefined }),
      ttlMs,
    }),
  },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constant('elapse' as const),
      ms: fc.integer({ min: 1, max: 3 }).map((steps) => steps * STEP_MS),
    }),
  },
)

type Operation = typeof operation extends fc.Arbitrary<infer Value> ? Value : never
type OperationOf<Kind> = Extract<Operation, { kind: Kind }>

export function describeRandom(create: CreateRegistrySubject): void {
  describe('random operations', () => {
    it(`${RUNS * OPERATIONS} of them, followed by a roster each, leave what the model holds`, async () => {
      const plan = fc.array(operation, { minLength: OPERATIONS, maxLength: OPERATIONS, size: 'max' })
      const property = fc.asyncProperty(plan, async (operations) => {
        const subject = await create()
        const run = new Run(subject)
        for (const each of operations) await run.apply(each)
        await subject.close()
      })
      await fc.assert(property, { seed: SEED, numRuns: RUNS })
    }, 120_000)
  })
}

/** One sequence on one owner, compared with the model after each step. */
class Run {
  readonly #subject: RegistrySubject
  readonly #model = new RegistryModel()
  readonly #owner = newOwner()
  readonly #handles = newHandles(8)

  constructor(subject: RegistrySubject) {
    this.#subject = subject
  }

  async apply(operation: Operation): Promise<void> {
    if (operation.kind === 'enroll') await this.#enroll(operation)
    if (operation.kind === 'extend') await this.#extend(operation)
    if (operation.kind === 'standing') await this.#standing(operation)
    if (operation.kind === 'withdraw') await this.#withdraw(operation)
    if (operation.kind === 'raise') await this.#raise(operation)
    if (operation.kind === 'elapse') await this.#elapse(operation)
    await this.#compare()
  }

  async #enroll({ endsInMs: inMs, ...operation }: OperationOf<'enroll'>): Promise<void> {
    const model = this.#model
    const enrolment = { ...operation, handle: this.#handleAt(operation.handle) }
    const modelled = { ...enrolment, endsAtMs: inMs === undefined ? undefined : model.nowMs + inMs }
    const answer = model.answerTo(modelled)
    const reply = await this.#subject.registry.enroll(this.#owner, {
      ...enrolment,
      endsAtMs: await this.#endsAt(inMs),
    })
    expect(reply.answer).toBe(answer)
    if (reply.answer === 'crowded') expect(reply.pending).toEqual([enrolment.handle])
    if (reply.answer !== 'enrolled') return

    const known = model.find(enrolment.handle)
    if (known) expect(reply.order).toBe(known.order)
    if (!known) expect(reply.order).toBeGreaterThan(model.lastOrder)
    if (model.epoch > 0) expect(reply.epoch).toBe(model.epoch)
    if (model.epoch === 0) expect(reply.epoch).toBeGreaterThan(model.highestEpoch)
    model.enroll(modelled, reply)
    expect(reply.pending.toSorted()).toEqual(model.pending.map((entry) => entry.handle).toSorted())
  }

  async #extend({ handle: index, ttlMs: ttl, endsInMs: inMs }: OperationOf<'extend'>): Promise<void> {
    const extension = { handle: this.#handleAt(index), ttlMs: ttl }
    const standing = await this.#subject.registry.extend(this.#owner, {
      ...extension,
      endsAtMs: await this.#endsAt(inMs),
    })
    const endsAtMs = inMs === undefined ? undefined : this.#model.nowMs + inMs
    expect(standing).toEqual({
      isMember: this.#model.extend({ ...extension, endsAtMs }),
      epoch: this.#model.epoch,
    })
  }

  async #standing({ handle: index }: OperationOf<'standing'>): Promise<void> {
    const name = this.#handleAt(index)
    const isMember = this.#model.members.some((member) => member.handle === name)
    expect(await this.#subject.registry.standing(this.#owner, name)).toEqual({
      epoch: this.#model.epoch,
      isMember,
    })
  }

  async #withdraw(operation: OperationOf<'withdraw'>): Promise<void> {
    const handles = operation.handles.map((index) => this.#handleAt(index))
    const departed = operation.departed.map((index) => ({ handle: this.#handleAt(index), blob: newBlob(8) }))
    const taken = operation.taken === undefined ? undefined : this.#handleAt(operation.taken)
    const terms = { departedTtlMs: operation.ttlMs, taken }
    await this.#subject.registry.withdraw(this.#owner, { handles, departed, ...terms })
    this.#model.withdraw(handles, departed, operation.ttlMs)
    if (taken !== undefined) this.#model.take(taken)
  }

  async #raise({ by, ttlMs: keepMs }: OperationOf<'raise'>): Promise<void> {
    const before = this.#model.epoch
    const epoch = by === undefined ? undefined : Math.max(1, before + by)
    const raised = await this.#subject.registry.raise(this.#owner, { keepMs, epoch })
    if (epoch === undefined) expect(raised.epoch).toBeGreaterThan(this.#model.highestEpoch)
    if (epoch !== undefined) expect(raised.epoch).toBe(epoch)
    this.#model.raise(raised.epoch, keepMs)
  }

  async #elapse({ ms }: OperationOf<'elapse'>): Promise<void> {
    await this.#subject.elapse(this.#owner, ms)
    this.#model.elapse(ms)
  }

  async #compare(): Promise<void> {
    const model = this.#model
    const offsetMs = (await this.#subject.nowMs()) - model.nowMs
    const { epoch, members, pending, departed } = await this.#subject.registry.roster(this.#owner)
    expect(epoch).toBe(model.epoch)
    expect(members.map((member) => [member.handle, member.order, member.isTaken])).toEqual(
      model.members.map((member) => [member.handle, member.order, member.takenByMs === undefined]),
    )
    for (const [index, member] of members.entries()) {
      const expected = model.members[index]
      expect(Math.abs(member.expiresAtMs - offsetMs - (expected?.expiresAtMs ?? 0))).toBeLessThan(STEP_MS / 8)
      expect(Math.abs(member.seenAtMs - offsetMs - (expected?.seenAtMs ?? 0))).toBeLessThan(STEP_MS / 8)
    }
    expect(pending.toSorted()).toEqual(model.pending.map((entry) => entry.handle).toSorted())
    expect(await this.#subject.registry.count(this.#owner)).toBe(model.count())
    expect(departed).toEqual(
      model.departed.map(({ handle: name, blob }) => ({ handle: name, blob })).toReversed(),
    )
  }

  async #endsAt(inMs: number | undefined): Promise<number | undefined> {
    return inMs === undefined ? undefined : (await this.#subject.nowMs()) + inMs
  }

  #handleAt(index: number): string {
    return this.#handles[index] ?? ''
  }
}
