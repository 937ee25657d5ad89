import type { IncomingMessage } from 'node:http'
import type { Session, SessionData } from 'express-session'
import { SessionIdError, SessionNotSerializableError } from '../errors.ts'
import { type Callback, deliver } from '../operations.ts'
import { checkKnown } from '../option.ts'
import type { RequestWork } from './request-work.ts'
import type { SessionCopies } from './session-copies.ts'
import type { Sessions } from './sessions.ts'
import type { CommitOptions } from './store.ts'
import type { TrackedSession } from './tracked-session.ts'

export type CommittedRequest = IncomingMessage & { readonly session?: unknown; readonly sessionID?: unknown }

/** What the store does with a session when its own methods are called. */
export interface SessionActs {
  save(): Promise<void>
  destroy(): Promise<void>
}

export interface SessionCommitsParts {
  readonly work: RequestWork
  readonly life: Sessions
  readonly copies: SessionCopies
}

/** What each request still has to store, and who hears of it when that fails. */
export class SessionCommits {
  readonly #work: RequestWork
  readonly #life: Sessions
  readonly #copies: SessionCopies
  /** The session of a response that ends in this very turn, if it was found to be stored as it is. */
  #committed: object | undefined

  constructor({ work, life, copies }: SessionCommitsParts) {
    this.#work = work
    this.#life = life
    this.#copies = copies
  }

  isCommitted(req: CommittedRequest, options: CommitOptions): boolean {
    this.#committed = undefined
    try {
      if (!this.#isCommitted(req, options)) return false
    } catch {
      // An option of the app's that throws, or a lifetime that is none: `commit` tells what is wrong.
      return false
    }
    if (this.#work.isConcluded(req)) this.#committed = req.session as object
    return true
  }

  /** Whether a session was found to be committed as its response ends, and its cookie has not changed since; once. */
  isJustCommitted(session: SessionData): boolean {
    const isIt = this.#committed === session
    this.#committed = undefined
    const copy = isIt ? this.#copies.copyOf(session) : undefined
    return copy !== undefined && !this.#life.hasOtherCookie(copy, session)
  }

  async commit(req: CommittedRequest, options: CommitOptions): Promise<void> {
    checkKnown(options, ['saveUninitialized'], 'commit')
    const { saveUninitialized = false } = options
    const isIdle = this.#work.isIdle(req)
    if (!isIdle) await this.#work.settle(req)
    const { session } = req
    if (!isObject(session)) return
    const copy = this.#copies.copyToCommit(req, session)
    if (isIdle && this.#isRefused(req, session)) return
    if (isUnused(copy, session) && !saveUninitialized) return
    if (copy === undefined) throw new SessionIdError()
    await saveLive(session as Session & SessionData)
    await this.#work.settle(req)
    this.#work.checkSave(req)
  }

  conclude(req: object): void {
    this.#work.conclude(req)
  }

  /** Makes a save that the request's commit waits for; none of what its handler was told cannot be stored. */
  save(session: object, save: () => Promise<void>): Promise<void> {
    const { req } = session as { readonly req?: object }
    if (req !== undefined && this.#isRefused(req, session)) return Promise.resolve()
    const stored = save()
    if (req !== undefined) this.#work.addSave(req, stored)
    return stored
  }

  /**
   * The outcome as a callback hears of it. express-session saves and touches while the response ends, and hands a
   * failure to error handlers that can no longer answer: the commit of that response fails with it instead.
   */
  reported(session: object, write: Promise<void>): Promise<void> {
    const { req } = session as { readonly req?: object }
    return req !== undefined && this.#work.isConcluded(req) ? write.catch(() => {}) : write
  }

  /** Puts methods over a session's own that do the same, and let the request's response wait for them. */
  supervise(req: { session?: unknown }, session: Session & SessionData, acts: SessionActs): void {
    const save = (callback?: Callback<void>) => {
      const content = contentOf(session)
      const stored = acts.save()
      if (callback) {
        const told = stored.then(
          () => this.#work.told(req, undefined),
          (error: unknown) => {
            this.#work.told(req, content)
            throw error
          },
        )
        deliver(this.reported(session, told), callback)
      }
      stored.catch(() => {})
      return session
    }
    const destroy = (callback?: Callback<void>) => {
      Reflect.deleteProperty(req, 'session')
      const ended = acts.destroy()
      this.#work.addEnding(req, ended)
      if (callback) deliver(ended, callback)
      return session
    }
    for (const [name, value] of Object.entries({ save, destroy }))
      Object.defineProperty(session, name, { configurable: true, enumerable: false, value, writable: true })
  }

  #isCommitted(req: CommittedRequest, { saveUninitialized = false }: CommitOptions): boolean {
    const { session } = req
    if (!isObject(session) || !this.#work.isIdle(req)) return false
    const copy = this.#copies.copyToCommit(req, session)
    if (copy === undefined) return false
    if (this.#isRefused(req, session)) return true
    if (copy.record === undefined) return !saveUninitialized && isUnused(copy, session)
    const live = session as Session & SessionData
    live.touch()
    return this.#life.isStored(copy, live)
  }

  /** Whether the response ends with a session that could not be saved, as its handler was told before. */
  #isRefused(req: object, session: object): boolean {
    const refused = this.#work.isConcluded(req) ? this.#work.refusedContent(req) : undefined
    return refused !== undefined && refused === contentOf(session)
  }
}

/** The session's content as express-session compares it: without the cookie, whose expiry moves. */
export function contentOf(session: object): string | undefined {
  try {
    return JSON.stringify({ ...session, cookie: undefined })
  } catch {
    return undefined
  }
}

/** Whether nobody has put anything into a session yet. */
export function isBlank(session: object): boolean {
  return Object.keys(session).every((key) => key === 'cookie')
}

function isUnused(copy: TrackedSession | undefined, session: object): boolean {
  return copy?.record === undefined && isBlank(session) && (copy?.labels.length ?? 0) === 0
}

/** Through the session's own method: express-session then knows that it is saved, and does not save it again. */
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
