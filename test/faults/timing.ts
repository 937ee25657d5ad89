/** Time limits of the stores under test: short, so that a run sees many outages begin and end. */
export const TIMING = { connectTimeoutMs: 150, commandTimeoutMs: 200, retries: 1 }

/** A breaker that lets the stores back in as soon as an outage of a few hundred ms is over. */
export const BREAKER = { failures: 5, halfOpenAfterMs: 50 }

/** When a store with these limits gives up waiting, as its documentation states it. */
export function statedDeadlineMs({ connectTimeoutMs, commandTimeoutMs, retries }: typeof TIMING): number {
  return connectTimeoutMs + 2 * commandTimeoutMs * (retries + 1)
}

/** When the stores under test give up waiting. */
export const DEADLINE_MS = statedDeadlineMs(TIMING)
