import type { Finding } from '../backend/finding.ts'
import type { ResolvedOptions } from './options.ts'

const SHORTEST_SOUND_TTL_S = 60

/** What is unwise in the lifetimes a store was given. A `ttl` that depends on the session is not looked at. */
export function* lifetimeFindings({
  ttl,
  touchAfter,
}: Pick<ResolvedOptions, 'ttl' | 'touchAfter'>): Iterable<Finding> {
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
