import { setTimeout as delay } from 'node:timers/promises'
import type { LiveSession } from '../store/live-session.ts'
import type { Random } from '../support/random.ts'
import type { Call } from './history.ts'
import type { NamedStore } from './store-under-test.ts'
import type { Subject } from './subject.ts'
import { marksIn, type Workload } from './workload.ts'

export interface WorkerParts {
  readonly workload: Workload
  readonly random: Random
  /** The store it always uses: what a call leaves under way when it is given up stays in order with the next. */
  readonly store: NamedStore
  /** Its key in the sessions it changes. */
  readonly key: string
}

const SHARED_KEY = 'log'
const STEPS = { change: 55, read: 20, touch: 15, 'change-twice': 10 }
const MAX_ATTEMPTS = 3
const LONGEST_WAIT_MS = 80

/** Changes sessions that nobody ends, as requests do: load, change, save. */
export class UpdateWorker {
  readonly #parts: WorkerParts
  readonly #subjects: readonly Subject[]

  constructor(parts: WorkerParts) {
    this.#parts = parts
    this.#subjects = parts.workload.pool(parts.store.rejects ? 'shared' : 'kept')
  }

  /** One request; answers whether all went well. */
  async step(): Promise<boolean> {
    const { workload, random, store } = this.#parts
    const subject = random.pick(this.#subjects)
    if (subject === undefined) return false
    const live = await workload.load(store.store, subject)
    if (live === undefined) return false
    switch (random.weighted(STEPS)) {
      case 'read':
        return true
      case 'touch':
        return this.#touch(subject, live)
      case 'change':
        return this.#change(subject, live)
      case 'change-twice':
        return (await this.#change(subject, live)) && this.#change(subject, live)
    }
  }

  async #touch(subject: Subject, live: LiveSession): Promise<boolean> {
    const { history } = this.#parts.workload
    const { call } = await history.call('touch', () => this.#parts.store.store.touch(subject.sid, live))
    subject.touches.push(call)
    return call.verdict === 'acked'
  }

  async #change(subject: Subject, live: LiveSession): Promise<boolean> {
    const { workload, store } = this.#parts
    const key = store.rejects ? SHARED_KEY : this.#parts.key
    const mark = workload.mark()
    live[key] = [...marksIn(live, key), mark]
    const calls: Call[] = []
    subject.writes.push({ mark, calls })
    return this.#save(subject, live, calls)
  }

  // Some try again with the very same live session, as an app with a retry of its own does.
  async #save(subject: Subject, live: LiveSession, calls: Call[]): Promise<boolean> {
    const { workload, random, store } = this.#parts
    for (let attempts = 1; ; attempts += 1) {
      const { call } = await workload.history.call('save', () => store.store.set(subject.sid, live))
      calls.push(call)
      if (call.verdict === 'acked') return true
      if (attempts === MAX_ATTEMPTS || call.failure === 'ERR_SESSION_CONFLICT' || random.chance(0.5))
        return false
      await delay(random.below(LONGEST_WAIT_MS))
    }
  }
}
