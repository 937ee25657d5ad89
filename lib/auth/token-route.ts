import { askOption } from '../option.ts'
import { deviceOf, type SessionDevice } from '../session/device.ts'
import { ownerName } from '../session/names.ts'
import type { AccessTokens } from './access-token.ts'
import {
  AuthUnavailableError,
  InvalidClientError,
  InvalidGrantError,
  InvalidRequestError,
  isAuthError,
} from './auth-errors.ts'
import type { ResolvedAuthOptions } from './auth-options.ts'
import type { AuthReply } from './auth-reply.ts'
import type { Authenticated, MoreNeeded } from './authenticate.ts'
import { refreshCookie, refreshTokenIn } from './refresh-cookie.ts'
import type { StatelessSessions } from './stateless-sessions.ts'
import { type AuthRequest, type Parameters, readParameters } from './token-request.ts'
import { deadToken, type Grant, type Renew, type TokenSessions } from './token-sessions.ts'
import { isUser } from './token-state.ts'

export interface TokenRouteParts {
  readonly options: ResolvedAuthOptions
  readonly tokens: AccessTokens
  /** Where new sessions are kept: in a store, or nowhere. */
  readonly sessions: TokenSessions | undefined
  readonly stateless: StatelessSessions | undefined
}

const USER_NAMES = ['username', 'email', 'phone'] as const
const MAX_USER_BYTES = 8192
const MAX_UPSTREAM_BYTES = 4096
const NEED = /^[a-z][a-z0-9_]{0,63}$/

/** `POST /token`: signs a user in, or continues a session. */
export class TokenRoute {
  readonly #parts: TokenRouteParts

  constructor(parts: TokenRouteParts) {
    this.#parts = parts
  }

  async handle(req: AuthRequest): Promise<AuthReply> {
    const parameters = await readParameters(req)
    const clientId = clientOf(req, parameters, this.#parts.options.clients)
    const grantType = parameters.get('grant_type')
    if (grantType === 'password') return this.#reply(await this.#signIn(req, parameters, clientId))
    if (grantType === 'refresh_token') return this.#reply(await this.#refresh(req, parameters, clientId))
    if (grantType === undefined) throw new InvalidRequestError('grant_type is missing')
    throw new InvalidRequestError(
      'grant_type must be password or refresh_token',
      'unsupported_grant_type',
      'unsupported_grant_type',
    )
  }

  async #signIn(req: AuthRequest, parameters: Parameters, clientId: string): Promise<Grant> {
    const { options, sessions, stateless } = this.#parts
    const names = USER_NAMES.filter((name) => parameters.has(name))
    const username = names.length === 1 ? parameters.get(names[0] ?? '') : undefined
    const password = parameters.get('password')
    if (username === undefined)
      throw new InvalidRequestError('Exactly one of username, email, phone is needed')
    if (password === undefined) throw new InvalidRequestError('password is missing')
    const found = await ask(() => options.authenticate({ grant: 'password', username, password, req }))
    if (found === undefined) throw new InvalidGrantError('invalid_credentials', 'Invalid login credentials')
    if ('needs' in found) throw moreNeeded(found)
    const opening = { ...checked(found), clientId, device: this.#deviceOf(req) }
    return (sessions ?? stateless)?.open(opening) ?? Promise.reject(deadToken())
  }

  async #refresh(req: AuthRequest, parameters: Parameters, clientId: string): Promise<Grant> {
    const { options, sessions, stateless } = this.#parts
    const isInCookie = options.transport === 'cookie'
    if (isInCookie && parameters.has('refresh_token'))
      throw new InvalidRequestError('refresh_token must be in the cookie')
    const text = isInCookie ? refreshTokenIn(req) : parameters.get('refresh_token')
    if (text === undefined && isInCookie) throw deadToken()
    if (text === undefined) throw new InvalidRequestError('refresh_token is missing')
    const renew = this.#renewal(req)
    // One that was issued without a store has no dots.
    if (sessions !== undefined && (text.includes('.') || stateless === undefined))
      return sessions.refresh(text, clientId, renew)
    if (stateless === undefined) throw deadToken()
    if (sessions === undefined) return stateless.refresh(text, clientId, renew)
    const session = await stateless.read(text)
    if (session?.clientId !== clientId) throw deadToken()
    return sessions.adopt({ ...session, device: this.#deviceOf(req) }, renew)
  }

  #deviceOf(req: AuthRequest): SessionDevice | undefined {
    return deviceOf(askOption('device', () => this.#parts.options.device?.(req)))
  }

  #renewal(req: AuthRequest): Renew | undefined {
    const { authenticate } = this.#parts.options
    if (authenticate.refresh === undefined) return undefined
    return async ({ sid, state: { user, upstream } }) => {
      const renewed = await askAgain(async () =>
        authenticate.refresh?.({ userId: user.id, sid, upstream, req }),
      )
      // Another user is nobody to go on with.
      const isSame = renewed !== undefined && ownerName(renewed.user.id) === ownerName(user.id)
      return isSame ? checked(renewed) : undefined
    }
  }

  async #reply({ refreshToken, sid, user, clientId, nowMs, expiresAtMs }: Grant): Promise<AuthReply> {
    const { tokens, options } = this.#parts
    const subject = { sub: String(user.id), sid, clientId }
    const { token, expiresInS, expiresAtS } = await tokens.issue({ ...subject, nowMs, endsAtMs: expiresAtMs })
    const body = {
      access_token: token,
      token_type: 'bearer',
      expires_in: expiresInS,
      expires_at: expiresAtS,
    }
    if (options.transport === 'bearer') return { body: { ...body, refresh_token: refreshToken, user } }
    return { body: { ...body, user }, headers: refreshCookie(refreshToken, expiresAtMs - nowMs) }
  }
}

/**
 * The client that a request names, in its body or by Basic, or the first one. A secret is not looked at: no client has one.
 * Throws an `InvalidClientError` for any other.
 */
export function clientOf(req: AuthRequest, parameters: Parameters, clients: readonly string[]): string {
  const basic = basicClient(req)
  const named = parameters.get('client_id')
  if (basic !== undefined && named !== undefined && basic !== named)
    throw new InvalidRequestError('client_id is given twice')
  const client = basic ?? named ?? clients[0] ?? ''
  if (clients.includes(client)) return client
  throw new InvalidClientError({ isBasic: basic !== undefined })
}

function basicClient({ headers: { authorization = '' } }: AuthRequest): string | undefined {
  if (!/^Basic\b/i.test(authorization)) return undefined
  const [, encoded] = /^Basic +([A-Za-z0-9+/]+={0,2}) *$/i.exec(authorization) ?? []
  const [name = ''] = Buffer.from(encoded ?? '', 'base64')
    .toString()
    .split(':')
  // RFC 6749 §2.3.1: encoded as in a form. What is not becomes the name of nobody.
  return new URLSearchParams(`name=${name.replaceAll('&', '%26')}`).get('name') ?? ''
}

function moreNeeded({ needs, description = 'More is needed to sign in' }: MoreNeeded): Error {
  if (typeof needs !== 'string' || !NEED.test(needs))
    return new TypeError('"needs" must be a word of a-z 0-9 _, as "insufficient_aal"')
  return new InvalidGrantError(needs, description)
}

function checked({ user, upstream }: Authenticated): Authenticated {
  if (!isUser(user)) throw new TypeError('"authenticate" must return a user with an "id"')
  // As a later refresh returns it.
  const text = JSON.stringify({ ...user, id: typeof user.id === 'bigint' ? String(user.id) : user.id })
  if (Buffer.byteLength(text) > MAX_USER_BYTES)
    throw new TypeError(`"authenticate" returned a user of more than ${MAX_USER_BYTES} bytes`)
  if (
    upstream !== undefined &&
    (typeof upstream !== 'string' || Buffer.byteLength(upstream) > MAX_UPSTREAM_BYTES)
  )
    throw new TypeError(
      `"authenticate" must return an "upstream" text of at most ${MAX_UPSTREAM_BYTES} bytes`,
    )
  return { user: JSON.parse(text) as Authenticated['user'], upstream }
}

/** Asks the app. What it rejects with is an outage, unless it is one of our errors. */
async function ask<Answer>(question: () => Promise<Answer>): Promise<Answer> {
  try {
    return await question()
  } catch (error) {
    if (isAuthError(error)) throw error
    throw new AuthUnavailableError('"authenticate" failed', { cause: error })
  }
}

/** As {@link ask}, on a refresh: whatever it rejects with is an outage, as only a dead token ends a session. */
async function askAgain<Answer>(question: () => Promise<Answer>): Promise<Answer> {
  try {
    return await question()
  } catch (error) {
    if (isAuthError(error) && error.status === 503) throw error
    throw new AuthUnavailableError('"authenticate.refresh" failed', { cause: error })
  }
}
