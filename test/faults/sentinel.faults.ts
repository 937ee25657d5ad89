import { expect, it } from 'vitest'
import { expectKept } from './outcome.ts'
import { runSentinel } from './run-sentinel.ts'
import { freezePrimary, killPrimary } from './sentinel-nemesis.ts'

const LONGEST_GAP_MS = 10_000

it('keeps every promise across three failovers, but for what asynchronous replication loses', {
  timeout: 300_000,
}, async () => {
  const failovers = [killPrimary, freezePrimary, killPrimary]

  const outcome = await runSentinel({ operations: 10_000, failovers })

  expectKept(outcome)
  expect(outcome.failovers.map(({ gapMs }) => gapMs < LONGEST_GAP_MS)).toEqual([true, true, true])
})
