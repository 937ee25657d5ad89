import { setTimeout as delay } from 'node:timers/promises'
import type { LiveSession } from '../store/live-session.ts'
import type { Crowd } from './crowd.ts'
import type { Call } from './journal.ts'
import type { WorkerParts } from './keeper.ts'
import { regenerate } from './regenerate.ts'
import { marksIn } from './scene.ts'
import type { StoreUnderTest } from './store-under-test.ts'
import type { Subject, User } from './subject.ts'

export interface VisitorParts extends WorkerParts {
  readonly crowd: Crowd
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
export class Visitor {
  readonly #parts: VisitorParts
  readonly #store: StoreUnderTest

  constructor(parts: VisitorParts) {
    this.#parts = parts
    this.#store = parts.store.store
  }

  /** One request; answers whether all went well. */
  async step(): Promise<boolean> {
    const { random, crowd } = this.#parts
    const step = crowd.size > ENOUGH ? 'destroy' : random.weighted(STEPS)
    if (step === 'enter') return this.#enter()
    if (step === 'sign-in') return this.#signIn()
    if (step === 'sign-in-anew') return this.#signInAnew()
    if (step === 'list' || step === 'end-all') return this.#ofUser(step)
    const subject = crowd.pick(random, suits(step))
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
    const user = this.#parts.random.pick(this.#parts.scene.users)
    if (user === undefined) return false
    return step === 'list' ? this.#list(user) : this.#endAll(user)
  }

  async #enter(): Promise<boolean> {
    const subject = this.#parts.scene.begin('mortal')
    return this.#create(subject, this.#parts.scene.generate(this.#store, subject))
  }

  async #signIn(): Promise<boolean> {
    const { scene, random } = this.#parts
    const subject = scene.begin('mortal', random.pick(scene.users))
    return this.#create(subject, scene.generate(this.#store, subject))
  }

  // As a login route does: the session from before the sign-in ends, and another one begins.
  async #signInAnew(): Promise<boolean> {
    const { scene, random, crowd } = this.#parts
    const old = crowd.pick(random, (subject) => subject.user === undefined && subject.isUntouched)
    if (old === undefined) return this.#enter()
    const live = await scene.load(this.#store, old)
    if (live === undefined) return false
    const user = random.pick(scene.users)
    const next = await regenerate({ scene, store: this.#store, old, live, user })
    if (next === undefined) return false
    crowd.bury(old)
    return this.#create(next.subject, next.live)
  }

  async #create(subject: Subject, live: LiveSession): Promise<boolean> {
    const { scene, random, crowd, key } = this.#parts
    const mark = scene.mark()
    live[key] = [mark]
    subject.writes.push({ mark, calls: subject.creations })
    crowd.join(subject)
    const isStored = await this.#save(subject, live, subject.creations)
    if (isStored) return true
    // What is not known to be stored is either signed out again or left to itself.
    if (random.chance(0.5)) await this.#destroy(subject)
    crowd.leave(subject)
    return false
  }

  async #change(subject: Subject): Promise<boolean> {
    const { scene, random, crowd } = this.#parts
    const live = await scene.load(this.#store, subject)
    if (live === undefined) {
      crowd.leave(subject)
      return false
    }
    await delay(random.below(LONGEST_HOLD_MS))
    return this.#mark(subject, live)
  }

  #mark(subject: Subject, live: LiveSession): Promise<boolean> {
    const { scene, key } = this.#parts
    const mark = scene.mark()
    live[key] = [...marksIn(live, key), mark]
    const calls: Call[] = []
    subject.writes.push({ mark, calls })
    return this.#save(subject, live, calls)
  }

  async #save(subject: Subject, live: LiveSession, calls: Call[]): Promise<boolean> {
    const { scene, random } = this.#parts
    for (const mayRepeat of [random.chance(0.5), false]) {
      const { call } = await scene.journal.call('save', () => this.#store.set(subject.sid, live))
      calls.push(call)
      if (call.verdict === 'acked') return true
      if (!mayRepeat) break
    }
    return false
  }

  async #touch(subject: Subject): Promise<boolean> {
    const { scene, random } = this.#parts
    const live = await scene.load(this.#store, subject)
    if (live === undefined) return false
    await delay(random.below(LONGEST_HOLD_MS))
    const { call } = await scene.journal.call('touch', () => this.#store.touch(subject.sid, live))
    subject.touches.push(call)
    return call.verdict === 'acked'
  }

  async #overwrite(subject: Subject): Promise<boolean> {
    const { scene, random } = this.#parts
    subject.isScripted = true
    const plain = { cookie: { originalMaxAge: null }, ...scene.contentOf(subject) }
    await delay(random.below(LONGEST_HOLD_MS))
    const { call } = await scene.journal.call('overwrite', () => this.#store.set(subject.sid, plain))
    subject.writes.push({ mark: '', calls: [call] })
    return call.verdict === 'acked'
  }

  // Somebody has loaded it before and saves it after its record is gone.
  async #vanish(subject: Subject): Promise<boolean> {
    const { scene, crowd } = this.#parts
    crowd.leave(subject)
    const live = await scene.load(this.#store, subject)
    // From when on it must be gone is known only if the removal is known to have worked.
    subject.vanishedAtMs = Number.MAX_VALUE
    if (!(await scene.removeRecord(this.#store.handle(subject.sid)))) return false
    subject.vanishedAtMs = performance.now()
    crowd.bury(subject)
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
    const { scene, crowd } = this.#parts
    crowd.leave(subject)
    const made = scene.journal.begin(kind)
    subject.endings.push(made)
    const { call } = await scene.journal.settle(made, work)
    if (call.verdict !== 'acked') return false
    crowd.bury(subject)
    return true
  }

  async #endAll(user: User): Promise<boolean> {
    const { scene, random, crowd } = this.#parts
    const kept = random.chance(0.3) ? crowd.pick(random, (subject) => subject.user === user) : undefined
    const made = scene.journal.begin('end-all')
    user.endings.push({ call: made, except: kept })
    const terms = { reason: 'test', ...(kept && { except: { sid: kept.sid } }) }
    const { call } = await scene.journal.settle(made, () => this.#store.registry.endAll(user.name, terms))
    if (call.verdict !== 'acked') return false
    crowd.buryAllOf(user, { before: call.startMs, except: kept })
    return true
  }

  async #list(user: User): Promise<boolean> {
    const { scene, cap } = this.#parts
    const { call, value } = await scene.journal.call('list', () => this.#store.registry.list(user.name))
    if (value === undefined) return false
    if (value.length > cap) scene.odd(`a list of ${value.length} sessions`, call)
    for (const { handle } of value) {
      const subject = scene.subjectOf(handle)
      if (subject?.user !== user) scene.odd('a list with a session of somebody else', call, subject)
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
