import type { IncomingMessage, ServerResponse } from 'node:http'
import type { AccessClaims, AccessTokens } from './access-token.ts'
import { InvalidTokenError } from './auth-errors.ts'
import type { TokenSession } from './token-records.ts'
import type { TokenSessions } from './token-sessions.ts'

/** Describes the signed-in user; `requireAuth` sets it as `req.auth`. */
export interface Authorization {
  /** The user id, as text. */
  readonly userId: string
  /** The handle of the token session: for `registry.end`, `closeOnEnd` and device lists. */
  readonly sid: string
  readonly clientId: string
  readonly claims: AccessClaims
}

export type AuthorizedRequest = IncomingMessage & { auth?: Authorization }

/** A middleware that sets `req.auth`. Its type does not say so: other packages declare an `auth` of every request. */
export type AuthMiddleware = (
  req: IncomingMessage,
  res: ServerResponse,
  next: (error?: unknown) => void,
) => void

const BEARER = /^Bearer +([\w.~+/=-]+) *$/i

/** The bearer token of a request (RFC 6750 §2.1); `undefined` if there is none. */
export function bearerOf({ headers: { authorization } }: IncomingMessage): string | undefined {
  if (authorization === undefined) return undefined
  const [, token] = BEARER.exec(authorization) ?? []
  if (token === undefined && /^Bearer\b/i.test(authorization)) throw new InvalidTokenError()
  return token
}

/** Who may do what a request asks for. */
export class Authorizer {
  readonly #tokens: AccessTokens
  readonly #sessions: TokenSessions | undefined

  constructor(tokens: AccessTokens, sessions: TokenSessions | undefined) {
    this.#tokens = tokens
    this.#sessions = sessions
  }

  /** Rejects with `InvalidTokenError` if the token is missing or not valid; `acceptExpired` only asks that it was once. */
  async authorize(req: IncomingMessage, { acceptExpired = false } = {}): Promise<Authorization> {
    const token = bearerOf(req)
    if (token === undefined)
      throw new InvalidTokenError('no_authorization', 'This endpoint requires a bearer token')
    const claims = await this.#tokens.verify(token, { acceptExpired })
    return { userId: claims.sub, sid: claims.sid, clientId: claims.client_id, claims }
  }

  /** The session that the token is of, at one read. Rejects with `InvalidTokenError` if it has ended. */
  async liveSession({ sid }: Authorization): Promise<TokenSession> {
    const session = await this.#sessions?.find(sid)
    if (session === undefined) throw new InvalidTokenError('session_not_found', 'The session has ended')
    return session
  }
}
