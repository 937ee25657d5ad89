import { failureMutants } from './failure-mutants.ts'
import type { Mutant } from './mutant.ts'
import { recordMutants } from './record-mutants.ts'
import { registryMutants } from './registry-mutants.ts'
import { saveMutants } from './save-mutants.ts'

export const mutants: readonly Mutant[] = [
  ...recordMutants,
  ...failureMutants,
  ...saveMutants,
  ...registryMutants,
]
