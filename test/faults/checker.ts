import { checkCalls } from './checks/calls.ts'
import { checkEndings, countLostEndings } from './checks/endings.ts'
import { type Evidence, isTainted, type Violation } from './checks/evidence.ts'
import { checkRegistry } from './checks/registry.ts'
import { checkWrites, type WriteCounts } from './checks/writes.ts'
import type { EventWatch } from './event-watch.ts'
import type { FailureWatch } from './failure-watch.ts'
import type { OutputWatch } from './output-watch.ts'
import type { ProcessWatch } from './process-watch.ts'
import type { Clearing } from './sign-ins.ts'

export interface CheckerInput extends Evidence {
  /** Whether sessions and registries may have lost different things. */
  readonly isTorn: boolean
}

/** What observed a run from beginning to end. */
export interface Watches {
  readonly output: OutputWatch
  readonly process: ProcessWatch
  readonly failures: FailureWatch
  readonly events: EventWatch
}

export interface CheckerResult {
  readonly violations: readonly Violation[]
  readonly writes: WriteCounts
  readonly endings: { readonly excused: number; readonly lost: number }
}

/** Checks what became of the sessions. Call it right after the final reads. */
export function checkSessions(file: CheckerInput): CheckerResult {
  const writes = checkWrites(file)
  const violations = [...writes.violations, ...checkEndings(file), ...checkRegistry(file)]
  return { violations, writes: writes.counts, endings: countLostEndings(file) }
}

/** Checks how the store behaved. */
export function checkConduct(file: Evidence, watches: Watches, remains: string): Violation[] {
  const { failures, events, process, output } = watches
  const { planted, oddities } = file.workload
  const leaks: Violation[] = []
  if (planted.isIn(output.written))
    leaks.push({ check: 'secret leaked', detail: 'in what the process wrote' })
  if (planted.isIn(remains)) leaks.push({ check: 'secret leaked', detail: 'in what the server holds' })
  return [
    ...checkCalls(file),
    ...oddities.map(({ what }): Violation => ({ check: 'wrong session', detail: what })),
    ...failures.violations,
    ...events.violations,
    ...process.violations,
    ...leaks,
  ]
}

/** Checks what the calm sign-ins left. */
export function checkClearings(file: CheckerInput, clearings: readonly Clearing[]): Violation[] {
  return clearings.flatMap(({ user, missing, left, listed }, index): Violation[] => {
    if (file.isTorn && user.subjects.some((subject) => isTainted(file, subject))) return []
    const name = `user ${index} after ${file.cap} calm sign-ins`
    const found: Violation[] = []
    if (missing > 0) found.push({ check: 'not in the registry', detail: `${name}: ${missing} missing` })
    if (left > 0)
      found.push({ check: 'more sessions than allowed', detail: `${name}: ${left} older ones left` })
    if (listed !== file.cap)
      found.push({ check: 'dead in the registry', detail: `${name}: ${listed} listed` })
    return found
  })
}
