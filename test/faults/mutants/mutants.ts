import { authMutants } from './auth-mutants.ts'
import { failureMutants } from './failure-mutants.ts'
import type { Mutant, WorkloadMutant } from './mutant.ts'
import { probedMutants } from './probed-mutants.ts'
import { recordMutants } from './record-mutants.ts'
import { registryMutants } from './registry-mutants.ts'
import { saveMutants } from './save-mutants.ts'

export const workloadMutants: readonly WorkloadMutant[] = [
  ...recordMutants,
  ...failureMutants,
  ...saveMutants,
  ...registryMutants,
]

export const mutants: readonly Mutant[] = [...workloadMutants, ...probedMutants, ...authMutants]
