import { setImmediate as nextTurn } from 'node:timers/promises'
import fc, { type Scheduler } from 'fast-check'
import type { Backend } from '../../lib/backend/backend.ts'
import { failureOf } from '../store/failure-of.ts'
import type { StoreKind } from '../store/stores.ts'
import { withoutCompetingMoves } from './competing-moves.ts'
import { eachVerb } from './failing-backend.ts'
import { ACTIONS, type Action, type Client, Workload, type WorkloadOptions } from './workload.ts'

interface Run {
  readonly scheduler: Scheduler
  /** What each of the clients does, one thing after the other. */
  readonly scripts: readonly (readonly Action[])[]
  readonly options: WorkloadOptions
}

/** Wraps the backend that the clients use, so that one step of a protocol is wrong. */
export type BackendMutant = (backend: Backend) => Backend

const action: fc.Arbitrary<Action> = fc.record({
  name: fc.constantFrom(...ACTIONS),
  which: fc.constantFrom(0, 1),
})

const anyRun: fc.Arbitrary<Run> = fc.record({
  scheduler: fc.scheduler(),
  scripts: fc.array(fc.array(action, { minLength: 1, maxLength: 3 }), { minLength: 2, maxLength: 3 }),
  options: fc.record({
    concurrency: fc.constantFrom('merge', 'reject', 'overwrite'),
    verifyOwner: fc.constantFrom('touch', 'always'),
    onMaxSessions: fc.constantFrom('evict-oldest', 'evict-oldest', 'reject'),
    touchAfter: fc.constantFrom(0, 100),
  }),
})

/** Whatever the clients do and whichever of them the backend hears next, the invariants hold after every single verb. */
export function anyInterleavingHolds(
  kind: StoreKind,
  mutant: BackendMutant = (backend) => backend,
): fc.IAsyncProperty<[Run]> {
  return fc.asyncProperty(anyRun, async ({ scheduler, scripts, options }) => {
    const workload = await Workload.open(kind, options)
    const gate = new Gate(scheduler, () => workload.check())
    const backend = eachVerb(mutant(workload.backend), (name, call) => gate.pass(name, call))
    const clients = await Promise.all(
      withoutCompetingMoves(scripts, options).map((script, at) => workload.client(backend, { script, at })),
    )

    gate.close()
    const failure = await failureOf(
      scheduler.waitFor(Promise.all(clients.map((client: Client) => client.run()))),
    )
    gate.open()

    if (failure) throw failure
    await workload.checkEnd()
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
