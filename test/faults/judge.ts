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

export interface CaseFile extends Evidence {
  /** Whether sessions and registries may have lost different things. */
  readonly isTorn: boolean
}

/** What watched a run from beginning to end. */
export interface Watches {
  readonly output: OutputWatch
  readonly process: ProcessWatch
  readonly failures: FailureWatch
  readonly events: EventWatch
}

export interface Judgement {
  readonly violations: readonly Violation[]
  readonly writes: WriteCounts
  readonly endings: { readonly excused: number; readonly lost: number }
}

/** Judges what became of the sessions. To be asked when stock has just been taken. */
export function judgeSessions(file: CaseFile): Judgement {
  const writes = checkWrites(file)
  const violations = [...writes.violations, ...checkEndings(file), ...checkRegistry(file)]
  return { violations, writes: writes.counts, endings: countLostEndings(file) }
}

/** Judges how the store behaved. */
export function judgeConduct(file: Evidence, watches: Watches, remains: string): Violation[] {
  const { failures, events, process, output } = watches
  const { canary, oddities } = file.scene
  const leaks: Violation[] = []
  if (canary.isIn(output.written)) leaks.push({ check: 'secret leaked', detail: 'in what the process wrote' })
  if (canary.isIn(remains)) leaks.push({ check: 'secret leaked', detail: 'in what the server holds' })
  return [
    ...checkCalls(file),
    ...oddities.map(({ what }): Violation => ({ check: 'wrong session', detail: what })),
    ...failures.violations,
    ...events.violations,
    ...process.violations,
    ...leaks,
  ]
}

/** Judges what the calm sign-ins left. */
export function judgeClearings(file: CaseFile, clearings: readonly Clearing[]): Violation[] {
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
