import { setTimeout as delay } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { SEED } from '../support/seed.ts'
import { startCluster } from '../support/valkey.ts'
import type { LossWindow } from './checks/evidence.ts'
import { ClusterAdmin } from './cluster-nemesis.ts'
import { FaultLog } from './fault-log.ts'
import { openStores } from './open-stores.ts'
import { lossesOf, type Outcome } from './outcome.ts'
import { PlantedSecret } from './planted-secret.ts'
import { DEADLINE_MS } from './timing.ts'
import { type Progress, runWorkload } from './workload-run.ts'

const STORES = 4
const CAP = 3

export interface ClusterRunTerms {
  /** How many there must be at least. */
  readonly operations: number
  readonly slotsToMove: number
  readonly smallFaults: number
  /** Whether a primary dies. */
  readonly killsPrimary: boolean
  /** Workers of each kind for every store. */
  readonly workers: number
}

/** Three primaries with a replica each: small faults, a live reshard, a graceful failover, the death of a primary. */
export async function runCluster(terms: ClusterRunTerms): Promise<Outcome> {
  const planted = new PlantedSecret()
  const cluster = await startCluster({ primaries: 3, replicas: 1 })
  onTestFinished(() => cluster.stop())
  const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }))
  const connections = Array.from({ length: STORES }, () => ({ nodes }))
  const stores = openStores({ planted, cap: CAP, connections })
  const log = new FaultLog()
  const more: string[] = []

  const nemesis = async (progress: Progress) => {
    const admin = new ClusterAdmin({ cluster, log, progress })
    const windows = await harass(admin, terms, more)
    while (progress.operations() < terms.operations) await delay(50)
    admin.stop()
    return windows
  }
  const { workers } = terms
  const report = await runWorkload({
    seed: SEED,
    stores,
    planted,
    cap: CAP,
    deadlineMs: DEADLINE_MS,
    size: {
      users: 15 * workers,
      kept: 20 * workers,
      updateWorkers: workers,
      lifecycleWorkers: workers,
      samplers: workers,
    },
    removeRecord: async () => false,
    isTorn: true,
    nemesis,
  })
  return { name: 'cluster', seed: SEED, log, report, more: [...more, lossesOf(report)] }
}

async function harass(
  admin: ClusterAdmin,
  { slotsToMove, smallFaults, killsPrimary }: ClusterRunTerms,
  more: string[],
): Promise<readonly LossWindow[]> {
  await delay(1000)
  await admin.annoy(smallFaults)
  more.push(`${await admin.reshard(slotsToMove)} keys in ${slotsToMove} slots moved`)
  more.push(`gap of the graceful failover ${(await admin.failOverGracefully()).toFixed(0)} ms`)
  if (!killsPrimary) return []
  await delay(1000)
  const { gapMs, windows } = await admin.killPrimary()
  more.push(`gap after the kill ${(gapMs / 1000).toFixed(1)} s`)
  return windows
}
