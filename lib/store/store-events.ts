import type { Finding } from '../backend/finding.ts'
import type { SessionEvents } from '../session/events.ts'

/**
 * What the store tells its listeners, by event name. None carries more of a session than its handle. A store
 * never emits `connect` or `disconnect`, at which express-session lets requests through without a session.
 *
 * @example
 * ```ts
 * import { InProcessStore } from 'express-session-valkey'
 *
 * const store = new InProcessStore()
 * store.on('session-invalid', ({ handle }) => console.warn('refused a stored session', handle))
 * ```
 */
export interface StoreEvents extends SessionEvents {
  /** A server that was connected to breaks a promise; all of severity `error`. See the option `onUnsafeServer`. */
  'unsafe-server': [{ readonly findings: readonly Finding[] }]
  /** Another app registers sessions under the same prefix with other secrets; once for each store. */
  'shared-prefix': [{ readonly finding: Finding }]
}
