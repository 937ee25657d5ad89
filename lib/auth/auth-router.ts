import type { IncomingMessage, ServerResponse } from 'node:http'
import { isSameOrigin } from '../http/same-origin.ts'
import { checkBoolean, checkKnown, checkObject, optionError } from '../option.ts'
import { accessTo } from '../registry/access.ts'
import type { SessionRegistry } from '../registry/registry.ts'
import { createAccessTokens } from './access-token.ts'
import { InvalidRequestError } from './auth-errors.ts'
import {
  type ResolvedAuthOptions,
  resolveAuthOptions,
  type StatefulAuthOptions,
  type StatelessAuthOptions,
} from './auth-options.ts'
import { type AuthReply, authErrorOf, failureReply, sendReply } from './auth-reply.ts'
import { type AuthMiddleware, Authorizer } from './require-auth.ts'
import { SessionRoutes, type SessionRoutesParts } from './session-routes.ts'
import { StatelessSessions } from './stateless-sessions.ts'
import type { AuthRequest } from './token-request.ts'
import { TokenRoute, type TokenRouteParts } from './token-route.ts'
import { TokenSessions } from './token-sessions.ts'

/** A middleware with the routes of sign-in and refresh, and what the app's own routes need. */
export interface StatelessAuthRouter {
  (req: AuthRequest, res: ServerResponse, next: (error?: unknown) => void): void
  /**
   * Makes a middleware that replies 401 unless the request has a valid access token, and that notes whose it is as
   * `req.auth`.
   */
  requireAuth(): AuthMiddleware
}

/** As {@link StatelessAuthRouter}, with a store: sessions can be seen, and ended. */
export interface StatefulAuthRouter extends StatelessAuthRouter {
  /** Requires an access token; with `live` also checks by one read of the store that the session has not ended. @defaultValue `{ live: false }` */
  requireAuth(options?: { readonly live?: boolean | undefined }): AuthMiddleware
  /** The store's registry, which has cookie sessions and token sessions alike. */
  readonly registry: SessionRegistry
}

/**
 * Makes a router that signs your app's own users in and returns tokens: `POST /token`, `/logout`, `/logout-all` and
 * `/revoke`, `GET /session` and `/user`, the keys and the metadata. Mount it where `issuer` says.
 *
 * With a `store`, token sessions are in its registry, beside the cookie sessions: listed, capped and ended by the same
 * calls. Without one nothing is kept, and a token is valid until it expires.
 *
 * @throws TypeError if an option is wrong, which it names.
 *
 * @example
 * ```ts
 * import { generateKeyPairSync } from 'node:crypto'
 * import express from 'express'
 * import { InProcessStore } from 'express-session-valkey'
 * import { createAuthRouter } from 'express-session-valkey/auth'
 *
 * const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
 * const auth = createAuthRouter({
 *   issuer: 'https://app.example/auth',
 *   audience: 'https://app.example',
 *   keys: [privateKey],
 *   authenticate: async ({ username, password }) =>
 *     username === 'alice' && password === 'wonderland' ? { user: { id: 'alice' } } : undefined,
 *   store: new InProcessStore(),
 * })
 * const app = express()
 * app.use('/auth', auth)
 * app.get('/orders', auth.requireAuth(), (_req, res) => void res.json([]))
 * app.post('/transfer', auth.requireAuth({ live: true }), (_req, res) => void res.sendStatus(202))
 * ```
 */
export function createAuthRouter(options: StatefulAuthOptions): StatefulAuthRouter
export function createAuthRouter(options: StatelessAuthOptions): StatelessAuthRouter
export function createAuthRouter(
  options: StatefulAuthOptions | StatelessAuthOptions,
): StatefulAuthRouter | StatelessAuthRouter {
  const resolved = resolveAuthOptions(options)
  const { store, secrets, lifetimes, onError } = resolved
  const access = accessTo(store)
  if (store !== undefined && access === undefined) throw optionError('store', 'a store of this package')
  const tokens = createAccessTokens(resolved)
  const sessions = access && new TokenSessions(access, lifetimes)
  const stateless = secrets === undefined ? undefined : new StatelessSessions({ ...resolved, secrets })
  const authorizer = new Authorizer(tokens, sessions)
  const report = observed(onError)
  const upstreamFailed = (sid: string, error: unknown, req: AuthRequest): void => {
    access?.announce('upstream-logout-failed', { handle: sid })
    void report(error, req)
  }
  const parts = { options: resolved, tokens, sessions, stateless, authorizer, upstreamFailed }
  const routes = routesOf(parts)

  const fail = (error: unknown, { req, res, next }: Exchange): void => {
    const known = authErrorOf(error)
    if (known === undefined || known.status >= 500) void report(error, req)
    if (known === undefined || res.headersSent) next(error)
    else sendReply(res, failureReply(known))
  }
  const router = (req: AuthRequest, res: ServerResponse, next: (error?: unknown) => void): void => {
    const path = (req.url ?? '/').split('?', 1)[0]?.replace(/\/$/, '') ?? ''
    const methods = routes.get(path)
    const route = methods?.[req.method === 'HEAD' ? 'GET' : (req.method ?? '')]
    if (methods === undefined) next()
    else if (route === undefined) sendReply(res, notAllowed(methods))
    else
      answer(
        route(req),
        (reply) => sendReply(res, reply),
        (error) => fail(error, { req, res, next }),
      )
  }
  const requireAuth = (terms: { readonly live?: boolean | undefined } = {}): AuthMiddleware => {
    checkObject('options', terms)
    checkKnown(terms, access ? ['live'] : [], 'requireAuth')
    const { live = false } = terms
    checkBoolean('live', live)
    return (req, res, next) => {
      const allowed = allow(authorizer, req, live)
      answer(
        allowed,
        () => next(),
        (error) => fail(error, { req, res, next }),
      )
    }
  }
  return Object.assign(router, store ? { requireAuth, registry: store.registry } : { requireAuth })
}

interface Exchange {
  readonly req: IncomingMessage
  readonly res: ServerResponse
  readonly next: (error?: unknown) => void
}

type Route = (req: AuthRequest) => Promise<AuthReply>
type Methods = Readonly<Record<string, Route>>

type RouteParts = TokenRouteParts & SessionRoutesParts

function routesOf(parts: RouteParts): ReadonlyMap<string, Methods> {
  const { options, tokens } = parts
  const token = new TokenRoute(parts)
  const ofSessions = new SessionRoutes(parts)
  const meant = (route: Route): Route => (options.transport === 'cookie' ? sameOrigin(route) : route)
  const metadata = async () => ({ body: metadataOf(options), headers: PUBLIC })
  return new Map<string, Methods>([
    ['/token', { POST: meant((req) => token.handle(req)) }],
    ['/logout', { POST: meant((req) => ofSessions.logout(req)) }],
    ['/logout-all', { POST: meant((req) => ofSessions.logoutAll(req)) }],
    ['/revoke', { POST: (req) => ofSessions.revoke(req) }],
    ['/session', { GET: (req) => ofSessions.session(req) }],
    ['/user', { GET: (req) => ofSessions.user(req) }],
    ['/.well-known/jwks.json', { GET: async () => ({ body: await tokens.jwks(), headers: PUBLIC }) }],
    ['/.well-known/openid-configuration', { GET: metadata }],
    ['/.well-known/oauth-authorization-server', { GET: metadata }],
  ])
}

/** Whoever observes must not fail a request, and still less the process. */
function observed(onError: ResolvedAuthOptions['onError']) {
  return async (error: unknown, req: IncomingMessage): Promise<void> => {
    try {
      await onError?.(error, req)
    } catch {
      process.emitWarning('"onError" of createAuthRouter failed', { type: 'AuthObserverWarning' })
    }
  }
}

function notAllowed(methods: Methods): AuthReply {
  return { status: 405, headers: { Allow: Object.keys(methods).join(', ') } }
}

/** How long verifiers keep the keys, which the order of a key rotation is made for. */
const PUBLIC = { 'Cache-Control': 'public, max-age=600' }

// A cookie goes along with requests that other sites make.
function sameOrigin(route: Route): Route {
  return async (req) => {
    if (!isSameOrigin(req)) throw new InvalidRequestError('The request does not come from the site itself')
    return route(req)
  }
}

/** RFC 8414. Served under both names: that of §3 begins at the root of a host, where no mounted router is. */
function metadataOf({ issuer }: ResolvedAuthOptions): object {
  const base = issuer.replace(/\/$/, '')
  return {
    issuer,
    token_endpoint: `${base}/token`,
    revocation_endpoint: `${base}/revoke`,
    jwks_uri: `${base}/.well-known/jwks.json`,
    response_types_supported: [],
    grant_types_supported: ['password', 'refresh_token'],
    token_endpoint_auth_methods_supported: ['none'],
    revocation_endpoint_auth_methods_supported: ['none'],
  }
}

async function allow(authorizer: Authorizer, req: IncomingMessage, live: boolean): Promise<void> {
  const auth = await authorizer.authorize(req)
  if (live) await authorizer.liveSession(auth)
  Object.assign(req, { auth })
}

/** Outside our promises: what the app's next middleware throws is not a rejection of ours. */
function answer<Value>(
  outcome: Promise<Value>,
  then: (value: Value) => void,
  otherwise: (error: unknown) => void,
): void {
  outcome.then(
    (value) => process.nextTick(then, value),
    (error: unknown) => process.nextTick(otherwise, error),
  )
}
