import type { Session, SessionData } from 'express-session'
import { SessionForeignError, SessionIdError, StoreUnavailableError } from '../errors.ts'
import type { EndedMember } from '../registry/membership.ts'
import { handleOf } from '../session/names.ts'
import type { SessionRecord } from '../session/records.ts'
import { attached } from './attached.ts'
import { type Origin, TrackedSession } from './tracked-session.ts'

/** Properties of a Session that the types of express-session lack. */
interface SessionFields {
  readonly id?: unknown
  readonly req?: { readonly sessionStore?: unknown }
  readonly save?: unknown
}

/**
 * Tracks which record each Session of a request came from. Keeps that aside, as express-session passes back what it was
 * given: loaded data to `createSession`, Sessions to `set`.
 */
export class TrackedRequests {
  readonly #store: object
  readonly #records = attached<SessionRecord>()
  readonly #sessions = attached<TrackedSession>()
  /** The Sessions that were made, not loaded. */
  readonly #made = attached<true>()
  /** The last session of each request. */
  readonly #latest = attached<TrackedSession>()

  constructor(store: object) {
    this.#store = store
  }

  loaded(data: SessionData, record: SessionRecord): void {
    this.#records.set(data, record)
  }

  /** Notes a session that was made, not loaded. */
  made(session: object): void {
    this.#made.set(session, true)
  }

  /** Tracks the session that a request was given for loaded data. */
  adopt(req: object, session: Session, data: SessionData): void {
    const record = this.#records.get(data)
    if (record === undefined) return
    const handle = handleOf(session.id)
    const before = this.#latest.get(req)
    const isAgain = before?.handle === record.handle
    const { labels, predecessor } = isAgain ? before : {}
    const tracked = new TrackedSession(handle ?? record.handle, { record, labels, predecessor })
    if (handle !== record.handle) tracked.refuse(loadedElsewhere())
    else if (isAgain && before.refusal) tracked.refuse(before.refusal)
    this.#note(req, session, tracked)
  }

  /** Tracks the session that replaces another of the request. Throws if its id cannot be one. */
  succeed(req: { session: Session }, old: TrackedSession, origin: Origin): void {
    const handle = handleOf(req.session.id)
    if (handle === undefined) throw new SessionIdError()
    const latest = this.#latest.get(req)
    const labels = [...old.labels, ...(latest?.handle === old.handle ? latest.labels : [])]
    this.#note(req, req.session, new TrackedSession(handle, { ...origin, labels }))
  }

  /** Notes that a request ends its session itself, perhaps to replace it by hand. */
  endedByHand(req: object, handle: string | undefined, ended: Promise<EndedMember | undefined>): void {
    const latest = this.#latest.get(req)
    if (latest && latest.handle === handle) latest.endedByHand = ended
  }

  /** Refuses further saves of a session that a request holds, and throws why. */
  condemn(req: object, old: TrackedSession | undefined, error: unknown): never {
    const failure = error instanceof Error ? error : new StoreUnavailableError('unknown')
    const latest = this.#latest.get(req)
    old?.refuse(failure)
    if (old && latest?.handle === old.handle) latest.refuse(failure)
    throw failure
  }

  // A Session that express-session generated for this store carries its request; a script's plain object does not.
  trackedOf(session: object): TrackedSession | undefined {
    const known = this.#sessions.get(session)
    if (known) return known
    const { req, id } = session as SessionFields
    const handle = req?.sessionStore === this.#store ? handleOf(id) : undefined
    if (req === undefined || handle === undefined) return undefined
    const tracked = new TrackedSession(handle, { predecessor: this.#latest.get(req)?.succession })
    this.#sessions.set(session, tracked)
    return tracked
  }

  /** Returns the session to store under a handle; `undefined` for a plain object. Throws if it belongs under another. */
  trackedFor(handle: string, session: object): TrackedSession | undefined {
    const tracked = this.trackedOf(session)
    const origin = tracked ?? this.#records.get(session)
    if (origin && origin.handle !== handle) throw loadedElsewhere()
    return tracked
  }

  /**
   * Returns the session that express-session is to store for a request, `undefined` if its id cannot be one. Throws if
   * express-session would store nothing, or something else.
   */
  committed({ sessionID }: { sessionID?: unknown }, session: object): TrackedSession | undefined {
    const { id, req, save } = session as SessionFields
    if (typeof save !== 'function' || req === undefined)
      throw new SessionForeignError('something has replaced req.session; change its properties instead')
    if (req.sessionStore !== this.#store)
      throw new SessionForeignError(
        'another store made it; commit it with the store that session() was given',
      )
    if (id !== sessionID) throw new SessionForeignError('it has another id than the request')
    return this.trackedOf(session)
  }

  /**
   * Returns the session whose labels are asked for. Throws a `TypeError` for one that was neither made nor loaded here: the
   * labels of a session made out of a copy of loaded data are unknown.
   */
  labelled(session: object): TrackedSession {
    const tracked = this.trackedOf(session)
    if (tracked && (tracked.record || this.#made.get(session))) return tracked
    throw new TypeError(
      'The session was neither made nor loaded by this store: give session() this store, and createSession the very object that get returned',
    )
  }

  /** Returns whether a session was made here, holds nothing and is not stored. */
  isPristine(session: object): boolean {
    const tracked = this.#made.get(session) && isBlank(session) ? this.trackedOf(session) : undefined
    return (
      tracked !== undefined && tracked.record === undefined && !tracked.mayBeStored && isUnlabelled(tracked)
    )
  }

  /** Returns whether a session needs no record: it is new, holds nothing, and has no label. */
  isUnused(tracked: TrackedSession | undefined, session: object): boolean {
    return tracked?.record === undefined && isBlank(session) && isUnlabelled(tracked)
  }

  #note(req: object, session: Session, tracked: TrackedSession): void {
    this.#sessions.set(session, tracked)
    this.#latest.set(req, tracked)
  }
}

function isUnlabelled(tracked: TrackedSession | undefined): boolean {
  return tracked === undefined || tracked.labels.length === 0
}

function isBlank(session: object): boolean {
  return Object.keys(session).every((key) => key === 'cookie')
}

function loadedElsewhere(): SessionForeignError {
  return new SessionForeignError('it was made or loaded under another session id')
}
