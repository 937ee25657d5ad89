import { randomBytes } from 'node:crypto'
import type { ValkeyStore } from '../../lib/index.ts'

const SIDE_BY_SIDE = 200

/** Stores as many sessions, one in three of a user's own; answers their ids. */
export async function fill(store: ValkeyStore, count: number): Promise<string[]> {
  const sids = Array.from({ length: count }, () => randomBytes(24).toString('base64url'))
  for (let at = 0; at < count; at += SIDE_BY_SIDE)
    await Promise.all(
      sids.slice(at, at + SIDE_BY_SIDE).map((sid, index) =>
        store.set(sid, {
          cookie: { originalMaxAge: null, path: '/' },
          cart: [at + index],
          ...(index % 3 === 0 && { userId: `user-${at + index}` }),
        } as never),
      ),
    )
  return sids
}
