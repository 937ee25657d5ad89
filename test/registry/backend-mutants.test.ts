import fc from 'fast-check'
import { expect, test } from 'vitest'
import { InProcessKind } from '../store/stores.ts'
import { SEED } from '../support/seed.ts'
import {
  endDisplacedAfterPut,
  enrollAfterPut,
  skipEndOfDisplaced,
  skipEnroll,
  skipFence,
  skipReseal,
  skipWithdraw,
  withdrawBeforeEnd,
} from './backend-mutants.ts'
import { anyInterleavingHolds } from './interleavings.ts'

// More than enough: the slowest to be found took 20.
const RUNS = 400

test.each([
  ['does not enrol', skipEnroll, 'living, but not registered'],
  ['stores before it enrols', enrollAfterPut, 'living, but not registered'],
  ['does not end whom the cap displaces', skipEndOfDisplaced, 'living sessions'],
  ['ends whom the cap displaces only after it has stored', endDisplacedAfterPut, 'living sessions'],
  ['does not withdraw what was ended', skipWithdraw, 'registered sessions'],
  ['withdraws before it ends', withdrawBeforeEnd, 'living, but not registered'],
  ['leaves no fence for a sign-in that is under way', skipFence, 'living, but not registered'],
  ['does not seal the spared session anew', skipReseal, 'on a strict look'],
] as const)('a store that %s is found out by some order of events', async (_, mutant, finding) => {
  const kind = new InProcessKind()

  const { failed, errorInstance } = await fc.check(anyInterleavingHolds(kind, mutant), {
    seed: SEED,
    numRuns: RUNS,
    endOnFailure: true,
  })
  await kind.stop()

  // Which of its consequences shows first depends on the order of events.
  expect(failed, `usually it shows as: ${finding}`).toBe(true)
  expect(errorInstance).toBeInstanceOf(Error)
})
