import { setTimeout as delay } from 'node:timers/promises'
import type { LiveSession } from '../store/live-session.ts'
import type { Call } from './history.ts'
import { regenerate } from './regenerate.ts'
import type { SessionPool } from './session-pool.ts'
import type { StoreUnderTest } from './store-under-test.ts'
import type { Subject, User } from './subject.ts'
import type { WorkerParts } from './update-worker.ts'
import { marksIn } from './workload.ts'

export interface LifecycleWorkerParts extends WorkerParts {
  readonly pool: SessionPool
  /** The most sessions a user may have. */
  readonly cap: number
}

const STEPS = {
  'sign-in': 16,
  'sign-in-anew': 6,
  enter: 10,
  change: 28,
  touch: 6,
  overwrite: 4,
  destroy: 12,
  end: 6,
  'end-all': 2,
  list: 7,
  vanish: 3,
}
const LONGEST_HOLD_MS = 30
const ENOUGH = 200
const SETTLED_AFTER_MS = 800

/** Comes, changes things, signs in, signs out: every session it touches may be ended at any time. */
export class LifecycleWorker {
  readonly #parts: LifecycleWorkerParts
  readonly #store: StoreUnderTest

  constructor(parts: LifecycleWorkerParts) {
    this.#parts = parts
    this.#store = parts.store.store
  }

  /** One request; answers whether all went well. */
  async step(): Promise<boolean> {
    const { random, pool } = this.#parts
    const step = pool.size > ENOUGH ? 'destroy' : random.weighted(STEPS)
    if (step === 'enter') return this.#enter()
    if (step === 'sign-in') return this.#signIn()
    if (step === 'sign-in-anew') return this.#signInAnew()
    if (step === 'list' || step === 'end-all') return this.#ofUser(step)
    const subject = pool.pick(random, suits(step))
    return subject === undefined ? this.#enter() : this.#of(subject, step)
  }

  #of(subject: Subject, step: string): Promise<boolean> {
    if (step === 'change') return this.#change(subject)
    if (step === 'touch') return this.#touch(subject)
    if (step === 'overwrite') return this.#overwrite(subject)
    if (step === 'vanish') return this.#vanish(subject)
    return step === 'end' ? this.#end(subject) : this.#destroy(subject)
  }

  async #ofUser(step: 'list' | 'end-all'): Promise<boolean> {
    const user = this.#parts.random.pick(this.#parts.workload.users)
    if (user === undefined) return false
    return step === 'list' ? this.#list(user) : this.#endAll(user)
  }

  async #enter(): Promise<boolean> {
    const subject = this.#parts.workload.begin('mortal')
    return this.#create(subject, this.#parts.workload.generate(this.#store, subject))
  }

  async #signIn(): Promise<boolean> {
    const { workload, random } = this.#parts
    const subject = workload.begin('mortal', random.pick(workload.users))
    return this.#create(subject, workload.generate(this.#store, subject))
  }

  // As a login route does: the session from before the sign-in ends, and another one begins.
  async #signInAnew(): Promise<boolean> {
    const { workload, random, pool } = this.#parts
    const old = pool.pick(random, (subject) => subject.user === undefined && subject.isUntouched)
    if (old === undefined) return this.#enter()
    const live = await workload.load(this.#store, old)
    if (live === undefined) return false
    const user = random.pick(workload.users)
    const next = await regenerate({ workload, store: this.#store, old, live, user })
    if (next === undefined) return false
    pool.markEnded(old)
    return this.#create(next.subject, next.live)
  }

  async #create(subject: Subject, live: LiveSession): Promise<boolean> {
    const { workload, random, pool, key } = this.#parts
    const mark = workload.mark()
    live[key] = [mark]
    subject.writes.push({ mark, calls: subject.creations })
    pool.join(subject)
    const isStored = await this.#save(subject, live, subject.creations)
    if (isStored) return true
    // What is not known to be stored is either signed out again or left to itself.
    if (random.chance(0.5)) await this.#destroy(subject)
    pool.leave(subject)
    return false
  }

  async #change(subject: Subject): Promise<boolean> {
    const { workload, random, pool } = this.#parts
    const live = await workload.load(this.#store, subject)
    if (live === undefined) {
      pool.leave(subject)
      return false
    }
    await delay(random.below(LONGEST_HOLD_MS))
    return this.#mark(subject, live)
  }

  #mark(subject: Subject, live: LiveSession): Promise<boolean> {
    const { workload, key } = this.#parts
    const mark = workload.mark()
    live[key] = [...marksIn(live, key), mark]
    const calls: Call[] = []
    subject.writes.push({ mark, calls })
    return this.#save(subject, live, calls)
  }

  async #save(subject: Subject, live: LiveSession, calls: Call[]): Promise<boolean> {
    const { workload, random } = this.#parts
    for (const mayRepeat of [random.chance(0.5), false]) {
      const { call } = await workload.history.call('save', () => this.#store.set(subject.sid, live))
      calls.push(call)
      if (call.verdict === 'acked') return true
      if (!mayRepeat) break
    }
    return false
  }

  async #touch(subject: Subject): Promise<boolean> {
    const { workload, random } = this.#parts
    const live = await workload.load(this.#store, subject)
    if (live === undefined) return false
    await delay(random.below(LONGEST_HOLD_MS))
    const { call } = await workload.history.call('touch', () => this.#store.touch(subject.sid, live))
    subject.touches.push(call)
    return call.verdict === 'acked'
  }

  async #overwrite(subject: Subject): Promise<boolean> {
    const { workload, random } = this.#parts
    subject.isScripted = true
    const plain = { cookie: { originalMaxAge: null }, ...workload.contentOf(subject) }
    await delay(random.below(LONGEST_HOLD_MS))
    const { call } = await workload.history.call('overwrite', () => this.#store.set(subject.sid, plain))
    subject.writes.push({ mark: '', calls: [call] })
    return call.verdict === 'acked'
  }

  // Somebody has loaded it before and saves it after its record is gone.
  async #vanish(subject: Subject): Promise<boolean> {
    const { workload, pool } = this.#parts
    pool.leave(subject)
    const live = await workload.load(this.#store, subject)
    // From when on it must be gone is known only if the removal is known to have worked.
    subject.vanishedAtMs = Number.MAX_VALUE
    if (!(await workload.removeRecord(this.#store.handle(subject.sid)))) return false
    subject.vanishedAtMs = performance.now()
    pool.markEnded(subject)
    return live === undefined || this.#mark(subject, live)
  }

  async #destroy(subject: Subject): Promise<boolean> {
    return this.#ending(subject, 'destroy', () => this.#store.destroy(subject.sid))
  }

  async #end(subject: Subject): Promise<boolean> {
    const { sid } = subject
    const target = this.#parts.random.chance(0.5) ? { sid } : { handle: this.#store.handle(sid) }
    return this.#ending(subject, 'end', () => this.#store.registry.end(target, { reason: 'test' }))
  }

  async #ending(subject: Subject, kind: 'destroy' | 'end', work: () => Promise<unknown>): Promise<boolean> {
    const { workload, pool } = this.#parts
    pool.leave(subject)
    const made = workload.history.begin(kind)
    subject.endings.push(made)
    const { call } = await workload.history.settle(made, work)
    if (call.verdict !== 'acked') return false
    pool.markEnded(subject)
    return true
  }

  async #endAll(user: User): Promise<boolean> {
    const { workload, random, pool } = this.#parts
    const kept = random.chance(0.3) ? pool.pick(random, (subject) => subject.user === user) : undefined
    const made = workload.history.begin('end-all')
    user.endings.push({ call: made, except: kept })
    const terms = { reason: 'test', ...(kept && { except: { sid: kept.sid } }) }
    const { call } = await workload.history.settle(made, () => this.#store.registry.endAll(user.name, terms))
    if (call.verdict !== 'acked') return false
    pool.markAllEnded(user, { before: call.startMs, except: kept })
    return true
  }

  async #list(user: User): Promise<boolean> {
    const { workload, cap } = this.#parts
    const { call, value } = await workload.history.call('list', () => this.#store.registry.list(user.name))
    if (value === undefined) return false
    if (value.length > cap) workload.odd(`a list of ${value.length} sessions`, call)
    for (const { handle } of value) {
      const subject = workload.subjectOf(handle)
      if (subject?.user !== user) workload.odd('a list with a session of somebody else', call, subject)
      subject?.sighted(call, true)
    }
    return true
  }
}

function suits(step: string): (subject: Subject) => boolean {
  if (step === 'overwrite') return (subject) => subject.user === undefined && subject.creation === 'acked'
  if (step === 'vanish') return mayVanish
  return () => true
}

// Nothing marks a vanished record as ended, so what was sent to create it must have arrived long before.
function mayVanish(subject: Subject): boolean {
  return !subject.isScripted && performance.now() - subject.createdAtMs > SETTLED_AFTER_MS
}
