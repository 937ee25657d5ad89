import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { SessionStore } from '../../lib/store/store.ts'
import { failureOf } from '../store/failure-of.ts'
import { generateSession } from '../store/live-session.ts'
import { InProcessKind, type StoreKind, ValkeyKind } from '../store/stores.ts'
import { TestClock } from '../support/clock.ts'
import { SEED } from '../support/seed.ts'
import { edit, newSid, newUser, validOf, visit } from './requests.ts'
import { UserModel } from './user-model.ts'

const STEPS = inject('suite') === 'long' ? 2000 : 800
const STEPS_PER_RUN = 40
// Time goes by in steps of 4 s: what then has expired, has by at least the second that a registration outlasts its session.
const TTLS_S = [10, 30, 50]
const STEP_MS = 4000

const VERBS = [
  'sign in',
  'sign in',
  'edit',
  'visit',
  'destroy',
  'end',
  'end all',
  'end others',
  'switch user',
  'sign out',
  'save plain',
  'elapse',
] as const

interface Step {
  readonly verb: (typeof VERBS)[number]
  readonly user: number
  /** Which of the sessions there ever were. */
  readonly which: number
  readonly ttlS: number
  readonly times: number
}

const anyStep: fc.Arbitrary<Step> = fc.record({
  verb: fc.constantFrom(...VERBS),
  user: fc.constantFrom(0, 1, 2),
  which: fc.nat(),
  ttlS: fc.constantFrom(...TTLS_S),
  times: fc.constantFrom(1, 2, 3, 8),
})

const anyRun = fc.record({
  steps: fc.array(anyStep, { minLength: STEPS_PER_RUN, maxLength: STEPS_PER_RUN }),
  cap: fc.constantFrom(undefined, 1, 2, 3),
  onMaxSessions: fc.constantFrom('evict-oldest' as const, 'evict-oldest' as const, 'reject' as const),
})

/** A store and the model of what it does. */
class Run {
  readonly users = [newUser(), newUser(), newUser()]
  readonly #store: SessionStore
  readonly #model: UserModel
  readonly #sids: string[] = []
  readonly #clock = new TestClock()

  constructor(kind: StoreKind, cap: number | undefined, onMaxSessions: 'evict-oldest' | 'reject') {
    const ttl = (session: object) => Reflect.get(session, 'ttlS') as number
    this.#store = kind.place({ clock: this.#clock }).share({ ttl, maxSessionsPerUser: cap, onMaxSessions })
    this.#model = new UserModel(cap, onMaxSessions)
  }

  async take(step: Step): Promise<void> {
    const user = this.users[step.user] ?? ''
    const sid = this.#sids[step.which % Math.max(1, this.#sids.length)] ?? 'none yet'
    const isAlive = this.#model.living().includes(sid)
    if (step.verb === 'sign in') return this.#signIn(user, step.ttlS)
    if (step.verb === 'end all') return this.#endAll(user)
    if (step.verb === 'end others') return this.#endAll(this.#model.userOf(sid), sid)
    if (step.verb === 'elapse') return this.#elapse(step.times * STEP_MS)
    if (step.verb === 'destroy' || step.verb === 'end') return this.#end(sid, step.verb)
    if (step.verb === 'save plain') return this.#savePlain(sid, user, step.ttlS)
    if (isAlive) return this.#use(step.verb, sid, user)
  }

  async check(): Promise<void> {
    const { registry } = this.#store
    for (const user of this.users) {
      const expected = this.#model.of(user).map((sid) => this.#store.handle(sid))
      expect((await registry.list(user)).map(({ handle }) => handle)).toEqual(expected)
      expect(await registry.count(user)).toBe(expected.length)
    }
    expect((await validOf(this.#store, this.#sids)).toSorted()).toEqual(this.#model.living().toSorted())
    const reasons = await Promise.all(
      this.#sids.map((sid) => registry.ending({ sid }).then((ending) => ending?.reason)),
    )
    expect(reasons).toEqual(this.#sids.map((sid) => this.#model.endings.get(sid)))
  }

  async #signIn(userId: string, ttlS: number): Promise<void> {
    const sid = newSid()
    const failure = await failureOf(
      this.#store.set(sid, generateSession(this.#store, sid, { content: { userId, ttlS } })),
    )
    expect(failure).toEqual(
      this.#model.hasRoom(userId) ? undefined : expect.objectContaining({ code: 'ERR_SESSION_LIMIT' }),
    )
    if (failure) return
    this.#sids.push(sid)
    this.#model.begin(sid, userId, ttlS * 1000)
  }

  async #endAll(user: string | undefined, except?: string): Promise<void> {
    if (user === undefined) return
    const { ended } = await this.#store.registry.endAll(user, {
      ...(except !== undefined && { except: { sid: except } }),
      reason: 'all',
    })
    const expected = this.#model.endAll(user, 'all', except).map((sid) => this.#store.handle(sid))
    expect(ended.toSorted()).toEqual(expected.toSorted())
  }

  async #end(sid: string, verb: 'destroy' | 'end'): Promise<void> {
    // A fence under a name that nobody had would be in the way of nothing that is modelled.
    if (!this.#sids.includes(sid)) return
    const wasEnded = this.#model.endings.has(sid)
    const outcome =
      verb === 'end'
        ? (await this.#store.registry.end({ sid }, { reason: 'one' })).outcome
        : await this.#store.destroy(sid)
    const isEnded = this.#model.end(sid, verb === 'end' ? 'one' : 'logout')
    if (!isEnded && !wasEnded) this.#model.endings.set(sid, verb === 'end' ? 'one' : 'logout')
    if (verb === 'end') expect(outcome).toBe(isEnded ? 'ended' : wasEnded ? 'already-ended' : 'not-found')
  }

  async #savePlain(sid: string, userId: string, ttlS: number): Promise<void> {
    if (this.#model.endings.has(sid) || !this.#sids.includes(sid)) return
    const owned = this.#model.userOf(sid)
    const hasRoom = owned === userId || this.#model.hasRoom(userId)
    const failure = await failureOf(
      this.#store.set(sid, { cookie: { originalMaxAge: null }, userId, ttlS } as never),
    )
    expect(failure).toEqual(hasRoom ? undefined : expect.objectContaining({ code: 'ERR_SESSION_LIMIT' }))
    if (failure) return
    this.#model.replace(sid, userId, ttlS * 1000)
  }

  async #use(verb: Step['verb'], sid: string, user: string): Promise<void> {
    if (verb === 'visit') await visit(this.#store, sid)
    if (verb === 'edit') await edit(this.#store, sid, { edited: newSid() })
    if (verb === 'visit' || verb === 'edit') return this.#model.use(sid)
    if (verb === 'sign out') {
      await edit(this.#store, sid, { userId: undefined })
      return this.#model.signOut(sid)
    }
    const hasRoom = this.#model.userOf(sid) === user || this.#model.hasRoom(user)
    const failure = await failureOf(edit(this.#store, sid, { userId: user }))
    expect(failure).toEqual(hasRoom ? undefined : expect.objectContaining({ code: 'ERR_SESSION_LIMIT' }))
    if (!failure) this.#model.use(sid, user)
  }

  async #elapse(ms: number): Promise<void> {
    this.#clock.advance(ms)
    this.#model.elapse(ms)
  }
}

async function hold(kind: StoreKind, adapt: (step: Step) => Step = (step) => step): Promise<void> {
  const property = fc.asyncProperty(anyRun, async ({ steps, cap, onMaxSessions }) => {
    const run = new Run(kind, cap, onMaxSessions)
    for (const step of steps.map(adapt)) {
      await run.take(step)
      await run.check()
    }
  })
  await fc.assert(property, { seed: SEED, numRuns: STEPS / STEPS_PER_RUN })
}

describe(`${STEPS} random steps in the life of three users are listed, counted, admitted and ended as the model says`, () => {
  const kinds = [new InProcessKind(), new ValkeyKind()] as const
  beforeAll(() => Promise.all(kinds.map((kind) => kind.start())))
  afterAll(() => Promise.all(kinds.map((kind) => kind.stop())))

  test('in process, while time goes by', () => hold(kinds[0]))

  // The server's clock cannot be set, and what expires there is shown elsewhere.
  test('on Valkey, at one time', () =>
    hold(kinds[1], (step) => (step.verb === 'elapse' ? { ...step, verb: 'visit' } : step)))
})
