import { setTimeout as delay } from 'node:timers/promises'
import { onTestFinished } from 'vitest'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { SEED } from '../support/seed.ts'
import { FaultLog } from './fault-log.ts'
import { FaultSchedule } from './fault-schedule.ts'
import type { Outcome } from './outcome.ts'
import { PlantedSecret } from './planted-secret.ts'
import { Standalone } from './standalone.ts'
import { DEADLINE_MS, TIMING } from './timing.ts'
import { type Progress, runWorkload } from './workload-run.ts'

const PREFIX = 'workload'
const CAP = 3

/** One server that fails in every way, through networks that do too, until there were so many operations and faults. */
export async function runStandalone(least: {
  readonly operations: number
  readonly faults: number
}): Promise<Outcome> {
  const planted = new PlantedSecret()
  const place = await Standalone.start({ planted, proxies: 6 })
  onTestFinished(() => place.stop())
  const stores = place.stores({
    make: (options) => new ValkeyStore(options),
    prefix: PREFIX,
    cap: CAP,
    options: TIMING,
  })
  onTestFinished(async () => void (await Promise.all(stores.map(({ store }) => store.close()))))
  const log = new FaultLog()

  const nemesis = async ({ operations, random }: Progress) => {
    const schedule = new FaultSchedule(place.lanes(2), log, random)
    while (operations() < least.operations || log.entries.length < least.faults) await delay(50)
    await schedule.stop()
    return []
  }
  const report = await runWorkload({
    seed: SEED,
    stores,
    planted,
    cap: CAP,
    deadlineMs: DEADLINE_MS,
    size: { users: 24, kept: 60, updateWorkers: 6, lifecycleWorkers: 6, samplers: 6 },
    removeRecord: (handle) => place.removeRecord(PREFIX, handle),
    remains: () => place.remains(PREFIX),
    nemesis,
  })
  return { name: 'standalone', seed: SEED, log, report }
}
