import type { Request } from 'express'
import type { LabelStore } from '../../labels/label-store.ts'
import type { StoredSession } from '../../store/sessions.ts'

declare module 'express-session' {
  interface SessionData {
    /** Set by `taintLabels` on a session that has labels, so that express-session stores it and the client keeps it. */
    tainted?: boolean
  }
}

// Global, as a package manager that links no more than is listed gives this package no types to augment by name.
declare global {
  namespace Express {
    interface Request {
      /** What this request's session or user has been exposed to. Set by `taintLabels`; `taintOf(req)` throws without it. */
      taint?: Taint
    }
  }
}

/** The labels of a request's session or user, on `req.taint`. */
export interface Taint {
  /** The labels, those being added included; as of when the request began, and grown since. Throws if they are not known. */
  readonly labels: ReadonlySet<string>
  /** Whether the label is among them. */
  has(label: string): boolean
  /**
   * Adds labels; resolves when they stand. Call it before the data is touched, and await it. The response waits for it
   * in any case; if it fails, the client gets 503 with `Retry-After`, and nothing of what the handler wrote.
   */
  add(...labels: string[]): Promise<void>
  /**
   * Loads the labels anew and answers them. Rejects with `TaintDeniedError` if a gate this request has passed would deny it
   * now: for handlers that pass on a body while it arrives, and for streams that stay open.
   */
  check(): Promise<ReadonlySet<string>>
}

/** Whether to deny a request with these labels. Anything but `false` denies. */
export type TaintPolicy = (labels: ReadonlySet<string>, req: Request) => boolean | Promise<boolean>

/** What `taintLabels` needs of the session store: whether a session can have labels, and a place in it for a copy of them. */
export interface SealingStore {
  /** The labels sealed into this session, or noted to be with its next save. Throws if the store does not know the session. */
  sealedLabels(session: object): readonly string[]
  /** Notes more labels to seal; the next save stores them, even if nothing else has changed. Throws as `sealedLabels`. */
  sealLabels(session: object, labels: readonly string[]): void
  /** The session as it is stored now. Rejects if it was ended since it was loaded. */
  storedSession(session: object): Promise<StoredSession>
  /** Stores the session of a request as it is now. Rejects if that fails. */
  commit(req: Request): Promise<void>
  /** Whether the store made the session for its request, with nothing put into it or stored of it since. */
  isPristine(session: object): boolean
  /** Makes the store's `check()` include what the label store finds. */
  checkAlso(labels: LabelStore): void
}
