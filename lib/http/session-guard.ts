import type { IncomingMessage } from 'node:http'
import type { Http2ServerRequest } from 'node:http2'
import { SessionStoreError } from '../errors.ts'
import { checkBoolean, checkFunction, checkKnown, checkObject, checkOneOf, optionError } from '../option.ts'
import { hasMethods } from './has-methods.ts'
import { refusalOf, refuseResponse } from './refusal.ts'
import { type Departure, holdResponse, type ResponseHolder } from './response-hold.ts'
import type { AnyResponse } from './response-methods.ts'

type AnyRequest = IncomingMessage | Http2ServerRequest

/** What the guard needs of a store. Every store of this package has it. */
export interface GuardedStore {
  commit(req: AnyRequest, options?: { readonly saveUninitialized?: boolean }): Promise<void>
  destroy(sid: string): Promise<void>
  /** Whether `commit` would find nothing to do. Without it every response waits for `commit`. */
  isCommitted?(req: AnyRequest, options?: { readonly saveUninitialized?: boolean }): boolean
}

export interface SessionGuardOptions {
  /** The store that `session()` was given, the very same object. */
  readonly store: GuardedStore
  /** As `session()` was given it. @defaultValue false */
  readonly saveUninitialized?: boolean | undefined
  /** As `session()` was given it. @defaultValue 'keep' */
  readonly unset?: 'keep' | 'destroy' | undefined
  /**
   * Told of every request that the guard answered in the handler's place, and why: an outage, a session that another
   * request ended, or a mistake such as a session that cannot be serialized. The client is told only the status.
   *
   * @defaultValue `console.error` for what is answered with a status of 500 or above
   */
  readonly onError?: ((error: unknown, req: IncomingMessage | Http2ServerRequest) => void) | undefined
}

/** The middleware that {@link sessionGuard} makes; for Express, Connect, and Node's HTTP/1.1 and HTTP/2 servers. */
export type SessionGuard = (req: AnyRequest, res: AnyResponse, next: (error?: unknown) => void) => void

/**
 * Lets no response leave before its session is stored or destroyed. express-session sends all but the last byte
 * first, and answers 200 though nothing was saved. Mount it right after `session()`.
 *
 * If the session cannot be stored, the client gets a plain 503 with `Retry-After`, or 409, 401 or 500 as the error says,
 * and nothing of what the handler wrote. So it does if express-session let a request through without a session of the
 * store. What a handler writes before its last byte waits only for the changes made until then; if changes made while a
 * response is under way cannot be stored, it is cut off.
 *
 * Headers set by middleware before the guard go along with its own answers: mount `cors` and `helmet` before it.
 *
 * Throws a `TypeError` that names the option if one is wrong.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import session from 'express-session'
 * import { InProcessStore, sessionGuard } from 'express-session-valkey'
 *
 * const store = new InProcessStore()
 * const app = express()
 * app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false }))
 * app.use(sessionGuard({ store }))
 * ```
 */
export function sessionGuard(options: SessionGuardOptions): SessionGuard {
  const { store, onError, ...terms } = resolveOptions(options)
  return function sessionGuardMiddleware(req, res, next) {
    if (!hasSessionOf(req, store)) {
      const error = skippedError()
      refuseResponse(res, refusalOf(error), res.getHeaders())
      process.nextTick(onError, error, req)
      return
    }
    holdResponse(res, new SessionRecording(req, { store, ...terms }, onError))
    next()
  }
}

interface CommitTerms {
  readonly store: GuardedStore
  readonly saveUninitialized: boolean
  readonly unset: 'keep' | 'destroy'
}

interface ResolvedGuardOptions extends CommitTerms {
  readonly onError: (error: unknown, req: AnyRequest) => void
}

const OPTIONS = ['store', 'saveUninitialized', 'unset', 'onError'] as const

function resolveOptions(options: SessionGuardOptions): ResolvedGuardOptions {
  checkObject('options', options)
  if ('headers' in options && 'method' in options) {
    throw new TypeError(
      'sessionGuard must be called to make the middleware: app.use(sessionGuard({ store }))',
    )
  }
  if (isStore(options)) throw optionError('store', 'passed by its name: sessionGuard({ store })')
  checkKnown(options, OPTIONS, 'sessionGuard')
  const { store, saveUninitialized = false, unset = 'keep', onError = logError } = options
  if (!isStore(store))
    throw optionError('store', 'the store that session() was given, one of this package', store)
  checkBoolean('saveUninitialized', saveUninitialized)
  checkOneOf('unset', unset, ['keep', 'destroy'])
  checkFunction('onError', onError)
  return { store, saveUninitialized, unset, onError }
}

function isStore(value: unknown): value is GuardedStore {
  return hasMethods(value, ['commit', 'destroy'])
}

// Of an error that is not ours only the kind is said: its text may hold what the session holds.
function logError(error: unknown): void {
  if (refusalOf(error).status < 500) return
  const kind = error instanceof Error ? error.name : typeof error
  const hint = `sessionGuard could not let a response leave: unexpected ${kind}; the option "onError" gets it whole`
  console.error(error instanceof SessionStoreError ? error.stack : hint)
}

interface SessionFields {
  readonly session?: object | null
  readonly sessionID?: unknown
  readonly sessionStore?: unknown
}

// express-session goes on without a session when its store said "disconnect", when the cookie's path does not
// match, and when something else has set req.session before.
function hasSessionOf(req: AnyRequest & SessionFields, store: GuardedStore): boolean {
  return req.sessionStore === store && typeof req.session === 'object' && req.session !== null
}

function skippedError(): SessionStoreError {
  return new SessionStoreError(
    'The request came without a session of the store that sessionGuard was given: mount sessionGuard after session(), ' +
      'give both the same store, and mount neither on paths outside of cookie.path',
    { code: 'ERR_STORE_UNAVAILABLE', status: 503, headers: { 'Retry-After': '1' } },
  )
}

/** Holds the response of one request until its session is recorded. */
class SessionRecording implements ResponseHolder {
  readonly #req: AnyRequest & SessionFields
  readonly #terms: CommitTerms
  readonly #onError: ResolvedGuardOptions['onError']
  readonly #firstId: unknown
  /** What the session held when the head was released. */
  #recorded: string | undefined

  constructor(req: AnyRequest, terms: CommitTerms, onError: ResolvedGuardOptions['onError']) {
    this.#req = req
    this.#firstId = this.#req.sessionID
    this.#terms = terms
    this.#onError = onError
  }

  release(departure: Departure): Promise<void> | undefined {
    if (departure === 'body') return undefined
    if (departure === 'end' && (this.#isCommitted() || this.#isRecorded())) return undefined
    if (departure === 'head') this.#recorded = contentOf(this.#req)
    return this.#commit()
  }

  // What most requests come to, so it must cost next to nothing: no promise, and no response that is kept waiting.
  #isCommitted(): boolean {
    const { store, saveUninitialized } = this.#terms
    const { session, sessionID } = this.#req
    if (!session || sessionID !== this.#firstId) return false
    return store.isCommitted?.(this.#req, { saveUninitialized }) ?? false
  }

  #isRecorded(): boolean {
    return this.#recorded !== undefined && this.#recorded === contentOf(this.#req)
  }

  onRefused(error: unknown): void {
    this.#onError(error, this.#req)
  }

  async #commit(): Promise<void> {
    const { store, saveUninitialized, unset } = this.#terms
    // A regenerated session express-session saves, and sends the cookie of, even if there is nothing in it.
    const isReplaced = this.#req.sessionID !== this.#firstId
    await store.commit(this.#req, { saveUninitialized: saveUninitialized || isReplaced })
    const { session = null, sessionID } = this.#req
    // express-session would destroy it too, but only while the response leaves.
    if (unset === 'destroy' && session === null && typeof sessionID === 'string')
      await store.destroy(sessionID)
  }
}

/** The session's content as express-session compares it: without the cookie, whose expiry moves. */
function contentOf({ session, sessionID }: SessionFields): string | undefined {
  try {
    return JSON.stringify({ sessionID, session: session && { ...session, cookie: undefined } })
  } catch {
    return undefined
  }
}
