import type { Finding } from '../backend/finding.ts'

/**
 * The events of a store, by name, with what listeners get. No event carries more of a session than its handle. A store
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
  /** A refresh token was presented long after it was spent: its token session was ended, as somebody else may have it. */
  'refresh-reused': [{ readonly handle: string; readonly presented: 'late-parent' | 'stale' }]
  /** A refresh token is newer than its stored session: the backend has lost a write, as in a failover. */
  'refresh-ahead': [{ readonly handle: string }]
  /** A token session was ended, and an upstream could not be told. */
  'upstream-logout-failed': [{ readonly handle: string }]
  /** A server that was connected to breaks a promise; all findings are of severity `error`. See the option `onUnsafeServer`. */
  'unsafe-server': [{ readonly findings: readonly Finding[] }]
  /** Another app registers sessions under the same prefix with other secrets; once for each store. */
  'shared-prefix': [{ readonly finding: Finding }]
}

/** The events of one session. */
export type SessionEvents = Omit<StoreEvents, 'unsafe-server' | 'shared-prefix'>

/** Notifies a store's listeners of an event of one session. Never throws. */
export type Announce = <Name extends keyof SessionEvents>(name: Name, facts: SessionEvents[Name][0]) => void
