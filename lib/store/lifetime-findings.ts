import type { Finding } from '../backend/finding.ts'
import type { ResolvedOptions } from './options.ts'

const SHORTEST_SOUND_TTL_S = 60
const LONGEST_SOUND_TTL_S = 400 * 86_400

type Lifetimes = Pick<ResolvedOptions, 'ttl' | 'touchAfter' | 'absoluteTtl' | 'endedTtlMs'>

/** Returns what is unwise in a store's lifetimes. Does not judge a `ttl` that depends on the session. */
export function* lifetimeFindings(lifetimes: Lifetimes): Iterable<Finding> {
  yield* longOnes(lifetimes)
  const { ttl, touchAfter } = lifetimes
  if (typeof ttl !== 'number') return
  if (touchAfter !== undefined && touchAfter > ttl / 2) {
    yield {
      code: 'touch-too-rare',
      severity: 'warning',
      message: `touchAfter (${touchAfter} s) is more than half of ttl (${ttl} s) and counts as half: a user may be signed out after ${ttl / 2} s already`,
      action: 'Set touchAfter to at most a twentieth of ttl, or leave it out',
    }
  }
  if (ttl < SHORTEST_SOUND_TTL_S) {
    yield {
      code: 'ttl-too-short',
      severity: 'warning',
      message: `ttl is ${ttl} s; it counts seconds, not milliseconds, and shorter than a minute ends sessions in use`,
      action: 'Set ttl to how long a user may be idle, in seconds',
    }
  }
}

// A day in milliseconds, taken for seconds, is more than two years.
function* longOnes({ ttl, touchAfter, absoluteTtl, endedTtlMs }: Lifetimes): Iterable<Finding> {
  const named = { ttl, absoluteTtl, touchAfter, endedTtl: endedTtlMs / 1000 }
  for (const [name, seconds] of Object.entries(named)) {
    if (typeof seconds !== 'number' || seconds <= LONGEST_SOUND_TTL_S) continue
    yield {
      code: 'ttl-too-long',
      severity: 'warning',
      message: `${name} is ${seconds} s, which are ${Math.round(seconds / 86_400)} days; it counts seconds, not milliseconds`,
      action: `Set ${name} in seconds: a day is 86400`,
    }
  }
}
