import type { Call } from '../journal.ts'
import type { Evidence, Violation } from './evidence.ts'

// What a timer and the way back to the caller may add to a deadline.
const MARGIN_MS = 50

/** Every call settles in time, and none is refused that the state of the server does not forbid. */
export function checkCalls(evidence: Evidence): Violation[] {
  const { journal } = evidence.scene
  const pending = journal.pending.map(({ kind }): Violation => ({ check: 'call pending', detail: kind }))
  const late = journal.calls.filter((call) => latenessMs(evidence, call) > MARGIN_MS)
  const needless = journal.calls.filter(isNeedlesslyRefused)
  return [
    ...pending,
    ...late.map(
      (call): Violation => ({
        check: 'call too late',
        detail: `${call.kind}: ${durationMs(call).toFixed(0)} ms`,
      }),
    ),
    ...needless.map(
      ({ kind, failure }): Violation => ({ check: 'refused for no reason', detail: `${kind}: ${failure}` }),
    ),
  ]
}

export function longestCallMs(calls: readonly Call[]): number {
  return calls.reduce(
    (longest, call) => Math.max(longest, Number.isFinite(call.endMs) ? durationMs(call) : 0),
    0,
  )
}

function durationMs({ startMs, endMs }: Call): number {
  return endMs - startMs
}

/** By how much a call missed its deadline, less the time for which this process did not run when the deadline was due. */
function latenessMs({ deadlineMs, loop }: Evidence, call: Call): number {
  if (!(durationMs(call) > deadlineMs + MARGIN_MS) || !Number.isFinite(call.endMs)) return 0
  const dueMs = call.startMs + deadlineMs
  return call.endMs - dueMs - loop.stalledMs(dueMs, call.endMs)
}

// Whoever signs out, or reads, needs no memory.
const NEEDS_NO_MEMORY: readonly string[] = ['load', 'destroy', 'end', 'list', 'touch']

function isNeedlesslyRefused({ kind, failure }: Call): boolean {
  return NEEDS_NO_MEMORY.includes(kind) && failure?.includes('out-of-memory') === true
}
