import type { Call } from '../history.ts'
import type { Evidence, Violation } from './evidence.ts'

// What a timer and the way back to the caller may add to a deadline.
const MARGIN_MS = 50

/** Every call settles in time, and none is refused that the state of the server does not forbid. */
export function checkCalls(evidence: Evidence): Violation[] {
  const { history } = evidence.workload
  const pending = history.pending.map(({ kind }): Violation => ({ check: 'call pending', detail: kind }))
  const late = history.calls.filter((call) => latenessMs(evidence, call) > MARGIN_MS)
  const needless = history.calls.filter(isNeedlesslyRefused)
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

/** How long the longest call took: as it was, and less the time for which this process did not run. */
export function longestCall(evidence: Evidence): { readonly ms: number; readonly runningMs: number } {
  const calls = evidence.workload.history.calls.filter(({ endMs }) => Number.isFinite(endMs))
  const running = (call: Call) => durationMs(call) - stalledMs(evidence, call)
  return {
    ms: calls.reduce((longest, call) => Math.max(longest, durationMs(call)), 0),
    runningMs: calls.reduce((longest, call) => Math.max(longest, running(call)), 0),
  }
}

function durationMs({ startMs, endMs }: Call): number {
  return endMs - startMs
}

/** By how much a call missed its deadline. */
function latenessMs(evidence: Evidence, call: Call): number {
  if (!Number.isFinite(call.endMs)) return 0
  return durationMs(call) - stalledMs(evidence, call) - evidence.deadlineMs
}

/** For how long this process did not run during a call, which counts for no deadline. */
function stalledMs({ loop }: Evidence, { startMs, endMs }: Call): number {
  return Number.isFinite(endMs) ? loop.stalledMs(startMs, endMs) : 0
}

// Whoever signs out, or reads, needs no memory.
const NEEDS_NO_MEMORY: readonly string[] = ['load', 'destroy', 'end', 'list', 'touch']

function isNeedlesslyRefused({ kind, failure }: Call): boolean {
  return NEEDS_NO_MEMORY.includes(kind) && failure?.includes('out-of-memory') === true
}
