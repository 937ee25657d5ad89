import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { startSentinels } from '../support/valkey.ts'
import { Canary } from './canary.ts'
import { type Progress, runChaos } from './chaos.ts'
import { FaultLog } from './fault-log.ts'
import { runSeed } from './random.ts'
import { type Failover, freezePrimary, killPrimary } from './sentinel-trouble.ts'
import { describeViolations, summaryOf } from './summary.ts'
import { BREAKER, statedDeadlineMs, TIMING } from './timing.ts'

const OPERATIONS = 10_000
const STORES = 4
const CAP = 3
const LONGEST_GAP_MS = 10_000
// A second failover may only begin after twice this long.
const FAILOVER_TIMEOUT_MS = 3000

it('keeps every promise across three failovers, but for what asynchronous replication loses', {
  timeout: 300_000,
}, async () => {
  const seed = runSeed()
  const canary = new Canary()
  const sentinels = await startSentinels({ failoverTimeoutMs: FAILOVER_TIMEOUT_MS })
  onTestFinished(() => sentinels.stop())
  const secrets = [canary.secret('sealing')]
  const stores = Array.from({ length: STORES }, (_, index) => {
    const rejects = index === STORES - 1
    const store = new ValkeyStore({
      connection: { sentinels: sentinels.addresses, sentinelName: sentinels.name },
      secrets,
      maxSessionsPerUser: CAP,
      touchAfter: 0,
      concurrency: rejects ? 'reject' : 'merge',
      breaker: BREAKER,
      ...TIMING,
    })
    return { name: `store ${index}`, store, rejects }
  })
  onTestFinished(async () => void (await Promise.all(stores.map(({ store }) => store.close()))))
  const log = new FaultLog()
  const failovers: Failover[] = []

  const trouble = async (progress: Progress) => {
    for (const failover of [killPrimary, freezePrimary, killPrimary]) {
      await delay(1000)
      failovers.push(await failover({ sentinels, log, progress }))
    }
    while (progress.operations() < OPERATIONS) await delay(50)
    return failovers.flatMap(({ windows }) => windows)
  }
  const report = await runChaos({
    seed,
    stores,
    canary,
    cap: CAP,
    deadlineMs: statedDeadlineMs(TIMING),
    size: { users: 24, kept: 60, keepers: 4, visitors: 4, samplers: 4 },
    removeRecord: async () => false,
    trouble,
  })

  const gaps = failovers.map(({ gapMs }) => (gapMs / 1000).toFixed(1))
  const more = [
    `failover gaps ${gaps.join(', ')} s`,
    `in the loss windows ${report.writes.excused} acknowledged writes, ${report.writes.lost} of them lost, and ${report.endings.excused} endings, ${report.endings.lost} of them lost`,
  ]
  console.log(summaryOf(report, { name: 'sentinel', seed, log, deadlineMs: statedDeadlineMs(TIMING), more }))
  if (report.violations.length > 0) expect.fail(describeViolations(report, log, seed))
  expect(failovers.map(({ gapMs }) => gapMs < LONGEST_GAP_MS)).toEqual([true, true, true])
})
