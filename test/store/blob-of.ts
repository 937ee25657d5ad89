import type { SessionStore } from '../../lib/store/store.ts'
import type { Place } from './stores.ts'

const MAX_BYTES = 100_000

/** What a backend keeps of a session that lives. */
export async function blobOf(place: Place, store: SessionStore, sid = 'sid'): Promise<Buffer> {
  const record = await place.backend().get(store.handle(sid), MAX_BYTES)
  if (typeof record !== 'object') throw new Error('There is no readable record')
  return record.blob
}
