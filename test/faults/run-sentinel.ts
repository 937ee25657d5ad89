import { setTimeout as delay } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { SEED } from '../support/seed.ts'
import { startSentinels } from '../support/valkey.ts'
import { FaultLog } from './fault-log.ts'
import { openStores } from './open-stores.ts'
import { lossesOf, type Outcome } from './outcome.ts'
import { PlantedSecret } from './planted-secret.ts'
import type { Failover, FailoverTerms } from './sentinel-nemesis.ts'
import { DEADLINE_MS } from './timing.ts'
import { type Progress, runWorkload } from './workload-run.ts'

const STORES = 4
const CAP = 3
// A second failover may only begin after twice this long.
const FAILOVER_TIMEOUT_MS = 3000

export interface SentinelTerms {
  /** How many there must be at least. */
  readonly operations: number
  readonly failovers: readonly ((terms: FailoverTerms) => Promise<Failover>)[]
}

/** Sentinels that fail over, one failover after the other. */
export async function runSentinel(
  terms: SentinelTerms,
): Promise<Outcome & { readonly failovers: readonly Failover[] }> {
  const planted = new PlantedSecret()
  const sentinels = await startSentinels({ failoverTimeoutMs: FAILOVER_TIMEOUT_MS })
  onTestFinished(() => sentinels.stop())
  const connection = { sentinels: sentinels.addresses, sentinelName: sentinels.name }
  const stores = openStores({
    planted,
    cap: CAP,
    connections: Array.from({ length: STORES }, () => connection),
  })
  const log = new FaultLog()
  const failovers: Failover[] = []

  const nemesis = async (progress: Progress) => {
    for (const failover of terms.failovers) {
      await delay(1000)
      failovers.push(await failover({ sentinels, log, progress }))
    }
    while (progress.operations() < terms.operations) await delay(50)
    return failovers.flatMap(({ windows }) => windows)
  }
  const report = await runWorkload({
    seed: SEED,
    stores,
    planted,
    cap: CAP,
    deadlineMs: DEADLINE_MS,
    size: { users: 24, kept: 60, updateWorkers: 4, lifecycleWorkers: 4, samplers: 4 },
    removeRecord: async () => false,
    nemesis,
  })
  const gaps = failovers.map(({ gapMs }) => (gapMs / 1000).toFixed(1))
  const more = [`failover gaps ${gaps.join(', ')} s`, lossesOf(report)]
  return { name: 'sentinel', seed: SEED, log, report, more, failovers }
}
