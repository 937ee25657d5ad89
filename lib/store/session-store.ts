import type { Request } from 'express'
import { type Session, type SessionData, Store } from 'express-session'
import type { Backend } from '../backend/backend.ts'
import {
  OutcomeUnknownError,
  SessionIdError,
  SessionInvalidError,
  SessionStoreError,
  SessionUnknownKeyError,
  StoreUnavailableError,
} from '../errors.ts'
import type { Sealer } from '../seal/sealer.ts'
import { type Callback, deliver } from './callback.ts'
import { withDeadline } from './deadline.ts'
import type { ResolvedOptions } from './options.ts'
import { SessionCopy } from './session-copy.ts'
import { handleOf } from './session-id.ts'
import { SessionLife } from './session-life.ts'
import type { SessionRecord } from './session-records.ts'
import type { Announce } from './store-events.ts'

/** A session as `all()` lists it: its data, and its handle as `id`. */
export type ListedSession = SessionData & { readonly id: string }

/** What `health()` answers. */
export interface StoreHealth {
  readonly isReady: boolean
  /** How long the backend took to answer, in ms; absent if it did not. */
  readonly latencyMs?: number
  /** The `code` of what went wrong, if something did. */
  readonly failure?: string
}

export interface SessionStoreParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly options: ResolvedOptions
  /** When a call gives up waiting, in ms. */
  readonly deadlineMs: number
}

const late = {
  read: () => new StoreUnavailableError('timeout'),
  write: () => new OutcomeUnknownError('timeout'),
}

/**
 * What express-session and an app see of every store of this package: the methods of its `Store`, each with a
 * callback or a promise. `ValkeyStore` and `InProcessStore` say where the sessions are kept.
 */
export abstract class SessionStore extends Store {
  readonly #backend: Backend
  readonly #life: SessionLife
  readonly #deadlineMs: number
  // express-session hands loaded data back to createSession, and live sessions to set: what they came from is kept aside.
  readonly #records = new WeakMap<object, SessionRecord>()
  readonly #copies = new WeakMap<object, SessionCopy>()

  protected constructor({ backend, sealer, options, deadlineMs }: SessionStoreParts) {
    super()
    this.#backend = backend
    this.#deadlineMs = deadlineMs
    // Outside our promises: what a listener throws must not fail the session's request in our name.
    const announce: Announce = (name, facts) => process.nextTick(() => this.emit(name, facts))
    this.#life = new SessionLife({ backend, sealer, options, announce })
  }

  /** The session's data, or `null` if there is none: missing, expired, ended, or not ours. Rejects only if the backend fails. */
  override get(sid: string): Promise<SessionData | null>
  override get(sid: string, callback: (error: unknown, session?: SessionData | null) => void): void
  override get(sid: string, callback?: Callback<SessionData | null>): Promise<SessionData | null> | undefined {
    return this.#answer(this.#get(sid), late.read, callback)
  }

  /**
   * Stores a session. A loaded one updates exactly the record it was loaded from, a new one never overwrites, a
   * plain object overwrites what lives. Rejects with `SessionEndedError` if the session was ended meanwhile.
   */
  override set(sid: string, session: SessionData): Promise<void>
  override set(sid: string, session: SessionData, callback: ((error?: unknown) => void) | undefined): void
  override set(sid: string, session: SessionData, callback?: Callback<void>): Promise<void> | undefined {
    return this.#answer(this.#set(sid, session), late.write, callback)
  }

  /** Ends a session for good: until its tombstone expires nothing can be stored under its id. */
  override destroy(sid: string): Promise<void>
  override destroy(sid: string, callback: ((error?: unknown) => void) | undefined): void
  override destroy(sid: string, callback?: Callback<void>): Promise<void> | undefined {
    return this.#answer(this.#destroy(sid), late.write, callback)
  }

  /** Extends a session's idle lifetime, if by at least `touchAfter`. Never changes or revives one. */
  override touch(sid: string, session: SessionData): Promise<void>
  override touch(sid: string, session: SessionData, callback: ((error?: unknown) => void) | undefined): void
  override touch(sid: string, session: SessionData, callback?: Callback<void>): Promise<void> | undefined {
    return this.#answer(this.#touch(sid, session), late.write, callback)
  }

  /** All living sessions that open, each with its handle as `id`. Scans every primary: for administration, not for requests. */
  override all(): Promise<ListedSession[]>
  override all(callback: (error: unknown, sessions?: ListedSession[]) => void): void
  override all(callback?: Callback<ListedSession[]>): Promise<ListedSession[]> | undefined {
    return answer(this.#all(), callback)
  }

  /** The handles of all living sessions. Scans every primary. */
  ids(): Promise<string[]>
  ids(callback: (error: unknown, handles?: string[]) => void): void
  ids(callback?: Callback<string[]>): Promise<string[]> | undefined {
    return answer(this.#ids(), callback)
  }

  /** How many sessions live. Scans every primary. */
  override length(): Promise<number>
  override length(callback: (error: unknown, length?: number) => void): void
  override length(callback?: Callback<number>): Promise<number> | undefined {
    return answer(
      this.#ids().then((handles) => handles.length),
      callback,
    )
  }

  /** Ends every session of this store's prefix. Scans every primary. */
  override clear(): Promise<void>
  override clear(callback: ((error?: unknown) => void) | undefined): void
  override clear(callback?: Callback<void>): Promise<void> | undefined {
    return answer(this.#clear(), callback)
  }

  /** The handle of a session id, its name everywhere but in the cookie. Throws `SessionIdError` if it cannot be one. */
  handle(sid: string): string {
    const handle = handleOf(sid)
    if (handle === undefined) throw new SessionIdError()
    return handle
  }

  /** Whether the backend answers, for readiness probes. Never rejects. */
  async health(): Promise<StoreHealth> {
    const startMs = performance.now()
    try {
      await withDeadline(this.#backend.ping(), this.#deadlineMs, late.read)
      return { isReady: true, latencyMs: performance.now() - startMs }
    } catch (error) {
      return { isReady: false, failure: codeOf(error) }
    }
  }

  /** Lets calls in flight settle and refuses later ones with `StoreClosedError`. A client that was handed in stays open. */
  async close(): Promise<void> {
    await this.#backend.close()
  }

  /** As express-session's, and remembers which record the session came from. */
  override createSession(req: Request, data: SessionData): Session & SessionData {
    const session = super.createSession(req, data)
    const record = this.#records.get(data)
    if (record) this.#copies.set(session, new SessionCopy(record.handle, { record }))
    return session
  }

  /** As express-session's; but if the old session could not be ended, no new one is made and the old one cannot be saved any more. */
  override regenerate(req: Request, callback: (error?: unknown) => void): void {
    const old: object | undefined = req.session
    const ended = withDeadline(this.#destroy(req.sessionID), this.#deadlineMs, late.write)
    deliver(
      ended.then(
        () => this.#replace(req, old),
        (error: unknown) => this.#condemn(old, error),
      ),
      callback,
    )
  }

  #replace(req: Request, old: object | undefined): void {
    req.sessionStore.generate(req)
    const inherited = this.#life.inheritanceOf(old && this.#copies.get(old))
    const handle = handleOf(req.sessionID)
    if (inherited && handle) this.#copies.set(req.session, new SessionCopy(handle, { inherited }))
  }

  // An app that overlooks the error would go on to sign its user in to the id an attacker may know.
  #condemn(old: object | undefined, error: unknown): never {
    const failure = error instanceof Error ? error : new StoreUnavailableError('unknown')
    const copy = old && this.#copyOf(old)
    if (copy) copy.refusal = failure
    throw failure
  }

  async #get(sid: string): Promise<SessionData | null> {
    const handle = handleOf(sid)
    const loaded = handle === undefined ? undefined : await this.#life.load(handle)
    if (loaded === undefined) return null
    this.#records.set(loaded.data, loaded.record)
    return loaded.data
  }

  async #set(sid: string, session: SessionData): Promise<void> {
    const handle = this.handle(sid)
    const copy = this.#copyOf(session)
    return copy?.handle === handle ? this.#life.save(copy, session) : this.#life.write(handle, session)
  }

  async #touch(sid: string, session: SessionData): Promise<void> {
    const handle = handleOf(sid)
    if (handle === undefined) return
    const copy = this.#copies.get(session)
    return copy?.handle === handle ? this.#life.touch(copy, session) : this.#life.touchUnloaded(handle, session)
  }

  async #destroy(sid: string): Promise<void> {
    const handle = handleOf(sid)
    if (handle !== undefined) await this.#life.end(handle)
  }

  // A Session that express-session generated for this store carries its request; a script's plain object does not.
  #copyOf(session: object): SessionCopy | undefined {
    const known = this.#copies.get(session)
    if (known) return known
    const { req, id } = session as { readonly req?: { readonly sessionStore?: unknown }; readonly id?: unknown }
    const handle = req?.sessionStore === this ? handleOf(id) : undefined
    if (handle === undefined) return undefined
    const copy = new SessionCopy(handle)
    this.#copies.set(session, copy)
    return copy
  }

  async #ids(): Promise<string[]> {
    const found = new Set<string>()
    for await (const handles of this.#backend.handles()) for (const handle of handles) found.add(handle)
    return [...found]
  }

  async #all(): Promise<ListedSession[]> {
    const found = new Map<string, ListedSession>()
    for await (const handles of this.#backend.handles()) {
      for (const session of await Promise.all(handles.map((handle) => this.#listed(handle)))) {
        if (session) found.set(session.id, session)
      }
    }
    return [...found.values()]
  }

  async #listed(handle: string): Promise<ListedSession | undefined> {
    try {
      const loaded = await this.#life.load(handle)
      return loaded && { ...loaded.data, id: handle }
    } catch (error) {
      // With `onInvalid: 'error'` one bad record must not hide the good ones; its event has been emitted.
      if (isAboutContent(error)) return undefined
      throw error
    }
  }

  async #clear(): Promise<void> {
    for await (const handles of this.#backend.handles()) {
      await Promise.all(handles.map((handle) => this.#life.end(handle)))
    }
  }

  #answer<Value>(outcome: Promise<Value>, tooLate: () => Error, callback?: Callback<Value>): Promise<Value> | undefined {
    return answer(withDeadline(outcome, this.#deadlineMs, tooLate), callback)
  }
}

function answer<Value>(outcome: Promise<Value>, callback?: Callback<Value>): Promise<Value> | undefined {
  if (callback === undefined) return outcome
  deliver(outcome, callback)
  return undefined
}

function codeOf(error: unknown): string {
  return error instanceof SessionStoreError ? error.code : 'ERR_STORE_UNAVAILABLE'
}

function isAboutContent(error: unknown): boolean {
  return error instanceof SessionInvalidError || error instanceof SessionUnknownKeyError
}
