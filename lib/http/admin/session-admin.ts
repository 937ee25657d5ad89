import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Session, SessionData } from 'express-session'
import { isSessionStoreError } from '../../errors.ts'
import {
  type Actor,
  askOption,
  checkFunction,
  hasMethods,
  isCode,
  type OptionTable,
  optionError,
  type Read,
  readOptions,
} from '../../option.ts'
import type { EndResult } from '../../registry/registry.ts'
import type { EndingTerms } from '../../session/ending.ts'
import { handleOf, type UserId } from '../../session/names.ts'
import type { SessionStore } from '../../store/store.ts'
import { isSameOrigin } from '../same-origin.ts'
import { type AdminRoute, routeOf } from './admin-route.ts'

/** A request behind `session()`, and perhaps behind a body parser. */
export type AdminRequest = IncomingMessage & {
  readonly sessionID?: string
  readonly session?: (Session & Partial<SessionData>) | undefined
  readonly body?: unknown
}

/** What a request asks to do, for `authorize` to allow or deny. */
export interface AdminAction {
  readonly kind: 'list' | 'count' | 'end' | 'end-all'
  readonly userId?: string | undefined
  readonly handle?: string | undefined
}

/** What the session administration uses of a store. */
interface AdministeredStore extends SessionStore {
  userIdOf(session: Partial<SessionData>): UserId | undefined
}

export interface SessionAdminOptions {
  /** The store that `session()` was given. */
  readonly store: SessionStore
  /** Returns whether the request may do this to other users' sessions. A throw denies. */
  readonly authorize: (req: AdminRequest, action: AdminAction) => boolean | Promise<boolean>
  /** Returns the actor that is kept with an ending. @defaultValue `{ type: 'admin' }`, for the user's own sessions `{ type: 'user' }` */
  readonly actor?: ((req: AdminRequest) => Actor) | undefined
  /**
   * Returns whether an unsafe request is free of CSRF, for clients with tokens of their own. Replaces the check that it comes
   * from the site's own pages. A throw denies.
   * @defaultValue `Sec-Fetch-Site: same-origin`, or an `Origin` that is the site's own: scheme, host and port
   */
  readonly verifyCsrf?: ((req: AdminRequest) => boolean | Promise<boolean>) | undefined
}

const forbidden: JsonReply = { status: 403, body: { error: 'forbidden' } }
const crossSite: JsonReply = { status: 403, body: { error: 'csrf' } }
const sessionless: JsonReply = {
  status: 500,
  body: {
    error: 'no-session',
    message:
      'sessionAdmin found no session on the request: mount it after session(), on paths inside of cookie.path',
  },
}
const wrongQuery: JsonReply = {
  status: 400,
  body: { error: 'query', message: 'all and ended must be 1, 0 or left out' },
}
const notFound: JsonReply = { status: 404, body: { error: 'not-found' } }
const signedOut: JsonReply = { status: 401, body: { error: 'signed-out' } }

/**
 * Makes a middleware that lists and ends sessions over HTTP, in JSON. It names sessions by their handles and never shows a
 * session id. Mount it after `session()`.
 *
 * | request | does |
 * |---|---|
 * | `GET /me` | lists the signed-in user's sessions, `isCurrent` marks this one; with `?ended=1` also ended ones |
 * | `GET /me/count` | counts them |
 * | `DELETE /me/:handle` | ends one of them |
 * | `DELETE /me` | ends all others; with `?all=1` this one too |
 * | `GET /users/:userId/sessions`, `.../count` | the same for any user, if `authorize` allows it |
 * | `DELETE /users/:userId/sessions` | ends all sessions of a user |
 * | `DELETE /sessions/:handle` | ends one session of any user |
 *
 * Replies 403 `csrf` to an unsafe request that neither comes from the site's own pages nor passes `verifyCsrf`, 403 `forbidden`
 * if `authorize` denies, and 500 `no-session` if the middleware runs before `session()`. A request may end its own session. A
 * `reason` in a parsed JSON body, a short code, is kept with the ending.
 *
 * @throws TypeError that names the option, if one is wrong.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import session from 'express-session'
 * import { InProcessStore, sessionAdmin } from 'express-session-valkey'
 *
 * const store = new InProcessStore()
 * const app = express()
 * app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false }))
 * app.use('/devices', sessionAdmin({ store, authorize: () => false }))
 * ```
 */
export function sessionAdmin(
  options: SessionAdminOptions,
): (req: AdminRequest, res: ServerResponse, next: (error?: unknown) => void) => void {
  const admin = new SessionAdmin(readOptions(options, ADMIN_OPTIONS, 'sessionAdmin'))
  return function sessionAdminMiddleware(req, res, next) {
    admin.answer(req).then(
      (reply) => (reply ? sendJson(res, reply) : next()),
      (error: unknown) => {
        const reply = failureReply(error)
        if (reply) sendJson(res, reply)
        else next(error)
      },
    )
  }
}

const ADMIN_OPTIONS = {
  store: (value, name) => administered(name, value),
  authorize: (value, name) => checkFunction(name, value),
  actor: (value, name) => (value === undefined ? undefined : checkFunction(name, value)),
  verifyCsrf: (value, name) => (value === undefined ? undefined : checkFunction(name, value)),
} satisfies OptionTable<SessionAdminOptions>

function administered(name: string, store: SessionStore): AdministeredStore {
  const { registry } = Object(store) as Partial<SessionStore>
  const isAdministered =
    hasMethods(store, ['userIdOf']) && hasMethods(registry, ['list', 'has', 'count', 'end', 'endAll'])
  if (!isAdministered) throw optionError(name, 'the store given to session()')
  return store as AdministeredStore
}

class SessionAdmin {
  readonly #options: Read<typeof ADMIN_OPTIONS>

  constructor(options: Read<typeof ADMIN_OPTIONS>) {
    this.#options = options
  }

  /** Returns the reply; `undefined` for a path of another route. */
  async answer(req: AdminRequest): Promise<JsonReply | undefined> {
    const [path, query] = targetOf(req.url ?? '/')
    const { route, allow } = routeOf(req.method ?? 'GET', path)
    if (allow === undefined) return undefined
    if (route === undefined)
      return { status: 405, body: { error: 'method-not-allowed' }, headers: { Allow: allow } }
    if (!['all', 'ended'].every((name) => isFlag(query, name))) return wrongQuery
    if (isOwn(route) && isSessionless(req)) return sessionless
    if (isUnsafe(route) && !(await this.#isMeant(req))) return crossSite
    return isOwn(route) ? this.#own(req, route, query) : this.#others(req, route, query)
  }

  async #others(req: AdminRequest, route: AdminRoute, query: URLSearchParams): Promise<JsonReply> {
    // Without a session `authorize` most likely found no user to allow.
    if (!(await holds(() => this.#options.authorize(req, actionOf(route)))))
      return isSessionless(req) ? sessionless : forbidden
    if (route.kind === 'end') {
      const outcome = await this.#end(req, route.handle, 'admin')
      return outcome === 'not-found' ? notFound : { status: 200, body: { outcome } }
    }
    return this.#ofUser(req, { kind: route.kind, userId: route.userId ?? '' }, { query, actor: 'admin' })
  }

  async #own(req: AdminRequest, route: AdminRoute, query: URLSearchParams): Promise<JsonReply> {
    const userId = req.session && this.#options.store.userIdOf(req.session)
    if (userId === undefined) return signedOut
    if (route.kind !== 'end') return this.#ofUser(req, { kind: route.kind, userId }, { query, actor: 'user' })
    const { registry } = this.#options.store
    const { handle } = route
    if (!(await registry.has(userId, { handle }))) return notFound
    const outcome = await this.#end(req, handle, 'user')
    return { status: 200, body: { outcome } }
  }

  async #end(req: AdminRequest, handle: string, actor: 'admin' | 'user'): Promise<EndResult['outcome']> {
    const terms = this.#terms(req, actor)
    if (handle === handleOf(req.sessionID)) leaveSession(req)
    const { outcome } = await this.#options.store.registry.end({ handle }, terms)
    return outcome
  }

  async #ofUser(
    req: AdminRequest,
    asked: { readonly kind: 'list' | 'count' | 'end-all'; readonly userId: UserId },
    how: { readonly query: URLSearchParams; readonly actor: 'admin' | 'user' },
  ): Promise<JsonReply> {
    const { registry } = this.#options.store
    const { kind, userId } = asked
    const { sessionID: sid } = req
    const current = how.actor === 'user' && sid !== undefined ? { sid } : undefined
    if (kind === 'count') return { status: 200, body: { count: await registry.count(userId) } }
    if (kind === 'list') {
      const sessions = await registry.list(userId, { includeEnded: how.query.get('ended') === '1', current })
      return { status: 200, body: { sessions } }
    }
    const except = how.query.get('all') === '1' ? undefined : current
    const terms = this.#terms(req, how.actor)
    if (except === undefined && this.#isOf(req, userId)) leaveSession(req)
    const { ended } = await registry.endAll(userId, { ...terms, except })
    return { status: 200, body: { ended } }
  }

  #isOf({ session }: AdminRequest, userId: UserId): boolean {
    const own = session && this.#options.store.userIdOf(session)
    return own !== undefined && String(own) === String(userId)
  }

  #terms(req: AdminRequest, type: 'admin' | 'user'): EndingTerms {
    const { body } = req
    const reason: unknown =
      typeof body === 'object' && body !== null ? Reflect.get(body, 'reason') : undefined
    const actor = askOption('actor', () => this.#options.actor?.(req)) ?? { type }
    return {
      actor,
      reason: isCode(reason) ? reason : 'ended',
    }
  }

  #isMeant(req: AdminRequest): Promise<boolean> {
    const { verifyCsrf } = this.#options
    return holds(() => (verifyCsrf ? verifyCsrf(req) : isSameOrigin(req)))
  }
}

async function holds(decide: () => boolean | Promise<boolean>): Promise<boolean> {
  try {
    return (await decide()) === true
  } catch {
    return false
  }
}

// Not by `new URL`, which normalizes the path.
function targetOf(url: string): readonly [string, URLSearchParams] {
  const at = url.indexOf('?')
  return at < 0 ? [url, new URLSearchParams()] : [url.slice(0, at), new URLSearchParams(url.slice(at + 1))]
}

// Rejects other values rather than to guess: `all` decides whether a session is ended.
function isFlag(query: URLSearchParams, name: string): boolean {
  const [value = '0', ...others] = query.getAll(name)
  return others.length === 0 && (value === '0' || value === '1')
}

/** Whether `session()` did not run before, rather than that no user is signed in. */
function isSessionless(req: AdminRequest): boolean {
  const { sessionStore } = req as { readonly sessionStore?: unknown }
  return req.session === undefined && sessionStore === undefined
}

// A save of the session that this request ends would fail, and the response with it.
function leaveSession(req: AdminRequest): void {
  Reflect.deleteProperty(req, 'session')
}

function isUnsafe({ kind }: AdminRoute): boolean {
  return kind === 'end' || kind === 'end-all'
}

function isOwn(route: AdminRoute): boolean {
  return route.kind === 'end' ? route.isOwn : route.userId === undefined
}

function actionOf(route: AdminRoute): AdminAction {
  if (route.kind === 'end') return { kind: route.kind, handle: route.handle }
  return { kind: route.kind, userId: route.userId }
}

interface JsonReply {
  readonly status: number
  readonly body: object
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** Sends JSON that no cache may store. */
function sendJson(res: ServerResponse, { status, body, headers }: JsonReply): void {
  res.statusCode = status
  for (const [name, value] of Object.entries(headers ?? {})) res.setHeader(name, value)
  res.setHeader('Content-Type', 'application/json; charset=utf-8')
  res.setHeader('Cache-Control', 'no-store')
  res.end(res.req.method === 'HEAD' ? undefined : JSON.stringify(body))
}

/** Returns the reply for a failure of the store; `undefined` for other errors, which the app handles. */
function failureReply(error: unknown): JsonReply | undefined {
  if (!isSessionStoreError(error) || error.code === 'ERR_STORE_OPTION') return undefined
  return { status: error.status, body: { error: error.code }, headers: error.headers }
}
