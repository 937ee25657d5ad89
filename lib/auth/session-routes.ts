import type { SessionRegistry } from '../registry/registry.ts'
import type { AccessTokens } from './access-token.ts'
import { InvalidRequestError, InvalidTokenError } from './auth-errors.ts'
import type { ResolvedAuthOptions } from './auth-options.ts'
import type { AuthReply } from './auth-reply.ts'
import type { UpstreamSession } from './authenticate.ts'
import { noRefreshCookie, refreshTokenIn } from './refresh-cookie.ts'
import type { Authorizer } from './require-auth.ts'
import { type StatelessSessions, tokenSessionOf } from './stateless-sessions.ts'
import type { TokenSession } from './token-records.ts'
import { type AuthRequest, queryOf, readParameters } from './token-request.ts'
import { clientOf } from './token-route.ts'
import type { TokenSessions } from './token-sessions.ts'

export interface SessionRoutesParts {
  readonly options: ResolvedAuthOptions
  readonly tokens: AccessTokens
  readonly authorizer: Authorizer
  readonly sessions: TokenSessions | undefined
  readonly stateless: StatelessSessions | undefined
  /** Called if an upstream could not be told of a sign-out. */
  readonly upstreamFailed: (sid: string, error: unknown, req: AuthRequest) => void
}

type Scope = 'local' | 'global' | 'others'

const SIGNED_OUT = { reason: 'logout', actor: { type: 'user' } } as const
const NO_CONTENT: AuthReply = { status: 204 }

/** The routes of those who are signed in. */
export class SessionRoutes {
  readonly #parts: SessionRoutesParts
  readonly #registry: SessionRegistry | undefined

  constructor(parts: SessionRoutesParts) {
    this.#parts = parts
    this.#registry = parts.options.store?.registry
  }

  /** `POST /logout`: ends this session, all of the user's, or all others. Without a store nothing can be ended. */
  async logout(req: AuthRequest): Promise<AuthReply> {
    const [scope = 'local', ...others] = queryOf(req).getAll('scope')
    if (others.length > 0) throw new InvalidRequestError('scope is given twice')
    if (scope !== 'local' && scope !== 'global' && scope !== 'others')
      throw new InvalidRequestError('scope must be local, global or others')
    return this.#logout(req, scope)
  }

  /** `POST /logout-all`. */
  logoutAll(req: AuthRequest): Promise<AuthReply> {
    return this.#logout(req, 'global')
  }

  /** `GET /session`: what is known of the session that the token is of. */
  async session(req: AuthRequest): Promise<AuthReply> {
    const { authorizer, sessions } = this.#parts
    const authorization = await authorizer.authorize(req)
    const { sid, clientId, userId, claims } = authorization
    if (sessions === undefined)
      return { body: { sid, client_id: clientId, user: { id: userId }, expires_at: claims.exp } }
    const { createdAtMs, expiresAtMs, endsAtMs, state } = await authorizer.liveSession(authorization)
    const times = { created_at: inS(createdAtMs), expires_at: inS(expiresAtMs) }
    const end = endsAtMs === undefined ? {} : { ends_at: inS(endsAtMs) }
    return { body: { sid, client_id: clientId, user: state.user, ...times, ...end } }
  }

  /** `GET /user`: the user, as the sign-in or the last refresh returned it; without a store its id alone. */
  async user(req: AuthRequest): Promise<AuthReply> {
    const { authorizer, sessions } = this.#parts
    const authorization = await authorizer.authorize(req)
    if (sessions === undefined) return { body: { id: authorization.userId } }
    const { state } = await authorizer.liveSession(authorization)
    return { body: state.user }
  }

  /** `POST /revoke` (RFC 7009): ends the session of a token. Whatever it is not, nobody is told (§2.2). */
  async revoke(req: AuthRequest): Promise<AuthReply> {
    const parameters = await readParameters(req)
    const client = clientOf(req, parameters, this.#parts.options.clients)
    const token = parameters.get('token')
    if (token === undefined) throw new InvalidRequestError('token is missing')
    const session = await this.#sessionOf(token)
    if (session?.state.clientId === client) await this.#end(req, session, 'local')
    return { body: {} }
  }

  async #logout(req: AuthRequest, scope: Scope): Promise<AuthReply> {
    const { options, sessions, authorizer } = this.#parts
    const headers = options.transport === 'cookie' && scope !== 'others' ? noRefreshCookie : {}
    // Its session is to end although its time has come: the client has nothing better in hand.
    const session = await this.#presented(req, { acceptExpired: scope === 'local' })
    if (sessions === undefined) {
      if (session?.state.upstream !== undefined) await this.#tellUpstream(req, session, scope)
      return { ...NO_CONTENT, headers }
    }
    if (session !== undefined) await this.#end(req, session, scope)
    // Whoever has been signed out has no say over the user's other sessions.
    else if (scope !== 'local') await authorizer.liveSession(await authorizer.authorize(req))
    return { ...NO_CONTENT, headers }
  }

  /** The session of the bearer token or, where that is how it travels, of the refresh token in the cookie. */
  async #presented(req: AuthRequest, terms: { acceptExpired: boolean }): Promise<TokenSession | undefined> {
    const { options, sessions, stateless, authorizer } = this.#parts
    const cookie = options.transport === 'cookie' ? refreshTokenIn(req) : undefined
    if (cookie !== undefined && req.headers.authorization === undefined) {
      const sid = await sessions?.sidOf(cookie)
      if (sid !== undefined) return sessions?.find(sid)
      const sealed = await stateless?.read(cookie)
      return sealed && tokenSessionOf(sealed)
    }
    const { sid } = await authorizer.authorize(req, terms)
    return sessions?.find(sid)
  }

  async #sessionOf(token: string): Promise<TokenSession | undefined> {
    const { sessions, tokens } = this.#parts
    const sid = (await sessions?.sidOf(token)) ?? (await sidOfAccessToken(tokens, token))
    return sid === undefined ? undefined : sessions?.find(sid)
  }

  /** Ours first: should the upstream fail, nobody can be signed in here any more. */
  async #end(req: AuthRequest, session: TokenSession, scope: Scope): Promise<void> {
    const target = { handle: session.sid }
    const { id } = session.state.user
    if (scope === 'local') await this.#registry?.end(target, SIGNED_OUT)
    else if (scope === 'global') await this.#registry?.endAll(id, SIGNED_OUT)
    else await this.#registry?.endAll(id, { ...SIGNED_OUT, except: target })
    await this.#tellUpstream(req, session, scope)
  }

  async #tellUpstream(req: AuthRequest, { sid, state }: TokenSession, scope: Scope): Promise<void> {
    const { authenticate } = this.#parts.options
    const session: UpstreamSession = { userId: state.user.id, sid, upstream: state.upstream, req }
    try {
      await authenticate.logout?.({ ...session, scope })
    } catch (error) {
      this.#parts.upstreamFailed(sid, error, req)
    }
  }
}

async function sidOfAccessToken(tokens: AccessTokens, token: string): Promise<string | undefined> {
  try {
    return (await tokens.verify(token, { acceptExpired: true })).sid
  } catch (error) {
    if (error instanceof InvalidTokenError) return undefined
    throw error
  }
}

function inS(ms: number): number {
  return Math.floor(ms / 1000)
}
