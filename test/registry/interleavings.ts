import { setImmediate as nextTurn } from 'node:timers/promises'
import fc, { type Scheduler } from 'fast-check'
import type { Backend } from '../../lib/backend/backend.ts'
import { failureOf } from '../store/failure-of.ts'
import type { StoreKind } from '../store/stores.ts'
import { cast } from './cast.ts'
import { ACTIONS, type Action, type Actor, Stage, type StageOptions } from './stage.ts'
import { eachVerb } from './troubled-backend.ts'

interface Play {
  readonly scheduler: Scheduler
  /** What each of the actors does, one thing after the other. */
  readonly scripts: readonly (readonly Action[])[]
  readonly options: StageOptions
}

/** Puts something wrong into the backend that the actors use. */
export type Sabotage = (backend: Backend) => Backend

const action: fc.Arbitrary<Action> = fc.record({
  name: fc.constantFrom(...ACTIONS),
  which: fc.constantFrom(0, 1),
})

const anyPlay: fc.Arbitrary<Play> = fc.record({
  scheduler: fc.scheduler(),
  scripts: fc.array(fc.array(action, { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 3 }),
  options: fc.record({
    concurrency: fc.constantFrom('merge', 'reject', 'overwrite'),
    verifyOwner: fc.constantFrom('touch', 'always'),
    onMaxSessions: fc.constantFrom('evict-oldest', 'evict-oldest', 'reject'),
    touchAfter: fc.constantFrom(0, 100),
  }),
})

/** Whatever the actors do and whichever of them the backend hears next, the invariants hold after every single verb. */
export function anyInterleavingHolds(
  kind: StoreKind,
  sabotage: Sabotage = (backend) => backend,
): fc.IAsyncProperty<[Play]> {
  return fc.asyncProperty(anyPlay, async ({ scheduler, scripts, options }) => {
    const stage = await Stage.open(kind, options)
    const gate = new Gate(scheduler, () => stage.check())
    const backend = eachVerb(sabotage(stage.backend), (name, call) => gate.pass(name, call))
    const actors = await Promise.all(
      cast(scripts, options).map((script, at) => stage.actor(backend, { script, at })),
    )

    gate.close()
    const failure = await failureOf(
      scheduler.waitFor(Promise.all(actors.map((actor: Actor) => actor.play()))),
    )
    gate.open()

    if (failure) throw failure
    await stage.checkEnd()
  })
}

/** Where every verb waits for its turn, and the next one for what the check of this one finds. */
class Gate {
  readonly #scheduler: Scheduler
  readonly #check: () => Promise<void>
  #isOpen = true

  constructor(scheduler: Scheduler, check: () => Promise<void>) {
    this.#scheduler = scheduler
    this.#check = check
  }

  close(): void {
    this.#isOpen = false
  }

  open(): void {
    this.#isOpen = true
  }

  async pass<Reply>(name: string, verb: () => Promise<Reply>): Promise<Reply> {
    if (this.#isOpen) return verb()
    let finish = (_: unknown) => {}
    const finished = new Promise((resolve) => {
      finish = resolve
    })
    await this.#scheduler.schedule(Promise.resolve(), name, undefined, async (release) => {
      await release()
      await finished
      // Everyone who has something to send by now has sent it to the gate.
      await nextTurn()
      await this.#check()
    })
    return verb().finally(() => finish(undefined))
  }
}
