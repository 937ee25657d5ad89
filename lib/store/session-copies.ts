import type { Session, SessionData } from 'express-session'
import { SessionForeignError, SessionIdError, StoreUnavailableError } from '../errors.ts'
import type { EndedMember } from '../registry/membership.ts'
import { handleOf } from '../session/names.ts'
import type { SessionRecord } from '../session/records.ts'
import { type Origin, TrackedSession } from './tracked-session.ts'

/** What a Session of express-session has, for which it has no type. */
interface SessionFields {
  readonly id?: unknown
  readonly req?: { readonly sessionStore?: unknown }
  readonly save?: unknown
}

/**
 * What is remembered of the data that was loaded and of the sessions that requests hold, kept aside as express-session
 * hands both back: to `createSession` the one, to `set` the other.
 */
export class SessionCopies {
  readonly #store: object
  readonly #records = new WeakMap<object, SessionRecord>()
  readonly #copies = new WeakMap<object, TrackedSession>()
  /** The last copy that each request was given. */
  readonly #latest = new WeakMap<object, TrackedSession>()

  constructor(store: object) {
    this.#store = store
  }

  loaded(data: SessionData, record: SessionRecord): void {
    this.#records.set(data, record)
  }

  /** Takes note of the session that a request was given for loaded data. */
  adopt(req: object, session: Session, data: SessionData): void {
    const record = this.#records.get(data)
    if (record === undefined) return
    const handle = handleOf(session.id)
    const before = this.#latest.get(req)
    const isAgain = before?.handle === record.handle
    const { labels, predecessor } = isAgain ? before : {}
    const copy = new TrackedSession(handle ?? record.handle, { record, labels, predecessor })
    if (handle !== record.handle) copy.refuse(loadedElsewhere())
    else if (isAgain && before.refusal) copy.refuse(before.refusal)
    this.#note(req, session, copy)
  }

  /** Takes note of the session that a request was given in the place of another. Throws if its id cannot be one. */
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

  /** Lets nothing that a request holds of a session be saved any more, and throws why. */
  condemn(req: object, old: TrackedSession | undefined, error: unknown): never {
    const failure = error instanceof Error ? error : new StoreUnavailableError('unknown')
    const latest = this.#latest.get(req)
    old?.refuse(failure)
    if (old && latest?.handle === old.handle) latest.refuse(failure)
    throw failure
  }

  // A Session that express-session generated for this store carries its request; a script's plain object does not.
  copyOf(session: object): TrackedSession | undefined {
    const known = this.#copies.get(session)
    if (known) return known
    const { req, id } = session as SessionFields
    const handle = req?.sessionStore === this.#store ? handleOf(id) : undefined
    if (req === undefined || handle === undefined) return undefined
    const copy = new TrackedSession(handle, { predecessor: this.#latest.get(req)?.succession })
    this.#copies.set(session, copy)
    return copy
  }

  /** The copy to store under a handle, `undefined` for a plain object. Throws if it belongs under another. */
  copyFor(handle: string, session: object): TrackedSession | undefined {
    const copy = this.copyOf(session)
    const origin = copy ?? this.#records.get(session)
    if (origin && origin.handle !== handle) throw loadedElsewhere()
    return copy
  }

  /**
   * The copy of what express-session is to store for a request, `undefined` if its id cannot be one. Throws if
   * express-session would store nothing, or something else.
   */
  copyToCommit({ sessionID }: { sessionID?: unknown }, session: object): TrackedSession | undefined {
    const { id, req, save } = session as SessionFields
    if (typeof save !== 'function' || req === undefined)
      throw new SessionForeignError('something has replaced req.session; change its properties instead')
    if (req.sessionStore !== this.#store)
      throw new SessionForeignError(
        'another store made it; commit it with the store that session() was given',
      )
    if (id !== sessionID) throw new SessionForeignError('it has another id than the request')
    return this.copyOf(session)
  }

  #note(req: object, session: Session, copy: TrackedSession): void {
    this.#copies.set(session, copy)
    this.#latest.set(req, copy)
  }
}

function loadedElsewhere(): SessionForeignError {
  return new SessionForeignError('it was made or loaded under another session id')
}
