import { type Call, joint } from '../history.ts'
import type { Subject, Write } from '../subject.ts'
import { type Evidence, isExcused, type Violation } from './evidence.ts'

export interface WriteCounts {
  /** Acknowledged writes that were looked for one by one. */
  readonly checked: number
  /** Writes acknowledged in a loss window, and how many of them are not there. */
  readonly excused: number
  readonly lost: number
}

/** Acknowledged writes are there once, refused ones are not, unknown ones at most once. */
export function checkWrites(evidence: Evidence): { violations: Violation[]; counts: WriteCounts } {
  const violations: Violation[] = []
  const counts = { checked: 0, excused: 0, lost: 0 }
  for (const subject of evidence.workload.subjects) {
    const marks = marksOf(evidence, subject)
    if (marks === undefined || subject.isScripted) continue
    for (const write of subject.writes) {
      const times = marks.get(write.mark) ?? 0
      const fault = isLossy(evidence, write) ? undefined : faultOf(write, times)
      if (fault)
        violations.push({
          check: fault,
          detail: `${nameOf(subject)}, ${times} times: ${failuresOf(write.calls)}`,
        })
      if (joint(write.calls) !== 'acked') continue
      if (isLossy(evidence, write)) {
        counts.excused += 1
        if (times === 0) counts.lost += 1
      } else counts.checked += 1
    }
  }
  return { violations, counts }
}

function isLossy(evidence: Evidence, { calls }: Write): boolean {
  return calls.some((call) => isExcused(evidence, call))
}

function faultOf({ calls }: Write, times: number): Violation['check'] | undefined {
  if (times > 1) return 'write applied twice'
  const verdict = joint(calls)
  if (verdict === 'acked' && times === 0) return 'write lost'
  return verdict === 'refused' && times === 1 ? 'refused write applied' : undefined
}

/** How often each mark is in a session; `undefined` if it is no more. */
function marksOf({ inventory }: Evidence, subject: Subject): Map<string, number> | undefined {
  const content = inventory.contents.get(subject)
  if (content === undefined) return undefined
  const times = new Map<string, number>()
  for (const value of Object.values<unknown>({ ...content })) {
    if (!Array.isArray(value)) continue
    for (const mark of value) times.set(String(mark), (times.get(String(mark)) ?? 0) + 1)
  }
  return times
}

export function nameOf({ pool, index, user }: Subject): string {
  return `${pool} session ${index}${user === undefined ? '' : ' of a user'}`
}

/** How some calls went, in their order. */
export function failuresOf(calls: readonly Call[]): string {
  return calls.map(({ kind, failure }) => `${kind} ${failure ?? 'acknowledged'}`).join(', ')
}
