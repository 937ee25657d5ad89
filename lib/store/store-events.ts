import type { Finding } from '../backend/finding.ts'

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
export interface StoreEvents {
  /** What is stored under the handle fails verification, or cannot be read. */
  'session-invalid': [{ readonly handle: string }]
  /** It was sealed with a secret that is not configured. */
  'session-unknown-key': [{ readonly handle: string }]
  /** A save met another request's save; the two were merged. */
  'session-merged': [{ readonly handle: string; readonly attempts: number }]
  /** A session was ended through this store: a sign-out, an eviction, an end by the app, or a lost place in its registry. */
  'session-ended': [{ readonly handle: string; readonly reason: string }]
  /** A save was refused because the session had been ended, or was gone. */
  'write-refused': [{ readonly handle: string; readonly ending: 'ended' | 'gone' }]
  /** A server that was connected to breaks a promise; all of severity `error`. See the option `onUnsafeServer`. */
  'unsafe-server': [{ readonly findings: readonly Finding[] }]
  /** Another app registers sessions under the same prefix with other secrets; once for each store. */
  'shared-prefix': [{ readonly finding: Finding }]
}

/** The events that tell of one session. */
export type SessionEvent = Exclude<keyof StoreEvents, 'unsafe-server' | 'shared-prefix'>

export type Announce = <Name extends SessionEvent>(name: Name, facts: StoreEvents[Name][0]) => void
