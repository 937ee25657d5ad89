import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { Canary } from './canary.ts'
import { type Progress, runChaos } from './chaos.ts'
import { FaultLog } from './fault-log.ts'
import { FaultSchedule } from './fault-schedule.ts'
import { runSeed } from './random.ts'
import { Standalone } from './standalone.ts'
import { describeViolations, summaryOf } from './summary.ts'
import { statedDeadlineMs, TIMING } from './timing.ts'

const OPERATIONS = Number(process.env['OPS'] ?? 80_000)
const FAULTS = Number(process.env['FAULTS'] ?? 400)
const CAP = 3

it('keeps every promise on one server that fails in every way', { timeout: 300_000 }, async () => {
  const seed = runSeed()
  const canary = new Canary()
  const place = await Standalone.start({ canary, proxies: 6 })
  onTestFinished(() => place.stop())
  const make = (options: ConstructorParameters<typeof ValkeyStore>[0]) => new ValkeyStore(options)
  const stores = place.stores({ make, prefix: 'chaos', cap: CAP, options: TIMING })
  onTestFinished(async () => void (await Promise.all(stores.map(({ store }) => store.close()))))
  const log = new FaultLog()

  const trouble = async ({ operations, random }: Progress) => {
    const schedule = new FaultSchedule(place.lanes(2), log, random)
    while (operations() < OPERATIONS || log.entries.length < FAULTS) await delay(50)
    await schedule.stop()
    return []
  }
  const report = await runChaos({
    seed,
    stores,
    canary,
    cap: CAP,
    deadlineMs: statedDeadlineMs(TIMING),
    size: { users: 24, kept: 60, keepers: 6, visitors: 6, samplers: 6 },
    removeRecord: (handle) => place.removeRecord('chaos', handle),
    trouble,
  })

  console.log(summaryOf(report, { name: 'standalone', seed, log, deadlineMs: statedDeadlineMs(TIMING) }))
  if (report.violations.length > 0) expect.fail(describeViolations(report, log, seed))
  expect(log.kinds.size).toBeGreaterThanOrEqual(12)
})
