/** The events that tell of one session. None carries more of it than its handle. */
export interface SessionEvents {
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
}

/** Tells a store's listeners of one session. Never throws. */
export type Announce = <Name extends keyof SessionEvents>(name: Name, facts: SessionEvents[Name][0]) => void
