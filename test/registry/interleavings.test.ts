import fc from 'fast-check'
import { afterAll, beforeAll, describe, inject, test } from 'vitest'
import { storeKinds } from '../store/stores.ts'
import { SEED } from '../support/seed.ts'
import { anyInterleavingHolds } from './interleavings.ts'

const RUNS: Readonly<Record<string, number>> =
  inject('suite') === 'long' ? { 'in process': 400, 'on Valkey': 80 } : { 'in process': 60, 'on Valkey': 15 }

describe.each(storeKinds())('two or three who use the same sessions at once $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  test(`see no ended session, no more than the cap, and a true registry in ${RUNS[kind.name]} random orders`, async () => {
    await fc.assert(anyInterleavingHolds(kind), { seed: SEED, numRuns: RUNS[kind.name] ?? 0 })
  })
})
