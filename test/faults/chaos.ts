import { setTimeout as delay } from 'node:timers/promises'
import type { Canary } from './canary.ts'
import { longestCall } from './checks/calls.ts'
import type { LossWindow } from './checks/evidence.ts'
import { Crowd } from './crowd.ts'
import { EventLoopWatch } from './event-loop.ts'
import { EventWatch } from './event-watch.ts'
import { FailureWatch } from './failure-watch.ts'
import { insist } from './insist.ts'
import { takeInventory, untilHealed } from './inventory.ts'
import { Journal } from './journal.ts'
import { type Judgement, judgeClearings, judgeConduct, judgeSessions } from './judge.ts'
import { Keeper } from './keeper.ts'
import { OutputWatch } from './output-watch.ts'
import { ProcessWatch } from './process-watch.ts'
import { Random } from './random.ts'
import { mount } from './regenerate.ts'
import { Sampler } from './sampler.ts'
import { Scene } from './scene.ts'
import { signInCalmly } from './sign-ins.ts'
import type { NamedStore } from './store-under-test.ts'
import { User } from './subject.ts'
import { Visitor } from './visitor.ts'
import { Workforce } from './workforce.ts'

/** How much is going on in a run. */
export interface ChaosSize {
  readonly users: number
  /** Sessions that nobody ends, for each of the two kinds. */
  readonly kept: number
  /** Workers of each kind for every store. */
  readonly keepers: number
  readonly visitors: number
  readonly samplers: number
}

export interface ChaosPlan {
  readonly seed: number
  readonly stores: readonly NamedStore[]
  readonly size: ChaosSize
  /** `maxSessionsPerUser` of the stores. */
  readonly cap: number
  /** When each call of the stores must have settled. */
  readonly deadlineMs: number
  readonly canary: Canary
  readonly removeRecord: (handle: string) => Promise<boolean>
  /** Everything that stands in the server, in which no secret may be found. */
  readonly remains?: () => Promise<string>
  /** Makes things go wrong while the workers work, and puts all right again; answers what may have been lost. */
  readonly trouble: (progress: Progress) => Promise<readonly LossWindow[]>
  /** Whether sessions and registries may have lost different things. */
  readonly isTorn?: boolean
}

/** How far a run has come. */
export interface Progress {
  readonly journal: Journal
  readonly random: Random
  /** Calls of the store so far, those of the samplers not counted. */
  operations(): number
}

export interface ChaosReport extends Judgement {
  readonly journal: Journal
  readonly operations: number
  readonly deadChecks: number
  readonly tookMs: number
  readonly longestCall: ReturnType<typeof longestCall>
  readonly longestStallMs: number
  readonly failures: ReadonlyMap<string, number>
  readonly events: ReadonlyMap<string, number>
}

/** Workers use the stores while things go wrong; then everything is judged. */
export async function runChaos(plan: ChaosPlan): Promise<ChaosReport> {
  const watches = startWatches(plan)
  const { failures, events } = watches
  const startMs = performance.now()
  const random = new Random(plan.seed)
  const journal = new Journal((error) => failures.note(error))
  const scene = new Scene({ ...plan, journal, users: users(plan) })
  try {
    await populate(scene, plan.size.kept)
    const { windows, deadChecks, operations } = await work(scene, plan, random)
    await untilHealed(scene)
    // What was given up may go on behind its caller's back for as long again.
    await delay(plan.deadlineMs)
    const inventory = await takeInventory(scene)
    const file = { ...plan, scene, inventory, windows, loop: watches.loop, isTorn: plan.isTorn ?? false }
    const judgement = judgeSessions(file)
    const remains = (await plan.remains?.()) ?? ''
    const clearings = await signInCalmly(scene, { cap: plan.cap, inventory })
    watches.stop()
    return {
      ...judgement,
      violations: [
        ...judgement.violations,
        ...judgeClearings(file, clearings),
        ...judgeConduct(file, watches, remains),
      ],
      journal,
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

function startWatches({ stores, canary }: ChaosPlan) {
  const output = new OutputWatch()
  const process = new ProcessWatch()
  const loop = new EventLoopWatch()
  const failures = new FailureWatch(canary)
  const events = new EventWatch(
    stores.map(({ store }) => store),
    canary,
  )
  const stop = () => {
    output.stop()
    process.stop()
    loop.stop()
  }
  return { output, process, loop, failures, events, stop }
}

function users({ canary, size }: ChaosPlan): User[] {
  return Array.from({ length: size.users }, (_, index) => new User(`${canary.word}-user-${index}`))
}

/** Stores the sessions that nobody ends, before anything goes wrong; every other one has a user of its own. */
async function populate(scene: Scene, count: number): Promise<void> {
  for (const { store } of scene.stores) mount(store)
  for (const pool of ['kept', 'shared'] as const) {
    const stores = scene.stores.filter(({ rejects }) => rejects === (pool === 'shared'))
    const [first] = stores
    if (first === undefined) continue
    for (let made = 0; made < count; made += 1) {
      const owner = made % 2 === 0 ? undefined : new User(`${scene.canary.word}-${pool}-${made}`)
      const subject = scene.begin(pool, owner)
      const live = scene.generate(first.store, subject)
      await insist(async () => {
        const outcome = await scene.journal.call('save', () => first.store.set(subject.sid, live))
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

async function work(scene: Scene, plan: ChaosPlan, random: Random): Promise<WorkDone> {
  const crowd = new Crowd()
  const samplers = Array.from(
    { length: plan.size.samplers },
    () => new Sampler({ scene, crowd, random: random.fork() }),
  )
  const workers = scene.stores.flatMap((store, index) => {
    const parts = (role: string, number: number) => ({
      scene,
      store,
      random: random.fork(),
      key: `${role}${index}-${number}`,
    })
    return [
      ...Array.from({ length: plan.size.keepers }, (_, number) => new Keeper(parts('k', number))),
      ...Array.from(
        { length: plan.size.visitors },
        (_, number) => new Visitor({ ...parts('v', number), crowd, cap: plan.cap }),
      ),
    ]
  })
  const reads = () => samplers.reduce((sum, sampler) => sum + sampler.reads, 0)
  const operations = () => scene.journal.calls.length - reads()
  const workforce = new Workforce([...workers, ...samplers], random.fork())
  try {
    const windows = await plan.trouble({ journal: scene.journal, random: random.fork(), operations })
    await workforce.stop()
    return {
      windows,
      deadChecks: samplers.reduce((sum, { checks }) => sum + checks, 0),
      operations: operations(),
    }
  } finally {
    await workforce.stop()
  }
}
