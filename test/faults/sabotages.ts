import { failureSabotages } from './failure-sabotages.ts'
import { recordSabotages } from './record-sabotages.ts'
import { registrySabotages } from './registry-sabotages.ts'
import type { Sabotage } from './sabotage.ts'
import { saveSabotages } from './save-sabotages.ts'

export const sabotages: readonly Sabotage[] = [
  ...recordSabotages,
  ...failureSabotages,
  ...saveSabotages,
  ...registrySabotages,
]
