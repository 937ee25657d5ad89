import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { startCluster } from '../support/valkey.ts'
import { Canary } from './canary.ts'
import { type Progress, runChaos } from './chaos.ts'
import { ClusterAdmin } from './cluster-trouble.ts'
import { FaultLog } from './fault-log.ts'
import { runSeed } from './random.ts'
import { describeViolations, summaryOf } from './summary.ts'
import { BREAKER, statedDeadlineMs, TIMING } from './timing.ts'

const OPERATIONS = 15_000
const STORES = 4
const CAP = 3
const SLOTS = 150
const ANNOYANCES = 30

it('keeps every promise on a cluster that is resharded and loses a primary', {
  timeout: 300_000,
}, async () => {
  const seed = runSeed()
  const canary = new Canary()
  const cluster = await startCluster({ primaries: 3, replicas: 1 })
  onTestFinished(() => cluster.stop())
  const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }))
  const secrets = [canary.secret('sealing')]
  const stores = Array.from({ length: STORES }, (_, index) => {
    const rejects = index === STORES - 1
    const store = new ValkeyStore({
      connection: { nodes },
      secrets,
      maxSessionsPerUser: CAP,
      touchAfter: 0,
      concurrency: rejects ? 'reject' : 'merge',
      breaker: index % 2 === 0 ? BREAKER : false,
      ...TIMING,
    })
    return { name: `store ${index}`, store, rejects }
  })
  onTestFinished(async () => void (await Promise.all(stores.map(({ store }) => store.close()))))
  const log = new FaultLog()
  const more: string[] = []

  const trouble = async (progress: Progress) => {
    const admin = new ClusterAdmin({ cluster, log, progress })
    await delay(1000)
    await admin.annoy(ANNOYANCES)
    more.push(`${await admin.reshard(SLOTS)} keys in ${SLOTS} slots moved`)
    more.push(`gap of the graceful failover ${(await admin.failOverGracefully()).toFixed(0)} ms`)
    await delay(1000)
    const { gapMs, windows } = await admin.killPrimary()
    more.push(`gap after the kill ${(gapMs / 1000).toFixed(1)} s`)
    while (progress.operations() < OPERATIONS) await delay(50)
    admin.stop()
    return windows
  }
  const report = await runChaos({
    seed,
    stores,
    canary,
    cap: CAP,
    deadlineMs: statedDeadlineMs(TIMING),
    size: { users: 60, kept: 80, keepers: 4, visitors: 4, samplers: 4 },
    removeRecord: async () => false,
    isTorn: true,
    trouble,
  })

  more.push(
    `in the loss window ${report.writes.excused} acknowledged writes, ${report.writes.lost} of them lost, and ${report.endings.excused} endings, ${report.endings.lost} of them lost`,
  )
  console.log(summaryOf(report, { name: 'cluster', seed, log, deadlineMs: statedDeadlineMs(TIMING), more }))
  if (report.violations.length > 0) expect.fail(describeViolations(report, log, seed))
  expect(log.kinds).toContain('reshard')
})
