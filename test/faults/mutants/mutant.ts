import { setTimeout as delay } from 'node:timers/promises'
import { SEED } from '../../support/seed.ts'
import type { CheckName } from '../checks/evidence.ts'
import type { FaultKind, FaultLane } from '../fault-kind.ts'
import { FaultLog } from '../fault-log.ts'
import { FaultSchedule } from '../fault-schedule.ts'
import type { PlantedSecret } from '../planted-secret.ts'
import type { Standalone } from '../standalone.ts'
import { statedDeadlineMs } from '../timing.ts'
import { type RunReport, runWorkload } from '../workload-run.ts'
import { mutatedBuild, type Patch } from './mutated-build.ts'

/** A change to lib/ that breaks a promise. */
export interface Mutant {
  readonly name: string
  readonly patches: readonly Patch[]
}

/** One that the checker finds in rounds of a workload. */
export interface WorkloadMutant extends Mutant {
  /** The violations one of which must be found. */
  readonly found: readonly CheckName[]
  /** The faults under which it shows; without any it shows when all is well. */
  readonly faults?: readonly string[]
  /** How long those faults last instead of as long as usual, in ms. */
  readonly lastingMs?: number
}

const CAP = 2
const ROUND_MS = 1200
const MAX_ROUNDS = 15
const QUICK = { connectTimeoutMs: 80, commandTimeoutMs: 80, retries: 1 }

let rounds = 0

/** Runs rounds on a mutated build until the checker finds what it must, or gives up; answers all it found. */
export async function findings(
  place: Standalone,
  planted: PlantedSecret,
  mutant: WorkloadMutant,
): Promise<ReadonlySet<CheckName>> {
  const make = await mutatedBuild(mutant.name, mutant.patches)
  const found = new Set<CheckName>()
  for (let rounds = 0; rounds < MAX_ROUNDS; rounds += 1) {
    // A mutated build may not even let a round come to its end; that alone finds nothing.
    const round = await runRound({ place, planted, mutant, make }).catch(() => undefined)
    const violations = round?.violations ?? []
    for (const { check } of violations) found.add(check)
    if (mutant.found.some((check) => found.has(check))) break
  }
  return found
}

interface Round {
  readonly place: Standalone
  readonly planted: PlantedSecret
  readonly mutant: Pick<WorkloadMutant, 'faults' | 'lastingMs'>
  readonly make: Parameters<Standalone['stores']>[0]['make']
}

export async function runRound({ place, planted, mutant, make }: Round): Promise<RunReport> {
  rounds += 1
  const prefix = `round-${rounds}`
  const stores = place.stores({ make, prefix, cap: CAP, options: QUICK })
  try {
    return await runWorkload({
      seed: SEED + rounds,
      stores,
      planted,
      cap: CAP,
      deadlineMs: statedDeadlineMs(QUICK),
      size: { users: 4, kept: 6, updateWorkers: 3, lifecycleWorkers: 3, samplers: 3 },
      removeRecord: (handle) => place.removeRecord(prefix, handle),
      remains: () => place.remains(prefix),
      nemesis: async ({ random }) => {
        const schedule = new FaultSchedule(lanesFor(place, mutant), new FaultLog(), random)
        await delay(ROUND_MS)
        await schedule.stop()
        return []
      },
    })
  } finally {
    await Promise.all(stores.map(({ store }) => store.close()))
  }
}

function lanesFor(place: Standalone, { faults = [], lastingMs }: Round['mutant']): readonly FaultLane[] {
  const lasting = (kind: FaultKind): FaultKind =>
    lastingMs === undefined ? kind : { ...kind, lastsMs: [lastingMs, lastingMs] }
  const lanes = place.lanes(1).map(({ name, kinds }): FaultLane => {
    return { name, kinds: kinds.filter((kind) => faults.includes(kind.name)).map(lasting), restMs: [10, 60] }
  })
  return lanes.filter(({ kinds }) => kinds.length > 0)
}
