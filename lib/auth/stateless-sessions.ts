import { randomBytes } from 'node:crypto'
import { Sealer } from '../seal/sealer.ts'
import type { Secrets } from '../seal/secret.ts'
import { handleOf } from '../session/names.ts'
import type { TokenSession } from './token-records.ts'
import { deadToken, type Grant, type Opening, type Renew, type TokenLifetimes } from './token-sessions.ts'
import { isUser, type TokenState } from './token-state.ts'

/** What a sealed refresh token says. */
export interface SealedSession extends Pick<TokenState, 'user' | 'clientId' | 'upstream'> {
  /** The secret name of the session, which only the token has. */
  readonly id: string
  readonly createdAtMs: number
  readonly endsAtMs: number | undefined
  /** When this very token expires. */
  readonly expiresAtMs: number
}

export interface StatelessOptions {
  readonly secrets: Secrets
  /** Tokens of one issuer mean nothing to another. */
  readonly issuer: string
  readonly lifetimes: TokenLifetimes
  /** @defaultValue `Date` */
  readonly clock?: { now(): number } | undefined
}

const FORM = /^[\w-]{64,8192}$/
const MAX_TOKEN_CHARACTERS = 8192

/**
 * Token sessions that are kept nowhere: the refresh token is the session, sealed and encrypted. Nobody can end one, list
 * it, or notice that a token is used twice; it ends when it expires.
 */
export class StatelessSessions {
  readonly #sealer: Sealer
  readonly #issuer: string
  readonly #lifetimes: TokenLifetimes
  readonly #clock: { now(): number }

  constructor({ secrets, issuer, lifetimes, clock = Date }: StatelessOptions) {
    this.#clock = clock
    this.#sealer = new Sealer({ secrets, encrypt: true })
    this.#issuer = issuer
    this.#lifetimes = lifetimes
  }

  open({ user, upstream, clientId }: Opening): Promise<Grant> {
    const nowMs = Math.floor(this.#clock.now())
    const { absoluteMs } = this.#lifetimes
    const endsAtMs = Number.isFinite(absoluteMs) ? nowMs + absoluteMs : undefined
    const id = randomBytes(24).toString('base64url')
    return this.#grant({ id, user, upstream, clientId, createdAtMs: nowMs, endsAtMs }, nowMs)
  }

  async refresh(text: string, clientId: string, renew?: Renew): Promise<Grant> {
    const session = await this.read(text)
    if (session?.clientId !== clientId) throw deadToken()
    const { sid, state } = tokenSessionOf(session)
    const renewed = renew ? await renew({ sid, state }) : state
    if (renewed === undefined) throw deadToken()
    return this.#grant(
      { ...session, user: renewed.user, upstream: renewed.upstream },
      Math.floor(this.#clock.now()),
    )
  }

  /** What a token says; `undefined` if it is forged or has expired. */
  async read(text: string): Promise<SealedSession | undefined> {
    if (!FORM.test(text)) return undefined
    const opened = await this.#sealer.open(Buffer.from(text, 'base64url'), this.#context())
    const session = opened.state === 'open' ? decode(opened.plaintext) : undefined
    return session !== undefined && this.#clock.now() < session.expiresAtMs ? session : undefined
  }

  async #grant(session: Omit<SealedSession, 'expiresAtMs'>, nowMs: number): Promise<Grant> {
    const { id, user, clientId, endsAtMs = Number.POSITIVE_INFINITY } = session
    const expiresAtMs = Math.min(nowMs + this.#lifetimes.idleMs, endsAtMs)
    const blob = await this.#sealer.seal(encode({ ...session, expiresAtMs }), this.#context())
    const refreshToken = blob.toString('base64url')
    // The token route reads no more than that.
    if (refreshToken.length > MAX_TOKEN_CHARACTERS)
      throw new TypeError(
        'The user is too large for a refresh token: without a store it holds all of the user',
      )
    return { refreshToken, sid: handleOf(id) ?? '', user, clientId, nowMs, expiresAtMs }
  }

  #context() {
    return { purpose: 'refresh', prefix: this.#issuer, name: 'stateless' }
  }
}

/** The session that a token is of, as others see it. */
export function tokenSessionOf({ id, user, clientId, upstream, ...times }: SealedSession): TokenSession {
  return {
    sid: handleOf(id) ?? '',
    ...times,
    state: { user, clientId, upstream, gen: 0, kid: '', spent: [] },
  }
}

function encode({ id, user, clientId, upstream, createdAtMs, endsAtMs, expiresAtMs }: SealedSession): Buffer {
  const said = {
    id,
    user,
    client: clientId,
    upstream,
    created: createdAtMs,
    ends: endsAtMs,
    expires: expiresAtMs,
  }
  return Buffer.from(JSON.stringify(said))
}

function decode(plaintext: Buffer): SealedSession | undefined {
  try {
    const said = JSON.parse(plaintext.toString()) as Record<string, unknown>
    const { id, user, client, upstream, created, ends, expires } = said
    const areTexts = typeof id === 'string' && typeof client === 'string'
    const areTimes = isTime(created) && isTime(expires) && (ends === undefined || isTime(ends))
    if (!areTexts || !areTimes || !isUser(user)) return undefined
    if (upstream !== undefined && typeof upstream !== 'string') return undefined
    return {
      id,
      user,
      clientId: client,
      upstream,
      createdAtMs: created,
      endsAtMs: ends,
      expiresAtMs: expires,
    }
  } catch {
    return undefined
  }
}

function isTime(value: unknown): value is number {
  return Number.isSafeInteger(value)
}
