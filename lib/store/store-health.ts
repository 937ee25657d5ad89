import type { Backend } from '../backend/backend.ts'
import { isSessionStoreError } from '../errors.ts'
import { late, withDeadline } from '../operations.ts'
import type { StoreHealth } from './store.ts'

/** Returns whether the backend replies. Never rejects. */
export async function healthOf(backend: Backend, deadlineMs: number): Promise<StoreHealth> {
  const startMs = performance.now()
  try {
    await withDeadline(backend.ping(), deadlineMs, late.read)
    return { isReady: true, latencyMs: performance.now() - startMs, ...backend.condition }
  } catch (error) {
    const failure = isSessionStoreError(error) ? error.code : 'ERR_STORE_UNAVAILABLE'
    return { isReady: false, failure, ...backend.condition }
  }
}
