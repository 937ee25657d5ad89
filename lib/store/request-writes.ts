import type { IncomingMessage } from 'node:http'
import type { Session, SessionData } from 'express-session'
import { SessionIdError, SessionNotSerializableError } from '../errors.ts'
import { type Callback, deliver } from '../operations.ts'
import { checkKnown } from '../option.ts'
import type { Predecessor } from '../registry/membership.ts'
import { attached } from './attached.ts'
import type { Sessions } from './sessions.ts'
import type { CommitOptions } from './store.ts'
import type { TrackedRequests } from './tracked-requests.ts'

export type CommittedRequest = IncomingMessage & { readonly session?: unknown; readonly sessionID?: unknown }

/** What the store does with a session when the session's own methods are called. */
export interface SessionMethods {
  save(): Promise<void>
  destroy(): Promise<void>
}

interface Failure {
  readonly error: unknown
}

interface Ending {
  readonly sid: string
  readonly ended: Promise<Predecessor | undefined>
}

/** The writes of one request. */
interface Writes {
  /** How many are under way. */
  underWay: number
  /** Called when none is under way any more. */
  onIdle: (() => void) | undefined
  /** An ending that failed and was not reported: nothing tries it again. */
  failure: Failure | undefined
  /** Why the last save failed. Its content is unsaved and will be tried again. */
  saveFailure: Failure | undefined
  /** The content of a save whose failure its caller has received. */
  refused: string | undefined
  ending: Ending | undefined
  /** Whether the response ends: from then on only express-session saves and touches. */
  isConcluded: boolean
}

/** Tracks what each request still has to store, lets its response wait for that, and reports a failure where a reply can still be sent. */
export class RequestWrites {
  readonly #sessions: Sessions
  readonly #requests: TrackedRequests
  readonly #writes = attached<Writes>()
  /** The session of a response that ends in this very turn, if it was found to be stored as it is. */
  #committed: object | undefined
  readonly #forgetCommitted = () => {
    this.#committed = undefined
  }

  constructor(sessions: Sessions, requests: TrackedRequests) {
    this.#sessions = sessions
    this.#requests = requests
  }

  isCommitted(req: CommittedRequest, options: CommitOptions): boolean {
    this.#committed = undefined
    try {
      if (!this.#isCommitted(req, options)) return false
    } catch {
      // A function of the app's that throws, or a wrong lifetime: `commit` reports it.
      return false
    }
    if (this.#writes.get(req)?.isConcluded) {
      this.#committed = req.session as object
      // express-session may save instead, and a touch that comes later is a real one.
      queueMicrotask(this.#forgetCommitted)
    }
    return true
  }

  /** Returns, once, whether a session was found to be committed as its response ends and its cookie has not changed since. */
  isJustCommitted(session: SessionData): boolean {
    const isIt = this.#committed === session
    this.#committed = undefined
    const tracked = isIt ? this.#requests.trackedOf(session) : undefined
    return tracked !== undefined && !this.#sessions.hasOtherCookie(tracked, session)
  }

  async commit(req: CommittedRequest, options: CommitOptions): Promise<void> {
    checkKnown(options, ['saveUninitialized'], 'commit')
    const { saveUninitialized = false } = options
    const isIdle = this.#isIdle(req)
    if (!isIdle) await this.#settle(req)
    const { session } = req
    if (!isObject(session)) return
    const tracked = this.#requests.committed(req, session)
    if (isIdle && this.#isRefused(req, session)) return
    if (this.#requests.isUnused(tracked, session) && !saveUninitialized) return
    if (tracked === undefined) throw new SessionIdError()
    await saveLive(session as Session & SessionData)
    await this.#settle(req)
    const saveFailure = this.#writes.get(req)?.saveFailure
    if (saveFailure) throw saveFailure.error
  }

  conclude(req: object): void {
    this.#of(req).isConcluded = true
  }

  /** Begins a save that the request's commit waits for, unless its handler has received the failure of the same content. */
  save(session: object, save: () => Promise<void>): Promise<void> {
    const { req } = session as { readonly req?: object }
    if (req === undefined) return save()
    if (this.#isRefused(req, session)) return Promise.resolve()
    const writes = this.#of(req)
    const stored = save()
    this.#add(writes, stored, (failure) => {
      writes.saveFailure = failure
    })
    return stored
  }

  /** Lets the commit wait for an ending, and fail as it does. */
  addEnding(req: object, ending: Promise<unknown>): void {
    const writes = this.#of(req)
    this.#add(writes, ending, (failure) => {
      writes.failure ??= failure
    })
  }

  /** Lets the commit wait for a write whose failure its callback receives. */
  addReported(req: object, write: Promise<unknown>): void {
    this.#add(this.#of(req), write, () => {})
  }

  /** Ends a request's session, or returns the outcome of its having done so. A failure may be tried again. */
  endOnce(req: object, sid: string, end: () => Ending['ended']): Ending['ended'] {
    const writes = this.#of(req)
    if (writes.ending?.sid === sid) return writes.ending.ended
    const ended = end()
    writes.ending = { sid, ended }
    ended.catch(() => {
      writes.ending = undefined
    })
    return ended
  }

  /**
   * Returns the outcome for a callback. While a response ends express-session passes a failed save or touch to error handlers
   * that can no longer reply, so that outcome never fails: the commit of the response does.
   */
  reported(session: object, write: Promise<void>): Promise<void> {
    const { req } = session as { readonly req?: object }
    return req !== undefined && this.#writes.get(req)?.isConcluded ? write.catch(() => {}) : write
  }

  /** Puts methods over a session's own that do the same, and let the request's response wait for them. */
  supervise(req: { session?: unknown }, session: Session & SessionData, methods: SessionMethods): void {
    const save = (callback?: Callback<void>) => {
      const content = contentOf(session)
      const stored = methods.save()
      if (callback) deliver(this.reported(session, this.#noteRefusal(req, content, stored)), callback)
      stored.catch(() => {})
      return session
    }
    const destroy = (callback?: Callback<void>) => {
      Reflect.deleteProperty(req, 'session')
      const ended = methods.destroy()
      this.addEnding(req, ended)
      if (callback) deliver(ended, callback)
      return session
    }
    Object.defineProperty(session, 'save', { configurable: true, value: save, writable: true })
    Object.defineProperty(session, 'destroy', { configurable: true, value: destroy, writable: true })
  }

  #isCommitted(req: CommittedRequest, { saveUninitialized = false }: CommitOptions): boolean {
    const { session } = req
    if (!isObject(session) || !this.#isIdle(req)) return false
    const tracked = this.#requests.committed(req, session)
    if (tracked === undefined) return false
    if (this.#isRefused(req, session)) return true
    if (tracked.record === undefined) return !saveUninitialized && this.#requests.isUnused(tracked, session)
    const live = session as Session & SessionData
    live.touch()
    return this.#sessions.isStored(tracked, live)
  }

  /** Notes the content that could not be stored, before the callback receives the failure. */
  #noteRefusal(req: object, content: string | undefined, stored: Promise<void>): Promise<void> {
    return stored.then(
      () => {
        this.#of(req).refused = undefined
      },
      (error: unknown) => {
        this.#of(req).refused = content
        throw error
      },
    )
  }

  /** Returns whether the response ends with a session that could not be saved, and its handler has received that failure. */
  #isRefused(req: object, session: object): boolean {
    const writes = this.#writes.get(req)
    return (
      writes?.isConcluded === true && writes.refused !== undefined && writes.refused === contentOf(session)
    )
  }

  /** Returns whether nothing is under way and no failure is left to report. */
  #isIdle(req: object): boolean {
    const writes = this.#writes.get(req)
    return writes === undefined || (writes.underWay === 0 && writes.failure === undefined)
  }

  /** Resolves when nothing is under way; rejects with the first failed ending, once. */
  async #settle(req: object): Promise<void> {
    const writes = this.#writes.get(req)
    if (writes === undefined) return
    while (writes.underWay > 0) await idle(writes)
    const { failure } = writes
    writes.failure = undefined
    if (failure) throw failure.error
  }

  #add(writes: Writes, write: Promise<unknown>, note: (failure: Failure | undefined) => void): void {
    writes.underWay += 1
    const settle = (failure?: Failure) => {
      note(failure)
      writes.underWay -= 1
      if (writes.underWay === 0) writes.onIdle?.()
    }
    write.then(
      () => settle(),
      (error: unknown) => settle({ error }),
    )
  }

  #of(req: object): Writes {
    const known = this.#writes.get(req)
    if (known) return known
    const writes: Writes = {
      underWay: 0,
      onIdle: undefined,
      failure: undefined,
      saveFailure: undefined,
      refused: undefined,
      ending: undefined,
      isConcluded: false,
    }
    this.#writes.set(req, writes)
    return writes
  }
}

/** Resolves when nothing is under way. */
function idle(writes: Writes): Promise<void> {
  return new Promise((resolve) => {
    const before = writes.onIdle
    writes.onIdle = () => {
      writes.onIdle = undefined
      before?.()
      resolve()
    }
  })
}

/** Returns the session's content as express-session compares it: without the cookie, whose expiry moves. */
export function contentOf(session: object): string | undefined {
  try {
    return JSON.stringify({ ...session, cookie: undefined })
  } catch {
    return undefined
  }
}

/** Saves by the session's own method, so that express-session knows, and does not save it again. */
async function saveLive(session: Session & SessionData): Promise<void> {
  session.touch()
  await new Promise<void>((resolve, reject) => {
    try {
      session.save((error: unknown) => (error ? reject(error) : resolve()))
    } catch {
      // It hashes the session's JSON first.
      reject(
        new SessionNotSerializableError(
          'it holds a BigInt, a cycle, or something else that JSON cannot write',
        ),
      )
    }
  })
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
