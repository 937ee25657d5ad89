import { setTimeout as delay } from 'node:timers/promises'
import { EventLoopWatch } from '../support/event-loop.ts'
import { Random } from '../support/random.ts'
import { type CheckerResult, checkClearings, checkConduct, checkSessions } from './checker.ts'
import { longestCall } from './checks/calls.ts'
import type { LossWindow } from './checks/evidence.ts'
import { EventWatch } from './event-watch.ts'
import { FailureWatch } from './failure-watch.ts'
import { History } from './history.ts'
import { takeInventory, untilHealed } from './inventory.ts'
import { LifecycleWorker } from './lifecycle-worker.ts'
import { OutputWatch } from './output-watch.ts'
import type { PlantedSecret } from './planted-secret.ts'
import { ProcessWatch } from './process-watch.ts'
import { mount } from './regenerate.ts'
import { Sampler } from './sampler.ts'
import { SessionPool } from './session-pool.ts'
import { signInCalmly } from './sign-ins.ts'
import type { NamedStore } from './store-under-test.ts'
import { User } from './subject.ts'
import { untilAcknowledged } from './until-acknowledged.ts'
import { UpdateWorker } from './update-worker.ts'
import { Workers } from './workers.ts'
import { Workload } from './workload.ts'

/** How much is going on in a run. */
export interface WorkloadSize {
  readonly users: number
  /** Sessions that nobody ends, for each of the two kinds. */
  readonly kept: number
  /** Workers of each kind for every store. */
  readonly updateWorkers: number
  readonly lifecycleWorkers: number
  readonly samplers: number
}

export interface RunPlan {
  readonly seed: number
  readonly stores: readonly NamedStore[]
  readonly size: WorkloadSize
  /** `maxSessionsPerUser` of the stores. */
  readonly cap: number
  /** When each call of the stores must have settled. */
  readonly deadlineMs: number
  readonly planted: PlantedSecret
  readonly removeRecord: (handle: string) => Promise<boolean>
  /** Everything that stands in the server, in which no secret may be found. */
  readonly remains?: () => Promise<string>
  /** Injects faults while the workers run, and heals them; returns the windows in which writes may be lost. */
  readonly nemesis: (progress: Progress) => Promise<readonly LossWindow[]>
  /** Whether sessions and registries may have lost different things. */
  readonly isTorn?: boolean
}

/** How far a run has come. */
export interface Progress {
  readonly history: History
  readonly random: Random
  /** Calls of the store so far, those of the samplers not counted. */
  operations(): number
}

export interface RunReport extends CheckerResult {
  readonly history: History
  readonly operations: number
  readonly deadChecks: number
  readonly tookMs: number
  readonly longestCall: ReturnType<typeof longestCall>
  readonly longestStallMs: number
  readonly failures: ReadonlyMap<string, number>
  readonly events: ReadonlyMap<string, number>
}

/** Runs the workload beside the nemesis, heals, reads everything once more, and checks the history. */
export async function runWorkload(plan: RunPlan): Promise<RunReport> {
  const watches = startWatches(plan)
  const { failures, events } = watches
  const startMs = performance.now()
  const random = new Random(plan.seed)
  const history = new History((error) => failures.note(error))
  const workload = new Workload({ ...plan, history, users: users(plan) })
  try {
    await populate(workload, plan.size.kept)
    const { windows, deadChecks, operations } = await work(workload, plan, random)
    await untilHealed(workload)
    // What was given up may go on behind its caller's back for as long again.
    await delay(plan.deadlineMs)
    const inventory = await takeInventory(workload)
    const file = { ...plan, workload, inventory, windows, loop: watches.loop, isTorn: plan.isTorn ?? false }
    const result = checkSessions(file)
    const remains = (await plan.remains?.()) ?? ''
    const clearings = await signInCalmly(workload, { cap: plan.cap, inventory })
    watches.stop()
    return {
      ...result,
      violations: [
        ...result.violations,
        ...checkClearings(file, clearings),
        ...checkConduct(file, watches, remains),
      ],
      history,
      operations,
      deadChecks,
      tookMs: performance.now() - startMs,
      longestCall: longestCall(file),
      longestStallMs: watches.loop.longestStallMs,
      failures: failures.counts,
      events: events.counts,
    }
  } finally {
    watches.stop()
  }
}

function startWatches({ stores, planted }: RunPlan) {
  const output = new OutputWatch()
  const process = new ProcessWatch()
  const loop = new EventLoopWatch()
  const failures = new FailureWatch(planted)
  const events = new EventWatch(
    stores.map(({ store }) => store),
    planted,
  )
  const stop = () => {
    output.stop()
    process.stop()
    loop.stop()
  }
  return { output, process, loop, failures, events, stop }
}

function users({ planted, size }: RunPlan): User[] {
  return Array.from({ length: size.users }, (_, index) => new User(`${planted.word}-user-${index}`))
}

/** Stores the sessions that nobody ends, before anything goes wrong; every other one has a user of its own. */
async function populate(workload: Workload, count: number): Promise<void> {
  for (const { store } of workload.stores) mount(store)
  for (const pool of ['kept', 'shared'] as const) {
    const stores = workload.stores.filter(({ rejects }) => rejects === (pool === 'shared'))
    const [first] = stores
    if (first === undefined) continue
    for (let made = 0; made < count; made += 1) {
      const owner = made % 2 === 0 ? undefined : new User(`${workload.planted.word}-${pool}-${made}`)
      const subject = workload.begin(pool, owner)
      const live = workload.generate(first.store, subject)
      await untilAcknowledged(async () => {
        const outcome = await workload.history.call('save', () => first.store.set(subject.sid, live))
        subject.creations.push(outcome.call)
        return outcome
      })
    }
  }
}

interface WorkDone {
  readonly windows: readonly LossWindow[]
  readonly deadChecks: number
  readonly operations: number
}

async function work(workload: Workload, plan: RunPlan, random: Random): Promise<WorkDone> {
  const pool = new SessionPool()
  const samplers = Array.from(
    { length: plan.size.samplers },
    () => new Sampler({ workload, pool, random: random.fork() }),
  )
  const workers = workload.stores.flatMap((store, index) => {
    const parts = (role: string, number: number) => ({
      workload,
      store,
      random: random.fork(),
      key: `${role}${index}-${number}`,
    })
    return [
      ...Array.from({ length: plan.size.updateWorkers }, (_, number) => new UpdateWorker(parts('k', number))),
      ...Array.from(
        { length: plan.size.lifecycleWorkers },
        (_, number) => new LifecycleWorker({ ...parts('v', number), pool, cap: plan.cap }),
      ),
    ]
  })
  const reads = () => samplers.reduce((sum, sampler) => sum + sampler.reads, 0)
  const operations = () => workload.history.calls.length - reads()
  const running = new Workers([...workers, ...samplers], random.fork())
  try {
    const windows = await plan.nemesis({ history: workload.history, random: random.fork(), operations })
    await running.stop()
    return {
      windows,
      deadChecks: samplers.reduce((sum, { checks }) => sum + checks, 0),
      operations: operations(),
    }
  } finally {
    await running.stop()
  }
}
