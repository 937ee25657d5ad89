import type { Call } from '../history.ts'
import type { Subject } from '../subject.ts'
import { type Evidence, isExcused, isTainted, type Violation } from './evidence.ts'
import { failuresOf, nameOf } from './writes.ts'

// The work of a call that was given up goes on for a while behind its caller's back.
const LINGER_MS = 3000

/** Ended is ended, kept is kept. */
export function checkEndings(evidence: Evidence): Violation[] {
  return evidence.workload.subjects.flatMap((subject) => [
    ...checkEnded(evidence, subject),
    ...checkKept(evidence, subject),
    ...checkRefusedCreation(evidence, subject),
  ])
}

// When, relative to its being missed, what was done to it began and ended.
function historyOf({ calls, missedMs }: Subject): string {
  const at = (ms: number) => (ms - missedMs).toFixed(0)
  return calls
    .map(
      ({ kind, failure, startMs, endMs }) =>
        `${at(startMs)}–${at(endMs)} ${kind} ${failure ?? 'acknowledged'}`,
    )
    .join(', ')
}

/** How many endings were acknowledged in a loss window, and how many of those sessions were seen afterwards. */
export function countLostEndings(evidence: Evidence): { readonly excused: number; readonly lost: number } {
  const counts = { excused: 0, lost: 0 }
  for (const subject of evidence.workload.subjects) {
    const excused = endingsOf(subject).filter((call) => isExcused(evidence, call))
    if (excused.length === 0) continue
    counts.excused += 1
    if (subject.seenMs > Math.min(...excused.map(({ endMs }) => endMs))) counts.lost += 1
  }
  return counts
}

function checkEnded(evidence: Evidence, subject: Subject): Violation[] {
  const name = nameOf(subject)
  const endedAtMs = endedAt(evidence, subject)
  const violations: Violation[] = []
  if (subject.seenMs > endedAtMs) {
    const lateMs = (subject.seenMs - endedAtMs).toFixed(0)
    violations.push({ check: 'ended session read', detail: `${name}, still ${lateMs} ms after its end` })
  } else if (subject.seenMs > subject.missedMs && !isTainted(evidence, subject)) {
    const awayMs = (subject.seenMs - subject.missedMs).toFixed(0)
    const detail = `${name}, ${awayMs} ms after it was missed; ${historyOf(subject)}`
    violations.push({ check: 'session came back', detail })
  }
  const late = subject.writes
    .flatMap(({ calls }) => calls)
    .find((call) => call.verdict === 'acked' && call.startMs > endedAtMs)
  if (late) violations.push({ check: 'write after the end', detail: `${name}: ${late.kind}` })
  return violations
}

/** When it was certainly ended, `Infinity` if that is not certain. */
function endedAt(evidence: Evidence, subject: Subject): number {
  const sure = endingsOf(subject).filter((call) => !isExcused(evidence, call))
  const vanishedAtMs =
    subject.vanishedAtMs < Number.MAX_VALUE ? subject.vanishedAtMs : Number.POSITIVE_INFINITY
  return Math.min(vanishedAtMs, ...sure.map(({ endMs }) => endMs))
}

/** The acknowledged calls that ended it. */
function endingsOf(subject: Subject): Call[] {
  const { createdAtMs, user } = subject
  const ofAll = (user?.endings ?? []).filter(
    ({ call, except }) => except !== subject && createdAtMs < call.startMs,
  )
  return [...subject.endings, ...ofAll.map(({ call }) => call)].filter(({ verdict }) => verdict === 'acked')
}

function checkKept(evidence: Evidence, subject: Subject): Violation[] {
  if (!mustLive(evidence, subject) || isTainted(evidence, subject)) return []
  const isMissing = subject.missedMs < Number.POSITIVE_INFINITY || !evidence.inventory.contents.has(subject)
  const refused = subject.writes
    .flatMap(({ calls }) => calls)
    .find(({ failure }) => failure === 'ERR_SESSION_ENDED')
  if (!isMissing && refused === undefined) return []
  return [
    {
      check: subject.pool === 'mortal' ? 'session ended early' : 'session missing',
      detail: `${nameOf(subject)}, ended: ${failuresOf(subject.endings)}`,
    },
  ]
}

/** Whether nothing that was done can have ended it. */
function mustLive({ cap }: Evidence, subject: Subject): boolean {
  if (subject.pool !== 'mortal') return true
  const { user, askedAtMs } = subject
  const wasRefused = subject.endings.every(({ verdict }) => verdict === 'refused')
  if (subject.creation !== 'acked' || !wasRefused || subject.vanishedAtMs < Number.POSITIVE_INFINITY)
    return false
  if (user === undefined) return true
  if (user.endings.some(({ call }) => lastsUntil(call) > askedAtMs)) return false
  const later = user.subjects.filter(
    (other) => other !== subject && other.creations.some((call) => lastsUntil(call) > askedAtMs),
  )
  return later.length < cap
}

function lastsUntil({ verdict, endMs }: Call): number {
  return verdict === 'unknown' ? endMs + LINGER_MS : endMs
}

function checkRefusedCreation(evidence: Evidence, subject: Subject): Violation[] {
  const { creations, creation, seenMs } = subject
  if (creations.length === 0 || creation !== 'refused' || seenMs === Number.NEGATIVE_INFINITY) return []
  // Stored by an attempt whose reply was lost, and ended before the next: what became of the session is what was said.
  const wasEnded = creations.some(({ failure }) => failure === 'ERR_SESSION_ENDED')
  if (wasEnded || subject.isScripted || isTainted(evidence, subject)) return []
  return [
    { check: 'refused write applied', detail: `${nameOf(subject)} was created: ${failuresOf(creations)}` },
  ]
}
