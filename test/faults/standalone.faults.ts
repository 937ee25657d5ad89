import { expect, it } from 'vitest'
import { expectKept } from './outcome.ts'
import { runStandalone } from './run-standalone.ts'

it('keeps every promise on one server that fails in every way', { timeout: 300_000 }, async () => {
  const outcome = await runStandalone({ operations: 80_000, faults: 400 })

  expectKept(outcome)
  expect(outcome.log.kinds.size).toBeGreaterThanOrEqual(12)
})
