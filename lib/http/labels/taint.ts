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
      /** The labels of this request's session or user. Set by `taintLabels`; `taintOf(req)` throws without it. */
      taint?: Taint
    }
  }
}

/** The labels of a request's session or user, on `req.taint`. */
export interface Taint {
  /** The labels that were loaded when the request began and those added since, also while their `add` is under way. Throws if loading failed. */
  readonly labels: ReadonlySet<string>
  /** Returns whether the label is among them. Throws if loading failed. */
  has(label: string): boolean
  /**
   * Adds labels; resolves once they are stored. Call and await it before you read the data. The response waits for it in any
   * case; if it fails, the client gets 503 with `Retry-After`, and nothing the handler wrote.
   *
   * @throws TypeError if something is not a label.
   * @throws LabelLimitError if there would be more than 64.
   */
  add(...labels: string[]): Promise<void>
  /**
   * Loads the labels again and returns them: for handlers that pass on a body while it arrives, and for streams that stay open.
   *
   * @throws TaintDeniedError if a gate that this request passed before would deny it now.
   */
  check(): Promise<ReadonlySet<string>>
}

/** Returns whether to deny a request with these labels. Any value but `false` denies. */
export type TaintPolicy = (labels: ReadonlySet<string>, req: Request) => boolean | Promise<boolean>

/** What `taintLabels` needs of the session store. */
export interface SealingStore {
  /** Returns the labels sealed into this session, or to be sealed with its next save. Throws if the store did not make or load the session. */
  sealedLabels(session: object): readonly string[]
  /** Seals more labels with the next save, which stores them even if nothing else has changed. Throws as `sealedLabels`. */
  sealLabels(session: object, labels: readonly string[]): void
  /** Returns the session as it is stored now. Rejects if it was ended since it was loaded. */
  storedSession(session: object): Promise<StoredSession>
  /** Stores the session of a request as it is now. Rejects if that fails. */
  commit(req: Request): Promise<void>
  /** Returns whether the session is new, empty and not stored. */
  isPristine(session: object): boolean
  /** Makes the store's `check()` include what the label store finds. */
  checkAlso(labels: LabelStore): void
}
