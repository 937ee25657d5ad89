import type { Backend, Condition } from '../backend/backend.ts'
import { isSessionStoreError } from '../errors.ts'
import { late, withDeadline } from '../operations.ts'

/** What `health()` answers. */
export interface StoreHealth extends Condition {
  readonly isReady: boolean
  /** How long the backend took to answer, in ms; absent if it did not. */
  readonly latencyMs?: number
  /** The `code` of what went wrong, if something did. */
  readonly failure?: string
}

/** Never rejects. */
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
