import { expect, it } from 'vitest'
import { expectKept } from './outcome.ts'
import { runCluster } from './run-cluster.ts'
import { runSentinel } from './run-sentinel.ts'
import { runStandalone } from './run-standalone.ts'
import { killPrimary } from './sentinel-nemesis.ts'

// The runs of the suite under faults, cut short: `npm run test:faults` runs all of each.

it('a short run on one server that fails keeps every promise', async () => {
  const outcome = await runStandalone({ operations: 6000, faults: 50 })

  expectKept(outcome)
  expect(outcome.log.kinds.size).toBeGreaterThanOrEqual(12)
})

it('a short run across a failover by sentinels keeps every promise', async () => {
  expectKept(await runSentinel({ operations: 2000, failovers: [killPrimary] }))
})

it('a short run on a cluster that is resharded keeps every promise', async () => {
  const terms = { operations: 3000, slotsToMove: 40, smallFaults: 5, killsPrimary: false, workers: 2 }

  const outcome = await runCluster(terms)

  expectKept(outcome)
  expect([...outcome.log.kinds]).toEqual(expect.arrayContaining(['reshard', 'graceful failover']))
})
