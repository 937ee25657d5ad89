import type { CheckName } from './checks/evidence.ts'
import type { FaultLog } from './fault-log.ts'
import type { RunReport } from './workload-run.ts'

export interface SummaryTerms {
  readonly name: string
  readonly seed: number
  readonly log: FaultLog
  readonly deadlineMs: number
  /** What only this suite has to tell. */
  readonly more?: readonly string[]
}

const number = (value: number): string => Math.round(value).toLocaleString('en-US')

/** The one line that a suite prints. */
export function summaryOf(
  report: RunReport,
  { name, seed, log, deadlineMs, more = [] }: SummaryTerms,
): string {
  const { history, writes, violations } = report
  const times = (name: CheckName) => violations.filter(({ check }) => check === name).length
  const facts = [
    `SEED=${seed}`,
    `${number(report.operations)} operations (${number(history.count('acked'))} calls acknowledged, ${number(history.count('refused'))} refused, ${number(history.count('unknown'))} unknown)`,
    `${number(log.entries.length)} faults of ${log.kinds.size} kinds`,
    `${number(writes.checked)} acknowledged writes checked one by one`,
    `${number(report.deadChecks)} checks of dead sessions`,
    `longest call ${number(report.longestCall.runningMs)} ms (deadline ${number(deadlineMs)} ms; ${number(report.longestCall.ms)} ms with what the machine kept this process from running, at most ${number(report.longestStallMs)} ms at a time)`,
    ...more,
    `${violations.length} violations, ${times('unhandled rejection')} unhandled rejections, ${times('secret leaked')} secrets in the output`,
    `${number(report.tookMs / 1000)} s`,
  ]
  return `${name}: ${facts.join('; ')}`
}

/** What went wrong, how often, and under which faults; for the message of a failed test. */
export function describeViolations(
  { violations, failures, events }: RunReport,
  log: FaultLog,
  seed: number,
): string {
  const checks = new Set(violations.map(({ check }) => check))
  const lines = [...checks].map((check) => {
    const found = violations.filter((violation) => violation.check === check)
    const examples = found.slice(0, 8).map(({ detail }) => detail)
    return `${check} × ${found.length}: ${examples.join(' | ')}`
  })
  const facts = [`SEED=${seed}`, ...lines, `failures ${entries(failures)}`, `events ${entries(events)}`]
  return [...facts, 'faults, in ms since the start:', log.print()].join('\n')
}

function entries(counts: ReadonlyMap<string, number>): string {
  return [...counts].map(([name, count]) => `${name} × ${count}`).join(', ')
}
