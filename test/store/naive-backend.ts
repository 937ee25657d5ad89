import type { Backend, StoredRecord } from '../../lib/backend/backend.ts'
import { etagOf } from '../../lib/backend/backend.ts'
import { InProcessBackend } from '../../lib/backend/in-process-backend.ts'
import { wrapBackend } from './wrap-backend.ts'

/** What a backend does that a naive one does not. */
export interface Care {
  /** `put` is refused where a tombstone stands. */
  readonly heedsTombstones: boolean
  /** `put` is refused unless the version is the expected one. */
  readonly heedsEtags: boolean
  /** `touch` moves the expiry of what stands, rather than writing back what it has read. */
  readonly touchesInPlace: boolean
  /** `end` leaves a tombstone, rather than only removing the record. */
  readonly leavesTombstones: boolean
}

export const careful: Care = {
  heedsTombstones: true,
  heedsEtags: true,
  touchesInPlace: true,
  leavesTombstones: true,
}

/**
 * A fake of a backend as one would first write it, for the checker to be checked with: with all care it keeps the contract, without any of
 * it it does not. `pause` is where a verb of two steps can be overtaken.
 */
export function createNaiveBackend(care: Care, pause: () => Promise<unknown>): Backend {
  const records = new Map<string, StoredRecord>()
  const ended = new Set<string>()
  const expiry = (ttlMs: number) => Date.now() + ttlMs
  return wrapBackend(new InProcessBackend({ clock: { now: () => Date.now() } }), {
    get: async (handle) => records.get(handle),
    put: async (handle, { expect, blob, ttlMs }) => {
      const stands = records.get(handle)
      if (ended.has(handle) && care.heedsTombstones) return { answer: 'ended' }
      if (care.heedsEtags && expect.kind === 'absent' && stands) return { answer: 'conflict' }
      if (care.heedsEtags && expect.kind === 'version' && stands && !etagOf(stands.blob).equals(expect.etag))
        return { answer: 'conflict' }
      if (care.heedsTombstones && expect.kind === 'version' && !stands) return { answer: 'gone' }
      records.set(handle, { blob, expiresAtMs: expiry(ttlMs) })
      return { answer: 'stored', expiresAtMs: expiry(ttlMs) }
    },
    touch: async (handle, ttlMs) => {
      const stands = records.get(handle)
      if (!stands) return undefined
      if (!care.touchesInPlace) await pause()
      if (!care.touchesInPlace || records.has(handle))
        records.set(handle, { ...stands, expiresAtMs: expiry(ttlMs) })
      return expiry(ttlMs)
    },
    end: async (handle) => {
      const stands = records.get(handle)
      records.delete(handle)
      if (care.leavesTombstones) ended.add(handle)
      return { answer: stands ? 'ended' : 'missing', blob: stands?.blob }
    },
  })
}
