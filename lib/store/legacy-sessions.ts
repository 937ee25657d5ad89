import type { SessionData } from 'express-session'
import type { ForeignValues } from '../backend/foreign.ts'
import { MAX_TTL_MS } from '../option.ts'
import { readLegacy } from '../session/connect-redis.ts'
import type { AdoptOutcome } from './store.ts'

export interface LegacySessionsParts {
  readonly values: ForeignValues
  readonly untilMs: number
  readonly maxBytes: number
  readonly now: () => number
}

// Less than any tombstone lasts: a value that could not be removed expires before an ended session could be adopted again.
const GONE_WITHIN_MS = 600_000

/** Sessions that connect-redis has kept, each to be adopted when its cookie comes. */
export class LegacySessions {
  readonly #parts: LegacySessionsParts

  constructor(parts: LegacySessionsParts) {
    this.#parts = parts
  }

  /**
   * Passes the session under an id to `store`, and removes it where it was. Returns whether there is one to load now.
   * Ignores and keeps a value that is no session.
   */
  async adopt(
    sid: string,
    store: (session: SessionData, ttlMs: number | undefined) => Promise<AdoptOutcome>,
  ): Promise<boolean> {
    const { values, untilMs, maxBytes, now } = this.#parts
    if (now() >= untilMs) return false
    const value = await values.read(sid, maxBytes)
    const found = await readLegacy(value, { maxBytes, nowMs: now() })
    if (found === undefined || typeof found === 'string') return false
    const { session, ttlMs = MAX_TTL_MS } = found
    if (ttlMs > GONE_WITHIN_MS) await values.expireIn(sid, GONE_WITHIN_MS)
    try {
      const outcome = await store(session, found.ttlMs)
      await values.remove(sid).catch(() => {})
      return outcome !== 'ended'
    } catch (error) {
      // It is still the only one.
      await values.expireIn(sid, ttlMs).catch(() => {})
      throw error
    }
  }
}
