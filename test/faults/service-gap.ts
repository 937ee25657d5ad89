import { until } from '../support/until.ts'
import type { Call, History } from './history.ts'

const RETURNS_WITHIN_MS = 30_000

/** Waits until a save that began after a time has been acknowledged. */
export async function untilSavesReturn({ calls }: History, afterMs: number): Promise<void> {
  let seen = calls.length
  await until(
    () => {
      const found = calls.slice(seen).find((call) => isAckedSave(call) && call.startMs > afterMs)
      // A call that is still pending may be the one.
      while (calls[seen]?.verdict !== undefined) seen += 1
      return found !== undefined
    },
    { withinMs: RETURNS_WITHIN_MS, what: 'saves are acknowledged again' },
  )
}

/** The longest time in a span within which no save was acknowledged, in ms. */
export function serviceGapMs({ calls }: History, fromMs: number, toMs: number): number {
  const ends = calls.filter(isAckedSave).map(({ endMs }) => endMs)
  const times = [fromMs, ...ends.filter((endMs) => endMs > fromMs && endMs < toMs), toMs].sort(
    (a, b) => a - b,
  )
  return times.reduce((longest, ms, index) => Math.max(longest, ms - (times[index - 1] ?? ms)), 0)
}

function isAckedSave({ kind, verdict }: Call): boolean {
  return kind === 'save' && verdict === 'acked'
}
