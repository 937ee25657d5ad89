import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import type { Request } from 'express'
import type { SessionData, Store } from 'express-session'
import type { Finding } from '../backend/finding.ts'
import type { FailureCause } from '../errors.ts'
import type { SessionRegistry } from '../registry/registry.ts'
import type { StoreEvents } from '../session/events.ts'

/** The result of `health()`. */
export interface StoreHealth {
  /** Whether the backend replied. */
  readonly isReady: boolean
  /** How long the reply took, in ms; absent without a reply. */
  readonly latencyMs?: number
  /** The `code` of the error, if the backend did not reply. */
  readonly failure?: string
  /**
   * Whether calls are sent (`closed`), reject at once without being sent (`open`), or one of them probes the server (`half-open`);
   * of several primaries the worst.
   */
  readonly breaker?: 'closed' | 'open' | 'half-open'
  /** The same for each primary of a cluster that was asked, by `host:port`. */
  readonly primaries?: Readonly<Record<string, 'closed' | 'open' | 'half-open'>>
  /** The last attempt that failed, even if a repeat of it succeeded. `refused`: it was not applied; `unknown`: it may have been. */
  readonly lastFailure?: FailureCause & { readonly kind: 'refused' | 'unknown'; readonly at: Date }
}

/**
 * A session store: the methods of express-session's `Store`, each with a callback or a promise, and a few more.
 * `ValkeyStore` and `InProcessStore` implement it.
 *
 * Every call settles in time. It rejects with `StoreUnavailableError` or `OutcomeUnknownError` when the backend fails, and
 * with `StoreClosedError` after `close()`.
 */
export interface SessionStore extends Store {
  /** Lists, watches and ends a user's sessions. */
  readonly registry: SessionRegistry

  /** Returns the session's data, or `null` if there is none: missing, expired, ended, or not ours. */
  get(sid: string): Promise<SessionData | null>
  get(sid: string, callback: (error: unknown, session?: SessionData | null) => void): void

  /**
   * Stores a session. A loaded session updates exactly the record it was loaded from, a new one never overwrites, a plain
   * object overwrites what is stored.
   *
   * @throws SessionEndedError if the session was ended, or has expired, since it was loaded.
   * @throws SessionConflictError if another request saved first and the two cannot be merged.
   * @throws SessionLimitError if the user has too many sessions and `onMaxSessions` is `'reject'`.
   * @throws SessionForeignError if the session was loaded under another id.
   * @throws SessionTooLargeError, SessionNotSerializableError, SessionTtlError, SessionUserIdError, SessionIdError if the
   * session cannot be stored as it is.
   */
  set(sid: string, session: SessionData): Promise<void>
  set(sid: string, session: SessionData, callback: ((error?: unknown) => void) | undefined): void

  /**
   * Stores a session of another store under its id and registers it for its user. Returns `exists` if a session with that id
   * is stored here already, `ended` if it was ended or has expired. `ttl` is its remaining lifetime in seconds; by default that
   * of its cookie, else the option `ttl`. Rejects as `set` does. Remove the session from the other store afterwards: once its
   * tombstone has expired, it could be adopted again.
   *
   * @throws SessionIdError if the id cannot be one.
   *
   * @example
   * ```ts
   * import { InProcessStore } from 'express-session-valkey'
   *
   * const store = new InProcessStore()
   * const outcome = await store.adopt('an-old-id', { cookie: { originalMaxAge: null }, userId: 'alice' }, { ttl: 3600 })
   * console.log(outcome)
   * ```
   */
  adopt<Kept extends Pick<SessionData, 'cookie'>>(
    sid: string,
    session: Kept,
    terms?: { readonly ttl?: number | undefined },
  ): Promise<'adopted' | 'exists' | 'ended'>

  /** Ends a session for good: nothing can be stored under its id until its tombstone expires, after `endedTtl`. */
  destroy(sid: string): Promise<void>
  destroy(sid: string, callback: ((error?: unknown) => void) | undefined): void

  /**
   * Extends a session's idle lifetime, if by at least `touchAfter`. Never changes or revives a session.
   *
   * @throws SessionEndedError if a loaded session turns out to be ended, or gone.
   */
  touch(sid: string, session: SessionData): Promise<void>
  touch(sid: string, session: SessionData, callback: ((error?: unknown) => void) | undefined): void

  /** Returns all sessions that can be read, each with its handle as `id`. Scans every primary: for administration, not for requests. */
  all(): Promise<(SessionData & { readonly id: string })[]>
  all(callback: (error: unknown, sessions?: (SessionData & { readonly id: string })[]) => void): void

  /** Returns the handles of all sessions. Scans every primary. */
  ids(): Promise<string[]>
  ids(callback: (error: unknown, handles?: string[]) => void): void

  /** Counts all sessions. Scans every primary. */
  length(): Promise<number>
  length(callback: (error: unknown, length?: number) => void): void

  /** Ends every session of this store's prefix. Scans every primary. */
  clear(): Promise<void>
  clear(callback: ((error?: unknown) => void) | undefined): void

  /**
   * Returns the handle of a session id: its name everywhere but in the cookie.
   *
   * @throws SessionIdError if it cannot be a session id.
   */
  handle(sid: string): string

  /** Returns whether the backend replies, and how calls to it have fared: for readiness probes. Never rejects. */
  health(): Promise<StoreHealth>

  /**
   * Checks whether servers, connection, rights and lifetimes are such that every promise holds, and returns what is not. Covers
   * the label store that `taintLabels` uses with this store, too. Asks every primary, and tries rights on keys that are gone a
   * second later: for deployments and administration, not for requests. Never rejects; an empty list is good news.
   */
  check(): Promise<readonly Finding[]>

  /** Lets calls in flight settle and refuses later ones with `StoreClosedError`. A client that was handed in stays open. */
  close(): Promise<void>

  /**
   * Stores the changes that a request made to its session: waits for its saves and destroys that are under way, then stores
   * `req.session` if it has changed, or extends it if that is due. With `saveUninitialized`, as the option of
   * express-session, it also stores a new session that holds nothing. `sessionGuard` calls it before a response's first byte;
   * call it yourself where no guard is.
   *
   * @throws SessionStoreError the first failure, as `set`, `touch` and `destroy` reject.
   * @throws SessionForeignError if something replaced `req.session`.
   */
  commit(
    req: IncomingMessage | Http2ServerRequest,
    options?: { readonly saveUninitialized?: boolean | undefined },
  ): Promise<void>

  /**
   * Ends the request's session and gives it a new one. If the old session could not be ended, no new one is made and the old
   * one cannot be saved any more.
   *
   * @throws SessionEndedError if a user's session was ended, or is gone, already.
   */
  regenerate(req: Request): Promise<void>
  regenerate(req: Request, callback: ((error?: unknown) => void) | undefined): void

  /** Gives the request a new session; express-session sets it when the store is given to `session()`. */
  generate: (req: Request) => void

  /** Listens to one of the {@link StoreEvents}. */
  on<Name extends keyof StoreEvents>(name: Name, listener: (...facts: StoreEvents[Name]) => void): this
  on(name: string | symbol, listener: Parameters<Store['on']>[1]): this
  once<Name extends keyof StoreEvents>(name: Name, listener: (...facts: StoreEvents[Name]) => void): this
  once(name: string | symbol, listener: Parameters<Store['once']>[1]): this
}

export type AdoptOutcome = Awaited<ReturnType<SessionStore['adopt']>>
export type CommitOptions = NonNullable<Parameters<SessionStore['commit']>[1]>
/** A session as `all()` lists it: its data, and its handle as `id`. */
export type ListedSession = SessionData & { readonly id: string }
