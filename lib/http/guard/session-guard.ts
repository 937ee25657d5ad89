import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Http2ServerRequest, Http2ServerResponse } from 'node:http2'
import { isSessionStoreError, SessionNotSerializableError, StoreUnavailableError } from '../../errors.ts'
import {
  checkBoolean,
  checkFunction,
  checkOneOf,
  hasMethods,
  type OptionTable,
  optionError,
  readOptions,
} from '../../option.ts'
import { contentOf } from '../../store/request-writes.ts'
import type { SessionStore } from '../../store/store.ts'
import { type AnyResponse, checkRuntime, isNodeResponse } from './node-response.ts'
import { answerRefusal, refusalOf } from './refusal.ts'
import { holdResponse, type ResponseHolder, type Stage } from './response-hold.ts'

type AnyRequest = IncomingMessage | Http2ServerRequest

/** The methods of a store that the guard uses. */
export interface GuardedStore {
  commit(req: AnyRequest, options?: { readonly saveUninitialized?: boolean }): Promise<void>
  destroy(sid: string): Promise<void>
  /** Returns whether `commit` would have nothing to do. Without it every response waits for `commit`. */
  isCommitted?(req: AnyRequest, options?: { readonly saveUninitialized?: boolean }): boolean
  /** Returns whether the session is new, empty and not stored. Without it the guard does not warn of cookies that are not sent. */
  isPristine?(session: object): boolean
  /** Called as the response of a request ends: failures of express-session's own save from then on belong to `commit`. */
  conclude?(req: AnyRequest): void
}

export interface SessionGuardOptions {
  /** The store given to `session()`, the same object. */
  readonly store: SessionStore
  /** As `session()` was given it. @defaultValue false */
  readonly saveUninitialized?: boolean | undefined
  /** As `session()` was given it. @defaultValue 'keep' */
  readonly unset?: 'keep' | 'destroy' | undefined
  /**
   * Receives the error of each request to which the guard replied in place of the handler: an outage, a session that another
   * request ended, or a mistake such as a session that cannot be serialized. The client gets only the status.
   *
   * @defaultValue `console.error` for a status of 500 or above
   */
  readonly onError?: ((error: unknown, req: IncomingMessage | Http2ServerRequest) => void) | undefined
}

/**
 * Makes a middleware that holds each response until its session is stored or destroyed. Without it express-session sends all but
 * the last byte first, and a client reads 200 although nothing was saved. Mount it right after `session()`; it fits Express,
 * Connect, and Node's HTTP/1.1 and HTTP/2 servers.
 *
 * If the session cannot be stored, the client gets a plain 503 with `Retry-After`, or 409, 401 or 500 by the error's `status`, and
 * nothing the handler wrote. The same happens if express-session passed on the request without a session of the store. The first
 * bytes of a streamed response wait only for the changes made until then; if later changes cannot be stored, the response is cut
 * off.
 *
 * The guard's own replies keep headers that were set before it: mount `cors` and `helmet` before the guard.
 *
 * @throws TypeError that names the option, if one is wrong.
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
export function sessionGuard(
  options: SessionGuardOptions,
): (
  req: IncomingMessage | Http2ServerRequest,
  res: ServerResponse | Http2ServerResponse,
  next: (error?: unknown) => void,
) => void {
  checkCall(options)
  const { store, onError, ...terms } = readOptions(options, GUARD_OPTIONS, 'sessionGuard')
  checkRuntime('sessionGuard')
  return function sessionGuardMiddleware(req, res, next) {
    if (!isNodeResponse(res)) return next()
    if (!hasSessionOf(req, store)) {
      const error = skippedError()
      answerRefusal(res, refusalOf(error))
      process.nextTick(onError, error, req)
      return
    }
    holdResponse(res, new SessionRecording({ req, res }, { store, ...terms }, onError))
    next()
  }
}

type OnError = NonNullable<SessionGuardOptions['onError']>

interface CommitTerms {
  readonly store: GuardedStore
  readonly saveUninitialized: boolean
  readonly unset: 'keep' | 'destroy'
}

const GUARD_OPTIONS = {
  store: (value, name) => storeOf(name, value),
  saveUninitialized: (value = false, name) => checkBoolean(name, value),
  unset: (value = 'keep', name) => checkOneOf(name, value, ['keep', 'destroy']),
  onError: (value = logError, name) => checkFunction(name, value),
} satisfies OptionTable<SessionGuardOptions>

function checkCall(options: unknown): void {
  const given = Object(options) as object
  if ('headers' in given && 'method' in given)
    throw new TypeError(
      'sessionGuard must be called to make the middleware: app.use(sessionGuard({ store }))',
    )
  if (isStore(options)) throw optionError('store', 'passed by its name: sessionGuard({ store })')
}

function storeOf(name: string, store: unknown): GuardedStore {
  if (isStore(store)) return store
  throw optionError(name, 'the store that session() was given, one of this package', store)
}

function isStore(value: unknown): value is GuardedStore {
  return hasMethods(value, ['commit', 'destroy'])
}

// Of a foreign error only the kind is logged: its text may contain session data.
function logError(error: unknown): void {
  if (refusalOf(error).status < 500) return
  const kind = error instanceof Error ? error.name : typeof error
  const hint = `sessionGuard could not let a response leave: unexpected ${kind}; the option "onError" gets it whole`
  console.error(isSessionStoreError(error) ? error.stack : hint)
}

interface SessionFields {
  readonly session?: object | null
  readonly sessionID?: unknown
  readonly sessionStore?: unknown
}

// express-session skips a request when its store has emitted "disconnect", when the cookie's path does not match, and when
// something else has set req.session before.
function hasSessionOf(req: AnyRequest & SessionFields, store: GuardedStore): boolean {
  return req.sessionStore === store && typeof req.session === 'object' && req.session !== null
}

function skippedError(): StoreUnavailableError {
  return new StoreUnavailableError(
    'no-session',
    { reason: 'no-session' },
    'The request came without a session of the store that sessionGuard was given: mount sessionGuard after session(), ' +
      'give both the same store, and mount neither on paths outside of cookie.path',
  )
}

/** Holds the response of one request until its session is recorded. */
class SessionRecording implements ResponseHolder {
  readonly #req: AnyRequest & SessionFields
  readonly #res: AnyResponse
  readonly #terms: CommitTerms
  readonly #onError: OnError
  readonly #firstId: unknown
  /** Whether the client sent the session's cookie. */
  readonly #isLoaded: boolean
  /** The ending of a session that was set to null. */
  #unsetting: Promise<void> | undefined
  /** What the session held when the head was released. */
  #recorded: string | undefined

  constructor(
    { req, res }: { readonly req: AnyRequest; readonly res: AnyResponse },
    terms: CommitTerms,
    onError: OnError,
  ) {
    this.#req = req
    this.#res = res
    this.#firstId = this.#req.sessionID
    this.#terms = terms
    this.#onError = onError
    const { session } = this.#req
    this.#isLoaded = isWarned || !session || terms.store.isPristine?.(session) !== true
  }

  onEnd(): void {
    const { store, unset } = this.#terms
    store.conclude?.(this.#req)
    const { session = null, sessionID } = this.#req
    if (unset !== 'destroy' || session !== null || typeof sessionID !== 'string') return
    // express-session would do it, too, but pass a failure to error handlers that can no longer reply.
    Reflect.deleteProperty(this.#req, 'sessionID')
    this.#unsetting ??= store.destroy(sessionID)
    this.#unsetting.catch(() => {})
  }

  release(stage: Stage): Promise<void> | undefined {
    if (stage === 'body') return undefined
    if (stage !== 'end') return this.#commitAfterTurn(stage)
    if (this.#isCommitted() || this.#isRecorded()) return undefined
    checkSession(this.#req)
    return this.#commit()
  }

  // Changes that the handler makes later in this turn belong to its response.
  async #commitAfterTurn(stage: Stage): Promise<void> {
    await undefined
    if (stage === 'head') this.#recorded = recordOf(this.#req)
    if (!this.#isCommitted()) await this.#commit()
  }

  // Fast path: most requests change nothing. No promise, and the response does not wait.
  #isCommitted(): boolean {
    const { store, saveUninitialized } = this.#terms
    const { session, sessionID } = this.#req
    if (!session || sessionID !== this.#firstId) return false
    return store.isCommitted?.(this.#req, { saveUninitialized }) ?? false
  }

  #isRecorded(): boolean {
    return this.#recorded !== undefined && this.#recorded === recordOf(this.#req)
  }

  onRefused(error: unknown): void {
    this.#onError(error, this.#req)
  }

  async #commit(): Promise<void> {
    const { store, saveUninitialized } = this.#terms
    // express-session saves a regenerated session, and sends its cookie, even if it is empty.
    const isReplaced = this.#req.sessionID !== this.#firstId
    await store.commit(this.#req, { saveUninitialized: saveUninitialized || isReplaced })
    await this.#unsetting
    if (!isWarned) this.#res.once('finish', () => this.#checkCookie())
  }

  // express-session omits it without a warning: the user is signed in, but not with the next request.
  #checkCookie(): void {
    const { session, sessionID } = this.#req
    const { cookie } = (session ?? {}) as { readonly cookie?: { readonly secure?: unknown } }
    if (isWarned || !cookie?.secure || typeof sessionID !== 'string') return
    if (this.#isLoaded && sessionID === this.#firstId) return
    const name = encodeURIComponent(sessionID)
    if (String(this.#res.getHeader('Set-Cookie')).includes(name)) return
    isWarned = true
    process.emitWarning(
      'A session was stored whose "secure" cookie express-session did not send, so the client cannot come back to it. ' +
        "The request came over plain HTTP, or by a proxy that Express does not trust: set app.set('trust proxy', 1)",
      { code: 'ESV_SECURE_COOKIE' },
    )
  }
}

// Once per process: the deployment is wrong, not the request.
let isWarned = false

// express-session would throw for these, perhaps where no one can catch it.
function checkSession({ session }: SessionFields): void {
  if (!session) return
  if (!hasMethods(session, ['save', 'touch']))
    throw new TypeError('req.session was replaced by something that is no session')
  if (contentOf(session) === undefined)
    throw new SessionNotSerializableError(
      'it holds a BigInt, a cycle, or something else that JSON cannot write',
    )
}

/** Returns the part of the request that would be saved. */
function recordOf({ session, sessionID }: SessionFields): string | undefined {
  const content = session ? contentOf(session) : 'none'
  return content && `${String(sessionID)} ${content}`
}
