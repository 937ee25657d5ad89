import { expect } from 'vitest'
import type { FaultLog } from './fault-log.ts'
import { describeViolations, summaryOf } from './summary.ts'
import { DEADLINE_MS } from './timing.ts'
import type { RunReport } from './workload-run.ts'

/** What became of a workload. */
export interface Outcome {
  readonly name: string
  readonly seed: number
  readonly log: FaultLog
  readonly report: RunReport
  /** What only this workload has to tell. */
  readonly more?: readonly string[]
}

/** Prints what a workload came to, and fails if a promise was broken in it. */
export function expectKept({ name, seed, log, report, more = [] }: Outcome): void {
  console.log(summaryOf(report, { name, seed, log, deadlineMs: DEADLINE_MS, more }))
  if (report.violations.length > 0) expect.fail(describeViolations(report, log, seed))
}

/** What a workload tells of the windows in which asynchronous replication may lose what was acknowledged. */
export function lossesOf({ writes, endings }: RunReport): string {
  return `in the loss windows ${writes.excused} acknowledged writes, ${writes.lost} of them lost, and ${endings.excused} endings, ${endings.lost} of them lost`
}
