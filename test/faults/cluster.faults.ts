import { expect, it } from 'vitest'
import { expectKept } from './outcome.ts'
import { runCluster } from './run-cluster.ts'

it('keeps every promise on a cluster that is resharded and loses a primary', {
  timeout: 300_000,
}, async () => {
  const outcome = await runCluster({
    operations: 15_000,
    slotsToMove: 150,
    smallFaults: 30,
    killsPrimary: true,
    workers: 4,
  })

  expectKept(outcome)
  const events = ['reshard', 'graceful failover', 'primary killed, failover']
  expect([...outcome.log.kinds]).toEqual(expect.arrayContaining(events))
})
