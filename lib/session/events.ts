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
}

/** Tells a store's listeners of one session. Never throws. */
export type Announce = <Name extends keyof SessionEvents>(name: Name, facts: SessionEvents[Name][0]) => void
