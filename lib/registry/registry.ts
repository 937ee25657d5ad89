import type { Actor } from '../option.ts'
import type { SessionDevice } from '../session/device.ts'
import type { SessionEnding } from '../session/ending.ts'
import type { UserId } from '../session/names.ts'
import type { SessionTarget, WatchTarget } from './targets.ts'
import type { SessionWatch } from './watch.ts'

/** A session that can be used, as a device list shows it. */
export interface ActiveSession {
  readonly status: 'active'
  /** Names the session in `end`, `watch` and admin routes. It cannot be used to sign in. */
  readonly handle: string
  /** `token` if `express-session-valkey/auth` opened it, `session` if express-session did. */
  readonly kind: 'session' | 'token'
  readonly createdAt: Date
  /** What the `device` option returned at sign-in; of an ended session absent if it is larger than about 4,000 bytes. */
  readonly device?: SessionDevice
  /** The last use; as exact as `touchAfter`. */
  readonly lastSeenAt: Date
  readonly expiresAt: Date
  /** Whether `list` was given this session as `current`. */
  readonly isCurrent: boolean
}

/** A session that was ended within `endedTtl`, as a device list shows it. */
export interface EndedSession
  extends Omit<ActiveSession, 'status' | 'lastSeenAt' | 'expiresAt' | 'isCurrent'> {
  readonly status: 'ended'
  /** When, why and by whom the session was ended. */
  readonly ending: SessionEnding
  readonly isCurrent: false
}

/** A session as its user's device list shows it; `status` says which of the two. */
export type RegisteredSession = ActiveSession | EndedSession

export interface ListOptions {
  /** Whether to list ended sessions too, at most 100. @defaultValue false */
  readonly includeEnded?: boolean | undefined
  /** How many active sessions to return at most, 1 to 10,000; {@link SessionRegistry.each} iterates all. @defaultValue 1000 */
  readonly limit?: number | undefined
  /** The session to mark as `isCurrent`. @defaultValue none */
  readonly current?: SessionTarget | undefined
  /** Which kind of sessions to list. @defaultValue both */
  readonly kind?: ActiveSession['kind'] | undefined
}

export interface EndOptions {
  /** A short code that is kept with the ending, formed as {@link Actor.type}. @defaultValue 'ended' */
  readonly reason?: string | undefined
  /** Who ends the session. @defaultValue `{ type: 'app' }` */
  readonly actor?: Actor | undefined
  /** How many replicas to wait for, 1 to 100; the result then has `durability`. @defaultValue none */
  readonly replicas?: number | undefined
  /** How long to wait for `replicas`, in ms, 1 to 60,000. @defaultValue 1000 */
  readonly timeoutMs?: number | undefined
}

export interface EndAllOptions extends EndOptions {
  /** The one session to keep. @defaultValue none */
  readonly except?: SessionTarget | undefined
  /**
   * Which kind of sessions to end: those that are stored by now, and sign-ins of either kind that are under way.
   * @defaultValue both
   */
  readonly kind?: ActiveSession['kind'] | undefined
}

/** How far an ending has spread. The primary has it in any case. */
export interface Durability {
  /** How many replicas certainly have it; the least of all primaries of a cluster. 0 also if that is unknown. */
  readonly acknowledgedBy: number
  /** Whether that is as many as `replicas` asks for: then no failover to one of them brings a session back. */
  readonly isDurable: boolean
}

export interface EndResult {
  /** `not-found`: no session has this name; it is barred for the next 15 minutes all the same. */
  readonly outcome: 'ended' | 'already-ended' | 'not-found'
  /** How many replicas have the ending; only with the option `replicas`. */
  readonly durability: Durability | undefined
}

export interface EndAllResult {
  /** The handles of the sessions that this call ended. */
  readonly ended: readonly string[]
  /** How many replicas have every ending; only with the option `replicas`. */
  readonly durability: Durability | undefined
}

/**
 * Lists, watches and ends a user's sessions. User ids are those that the `userId` option returns. Every call is safe to
 * repeat, and rejects with `StoreUnavailableError` or `OutcomeUnknownError` when the backend fails.
 *
 * @example
 * ```ts
 * import { InProcessStore } from 'express-session-valkey'
 *
 * const { registry } = new InProcessStore({ maxSessionsPerUser: 5 })
 * const devices = await registry.list('alice')
 * const { ended } = await registry.endAll('alice', { reason: 'password-changed', actor: { type: 'user' } })
 * console.log(devices.length, ended.length)
 * ```
 */
export interface SessionRegistry {
  /**
   * Lists the user's active sessions, newest first and at most `limit`; with `includeEnded` the ended ones follow. Reads a
   * page at a time.
   *
   * @throws TypeError if the user id or an option is wrong.
   */
  list(userId: UserId, options?: ListOptions): Promise<RegisteredSession[]>

  /**
   * Iterates all active sessions of the user, newest first: for users who may have more than a list should hold. Reads a
   * page at a time, when it is asked for; each page has a deadline of its own.
   *
   * @throws TypeError if the user id or an option is wrong.
   *
   * @example
   * ```ts
   * import { InProcessStore } from 'express-session-valkey'
   *
   * const { registry } = new InProcessStore({ maxSessionsPerUser: false })
   * for await (const { handle, lastSeenAt } of registry.each('kiosk')) console.log(handle, lastSeenAt)
   * ```
   */
  each(userId: UserId, options?: Pick<ListOptions, 'current'>): AsyncIterableIterator<ActiveSession>

  /**
   * Counts the user's sessions as `maxSessionsPerUser` does: those registered, and sign-ins that began within a minute and
   * may still be stored. Reads no session; with a `kind` it reads all of them.
   *
   * @throws TypeError if the user id or an option is wrong.
   */
  count(userId: UserId, options?: Pick<ListOptions, 'kind'>): Promise<number>

  /**
   * Returns whether the session is active and belongs to the user.
   *
   * @throws TypeError if the user id or the target is wrong.
   * @throws SessionIdError if the session id cannot be one.
   */
  has(userId: UserId, target: SessionTarget): Promise<boolean>

  /**
   * Ends one session, named by its session id or handle.
   *
   * @throws TypeError if the target or an option is wrong.
   * @throws SessionIdError if the session id cannot be one.
   */
  end(target: SessionTarget, options?: EndOptions): Promise<EndResult>

  /**
   * Ends all sessions of a user but the one `except` names. Once it resolves, no session of the user that began before the
   * call can be used. Ends them page by page, each with a deadline of its own. If it rejects, as it does after a minute at
   * the latest, repeat it: the repeat goes on with those that are left.
   *
   * @throws TypeError if the user id or an option is wrong.
   * @throws SessionIdError if the session id of `except` cannot be one.
   */
  endAll(userId: UserId, options?: EndAllOptions): Promise<EndAllResult>

  /**
   * Returns how a session ended, for as long as `endedTtl`; `undefined` if it has not.
   *
   * @throws TypeError if the target is wrong.
   * @throws SessionIdError if the session id cannot be one.
   */
  ending(target: SessionTarget): Promise<SessionEnding | undefined>

  /**
   * Watches for the end of one session, or of each session of a user, on whatever node: await its `ended`, or iterate it.
   * Reports at once as a rule, and within `watchIntervalMs` always, as long as the backend can be reached. `signal` stops the
   * watch. With a `kind`, only a user's sessions of that kind are reported, and those whose kind is not known, such as of the
   * oldest of more than 100 that end at once.
   *
   * @throws TypeError if the target is not exactly one of `{ sid }`, `{ handle }` and `{ userId }`, or a `kind` is given with
   * one session.
   * @throws SessionIdError if the session id cannot be one.
   * @throws StoreClosedError after `close`.
   *
   * @example
   * ```ts
   * import { InProcessStore } from 'express-session-valkey'
   *
   * const { registry } = new InProcessStore()
   * const stop = new AbortController()
   * for await (const { handle, reason } of registry.watch({ userId: 'alice' }, { signal: stop.signal })) {
   *   console.log(handle, reason)
   * }
   * ```
   */
  watch(
    target: WatchTarget,
    options?: { readonly signal?: AbortSignal | undefined; readonly kind?: 'session' | 'token' | undefined },
  ): SessionWatch
}
