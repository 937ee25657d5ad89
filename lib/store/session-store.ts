import type { Request } from 'express'
import type { Session, SessionData } from 'express-session'
import type { Backend } from '../backend/backend.ts'
import type { Finding } from '../backend/finding.ts'
import { SessionEndedError, SessionIdError } from '../errors.ts'
import { answer, type Callback, late, Operations } from '../operations.ts'
import { checkNumber, MAX_TTL_S } from '../option.ts'
import { giveAccess } from '../registry/access.ts'
import { EndSessions } from '../registry/end-sessions.ts'
import { type EndedMember, Membership, type Predecessor } from '../registry/membership.ts'
import { PrefixSharing } from '../registry/prefix-sharing.ts'
import { SealedSessionRegistry } from '../registry/session-registry.ts'
import type { Sealer } from '../seal/sealer.ts'
import { SessionCodec } from '../session/codec.ts'
import type { UserId } from '../session/names.ts'
import { handleOf } from '../session/names.ts'
import { userIdBy } from '../session/reading.ts'
import { SessionRecords } from '../session/records.ts'
import type { LegacySessions } from './legacy-sessions.ts'
import { lifetimeFindings } from './lifetime-findings.ts'
import { giveReload, keepMaxAge, keepNames } from './live-session.ts'
import type { ResolvedOptions } from './options.ts'
import { type CommittedRequest, RequestWrites } from './request-writes.ts'
import { type LoadedSession, Sessions, type StoredSession } from './sessions.ts'
import type { AdoptOutcome, CommitOptions, ListedSession, SessionStore, StoreHealth } from './store.ts'
import { StoreEmitter, warnOnce } from './store-emitter.ts'
import { healthOf } from './store-health.ts'
import { TrackedRequests } from './tracked-requests.ts'
import type { TrackedSession } from './tracked-session.ts'
import { UnstoredSessions } from './unstored-sessions.ts'

// Less than a whole call has, so that the error names the serializer.
const SERIALIZER_SHARE = 3

export interface SessionStoreParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly options: ResolvedOptions
  /** When a call gives up waiting, in ms. */
  readonly deadlineMs: number
  /** Where sessions are looked for that are not found here. */
  readonly legacy?: LegacySessions | undefined
}

/** What an app uses beside the sessions, such as a label store. */
interface CheckedPart {
  check(): Promise<readonly Finding[]>
}

/** Keeps sessions sealed in a backend: what `ValkeyStore` and `InProcessStore` have in common. */
export abstract class SealedSessionStore extends StoreEmitter implements SessionStore {
  readonly registry: SealedSessionRegistry
  readonly #backend: Backend
  readonly #sessions: Sessions
  readonly #deadlineMs: number
  readonly #options: ResolvedOptions
  readonly #requests = new TrackedRequests(this)
  readonly #unstored: UnstoredSessions
  readonly #writes: RequestWrites
  readonly #operations: Operations
  readonly #sharing: PrefixSharing
  readonly #legacy: LegacySessions | undefined
  readonly #parts = new Set<CheckedPart>()
  #isMounted = false
  #generate: (req: Request) => void = () => {
    throw new TypeError('The store is not mounted: give it to session({ store })')
  }

  protected constructor({ backend, sealer, options, deadlineMs, legacy }: SessionStoreParts) {
    super()
    this.#legacy = legacy
    this.#backend = backend
    this.#unstored = new UnstoredSessions(backend)
    this.#deadlineMs = deadlineMs
    this.#options = options
    this.#operations = new Operations(deadlineMs)
    this.#sharing = new PrefixSharing({ backend, sealer, report: (finding) => this.reportShared(finding) })
    const { prefix, maxBytes, onInvalid, onUnknownKey, endedTtlMs, maxSessionsPerUser, onMaxSessions } =
      options
    const { announce } = this
    const sealed = { backend, sealer, prefix, maxBytes, onInvalid, onUnknownKey, announce }
    const records = new SessionRecords({ ...sealed, kinds: ['session'] })
    const recordsOfAll = new SessionRecords({ ...sealed, kinds: ['session', 'token'] })
    // A node that lacks a secret fails: it must not end the token session.
    const tokenRecords = new SessionRecords({
      ...sealed,
      kinds: ['token'],
      onInvalid: 'discard',
      onUnknownKey: 'error',
    })
    const endSessions = new EndSessions({
      backend,
      sealer,
      records: recordsOfAll,
      prefix,
      endedTtlMs,
      announce,
    })
    const membership = new Membership({
      backend,
      records: recordsOfAll,
      endSessions,
      maxSessionsPerUser,
      onMaxSessions,
      endedTtlMs,
      sharing: this.#sharing,
    })
    const codec = new SessionCodec(options.serializer, maxBytes, Math.ceil(deadlineMs / SERIALIZER_SHARE))
    const sessions = new Sessions({
      backend,
      options,
      announce,
      records,
      recordsOfAll,
      codec,
      membership,
      endSessions,
    })
    this.#sessions = sessions
    this.#writes = new RequestWrites(sessions, this.#requests)
    this.registry = new SealedSessionRegistry({
      backend,
      sealer,
      records: recordsOfAll,
      endSessions,
      membership,
      prefix,
      watchIntervalMs: options.watchIntervalMs,
      operations: this.#operations,
    })
    giveAccess(this, {
      ...{ backend, sealer, prefix, tokenRecords, membership, endSessions, announce },
      operations: this.#operations,
      verifiesAlways: options.verifyOwner === 'always',
    })
  }

  override get(sid: string): Promise<SessionData | null>
  override get(sid: string, callback: (error: unknown, session?: SessionData | null) => void): void
  override get(
    sid: string,
    callback?: Callback<SessionData | null>,
  ): Promise<SessionData | null> | undefined {
    return answer(
      this.#operations.run('get', () => this.#get(sid), late.read),
      callback,
    )
  }

  override set(sid: string, session: SessionData): Promise<void>
  override set(sid: string, session: SessionData, callback: ((error?: unknown) => void) | undefined): void
  override set(sid: string, session: SessionData, callback?: Callback<void>): Promise<void> | undefined {
    return answer(this.#writes.reported(session, this.#setFor(sid, session)), callback)
  }

  async adopt<Kept extends Pick<SessionData, 'cookie'>>(
    sid: string,
    session: Kept,
    { ttl }: { readonly ttl?: number | undefined } = {},
  ): Promise<AdoptOutcome> {
    const handle = this.handle(sid)
    if (ttl !== undefined) checkNumber('ttl', ttl, { min: 0.001, max: MAX_TTL_S })
    const leftMs = ttl === undefined ? undefined : ttl * 1000
    return this.#operations.run('set', () => this.#sessions.adopt(handle, session, leftMs), late.write)
  }

  override destroy(sid: string): Promise<void>
  override destroy(sid: string, callback: ((error?: unknown) => void) | undefined): void
  override destroy(sid: string, callback?: Callback<void>): Promise<void> | undefined {
    return answer(
      this.#operations.run('destroy', async () => void (await this.#end(sid)), late.write),
      callback,
    )
  }

  override touch(sid: string, session: SessionData): Promise<void>
  override touch(sid: string, session: SessionData, callback: ((error?: unknown) => void) | undefined): void
  override touch(sid: string, session: SessionData, callback?: Callback<void>): Promise<void> | undefined {
    if (callback && this.#writes.isJustCommitted(session)) {
      // In the same turn, in which express-session sends a response in one piece instead of two.
      callback(null)
      return undefined
    }
    return answer(
      this.#writes.reported(
        session,
        this.#operations.run('touch', () => this.#touch(sid, session), late.write),
      ),
      callback,
    )
  }

  override all(): Promise<ListedSession[]>
  override all(callback: (error: unknown, sessions?: ListedSession[]) => void): void
  override all(callback?: Callback<ListedSession[]>): Promise<ListedSession[]> | undefined {
    return answer(
      this.#operations.runLong('all', () => this.#sessions.all()),
      callback,
    )
  }

  ids(): Promise<string[]>
  ids(callback: (error: unknown, handles?: string[]) => void): void
  ids(callback?: Callback<string[]>): Promise<string[]> | undefined {
    return answer(
      this.#operations.runLong('ids', () => this.#sessions.ids()),
      callback,
    )
  }

  override length(): Promise<number>
  override length(callback: (error: unknown, length?: number) => void): void
  override length(callback?: Callback<number>): Promise<number> | undefined {
    return answer(
      this.#operations.runLong('length', async () => (await this.#sessions.ids()).length),
      callback,
    )
  }

  override clear(): Promise<void>
  override clear(callback: ((error?: unknown) => void) | undefined): void
  override clear(callback?: Callback<void>): Promise<void> | undefined {
    this.#sharing.note()
    return answer(
      this.#operations.runLong('clear', () => this.#sessions.clear()),
      callback,
    )
  }

  /** Returns the user of a session, by the `userId` option. Throws `SessionUserIdError` for what is neither a user id nor nobody. */
  userIdOf(session: Partial<SessionData>): UserId | undefined {
    return userIdBy(this.#options.userId, session)
  }

  handle(sid: string): string {
    const handle = handleOf(sid)
    if (handle === undefined) throw new SessionIdError()
    return handle
  }

  health(): Promise<StoreHealth> {
    return healthOf(this.#backend, this.#deadlineMs)
  }

  async check(): Promise<readonly Finding[]> {
    const found = await this.#operations.runLong('check', () => this.#backend.inspect())
    // A label store rejects only once it is closed.
    const ofParts = await Promise.all([...this.#parts].map((part) => part.check().catch(() => [])))
    return [
      ...lifetimeFindings(this.#options),
      ...(await this.#sharing.findings()),
      ...found,
      ...ofParts.flat(),
    ]
  }

  /** Makes `check()` include what this part of the app finds. */
  checkAlso(part: CheckedPart): void {
    this.#parts.add(part)
  }

  async close(): Promise<void> {
    this.registry.close()
    await this.#operations.settle()
    await this.#backend.close()
  }

  commit(req: CommittedRequest, options: CommitOptions = {}): Promise<void> {
    return this.#operations.run('commit', () => this.#writes.commit(req, options), late.write)
  }

  /**
   * Notes that the request's response ends. From here on only `commit` rejects if a save or touch of express-session fails,
   * as no error handler could reply any more; and a save whose failure its callback has received is not tried again while
   * the session holds the same. `sessionGuard` calls it.
   */
  conclude(req: CommittedRequest): void {
    this.#writes.conclude(req)
  }

  /**
   * Returns whether `commit` has nothing to write and nothing to wait for; `false` where finding out takes a wait, as with
   * an async serializer. Extends the cookie, as `commit` does.
   */
  isCommitted(req: CommittedRequest, options: CommitOptions = {}): boolean {
    return this.#writes.isCommitted(req, options)
  }

  /** Returns the labels sealed, or about to be sealed, with a live session. Throws a `TypeError` if this store has neither made nor loaded it. */
  sealedLabels(session: object): readonly string[] {
    return this.#requests.labelled(session).labels
  }

  /** Adds labels to those sealed with a live session, from its next save on. None is ever removed. Throws as `sealedLabels`. */
  sealLabels(session: object, labels: readonly string[]): void {
    this.#requests.labelled(session).addLabels(labels)
  }

  /**
   * Returns what is stored of a live session now, whichever request stored it. Rejects with `SessionEndedError` if the
   * session was ended, or expired, since it was loaded.
   */
  storedSession(session: object): Promise<StoredSession> {
    return this.#operations.run(
      'get',
      async () => this.#sessions.stored(this.#requests.labelled(session)),
      late.read,
    )
  }

  /**
   * Returns whether this store has made the live session for its request and it holds nothing and is not stored: nobody
   * else can know its id.
   */
  isPristine(session: object): boolean {
    return this.#requests.isPristine(session)
  }

  get generate(): (req: Request) => void {
    return this.#generate
  }

  set generate(make: (req: Request) => void) {
    if (this.#isMounted) warnOnce('ESV_STORE_MOUNTED_TWICE', MOUNTED_TWICE)
    this.#isMounted = true
    this.#generate = (req) => {
      const former: unknown = req.sessionID
      make(req)
      const { session, sessionID } = req
      if (handleOf(sessionID) === undefined) warnOnce('ESV_SESSION_ID', new SessionIdError().message)
      // A genid that keeps the client's id makes an id that the client knows.
      else if (sessionID !== former) this.#unstored.add(sessionID, session)
      this.#requests.made(session)
      keepMaxAge(session)
      this.#supervise(req, session)
    }
  }

  /** As that of express-session, and notes which record the session came from. Data of another id cannot be saved under this one. */
  override createSession(req: Request, data: SessionData): Session & SessionData {
    const session = super.createSession(req, data)
    this.#requests.adopt(req, session, data)
    keepNames(session, data)
    keepMaxAge(session)
    this.#supervise(req, session)
    return session
  }

  override regenerate(req: Request): Promise<void>
  override regenerate(req: Request, callback: ((error?: unknown) => void) | undefined): void
  override regenerate(req: Request, callback?: Callback<void>): Promise<void> | undefined {
    const old = req.session ? this.#requests.trackedOf(req.session) : undefined
    const released = this.#operations.run('regenerate', () => this.#release(req, old), late.write)
    const replaced = released.then(
      (predecessor) => this.#replace(req, old, predecessor),
      (error: unknown) => this.#requests.condemn(req, old, error),
    )
    if (callback) this.#writes.addReported(req, replaced)
    else this.#writes.addEnding(req, replaced)
    return answer(replaced, callback)
  }

  // Once for each request: its second call must not find the session ended and fail.
  #release(req: Request, old: TrackedSession | undefined): Promise<Predecessor | undefined> {
    const { sessionID: sid } = req
    return this.#writes.endOnce(req, sid, async () => {
      if (old === undefined || old.handle !== handleOf(sid)) await this.#end(sid)
      else if (!(await this.#unstored.end(sid))) return this.#sessions.supersede(old)
      return undefined
    })
  }

  async #destroyFor(req: Request, sid: string): Promise<void> {
    await this.#writes.endOnce(req, sid, async () => {
      const ended = this.#operations.run('destroy', () => this.#end(sid), late.write)
      this.#requests.endedByHand(req, handleOf(sid), ended)
      await ended
      return undefined
    })
  }

  async #end(sid: string): Promise<EndedMember | undefined> {
    return (await this.#unstored.end(sid)) ? undefined : this.#sessions.end(this.handle(sid))
  }

  #replace(req: Request, old: TrackedSession | undefined, predecessor = old?.succession): void {
    this.generate(req)
    if (handleOf(req.sessionID) === undefined) throw new SessionIdError()
    if (old) this.#requests.succeed(req, old, { inherited: this.#sessions.inheritanceOf(old), predecessor })
  }

  #supervise(req: Request, session: Session & SessionData): void {
    this.#writes.supervise(req, session, {
      save: () => this.#setFor(session.id, session),
      destroy: () => this.#destroyFor(req, session.id),
    })
    giveReload(req, session, {
      load: (sid) => this.#load(sid),
      install: (request, data) => this.createSession(request, data),
    })
  }

  async #load(sid: string): Promise<SessionData> {
    const data = await this.get(sid)
    if (data) return data
    const handle = handleOf(sid)
    throw new SessionEndedError(handle === undefined ? 'gone' : await this.#sessions.endingOf(handle))
  }

  #get(sid: string): Promise<SessionData | null> {
    const handle = handleOf(sid)
    if (handle === undefined) return Promise.resolve(null)
    return this.#sessions.load(handle).then((found) => {
      if (found === undefined && this.#legacy) return this.#getLegacy(this.#legacy, sid, handle)
      return found === undefined ? null : this.#noted(found)
    })
  }

  #noted({ data, record }: LoadedSession): SessionData {
    this.#requests.loaded(data, record)
    return data
  }

  async #getLegacy(legacy: LegacySessions, sid: string, handle: string): Promise<SessionData | null> {
    const adopt = (session: SessionData, leftMs: number | undefined) =>
      this.#sessions.adopt(handle, session, leftMs)
    const loaded = (await legacy.adopt(sid, adopt)) ? await this.#sessions.load(handle) : undefined
    return loaded === undefined ? null : this.#noted(loaded)
  }

  async #set(sid: string, session: SessionData): Promise<void> {
    const handle = this.handle(sid)
    const tracked = this.#requests.trackedFor(handle, session)
    if (tracked?.record === undefined && this.#unstored.isEnded(sid)) throw new SessionEndedError('ended')
    this.#unstored.delete(sid)
    await (tracked ? this.#sessions.save(tracked, session) : this.#sessions.write(handle, session))
  }

  #setFor(sid: string, session: SessionData): Promise<void> {
    return this.#writes.save(session, () =>
      this.#operations.run('set', () => this.#set(sid, session), late.write),
    )
  }

  async #touch(sid: string, session: SessionData): Promise<void> {
    const handle = handleOf(sid)
    if (handle === undefined) return
    const tracked = this.#requests.trackedOf(session)
    await (tracked?.record?.handle === handle
      ? this.#sessions.touch(tracked, session)
      : this.#sessions.touchUnloaded(handle, session))
  }
}

const MOUNTED_TWICE =
  'One store was given to session() more than once: new sessions get the cookie options and genid of the last. ' +
  'Call session() once and mount what it returns, or give each session() a store of its own with a prefix of its own'
