import { randomBytes } from 'node:crypto'
import type { PutAnswer } from '../backend/backend.ts'
import { isSessionStoreError } from '../errors.ts'
import { late, type Step } from '../operations.ts'
import type { RegistryAccess } from '../registry/access.ts'
import type { Context } from '../seal/context.ts'
import type { Sealer } from '../seal/sealer.ts'
import type { SessionDevice } from '../session/device.ts'
import type { SessionMeta } from '../session/metadata.ts'
import { handleOf, ownerName } from '../session/names.ts'
import type { SealedSession, SessionRecord } from '../session/records.ts'
import { AuthUnavailableError, InvalidGrantError } from './auth-errors.ts'
import type { Authenticated, AuthUser } from './authenticate.ts'
import { type RefreshToken, RefreshTokens } from './refresh-token.ts'
import { afterSpending, classOf, decodeTokenState, encodeTokenState, type TokenState } from './token-state.ts'

/** How long token sessions live, in ms. */
export interface TokenLifetimes {
  /** How long a refresh token may stay unused. */
  readonly idleMs: number
  /** The hard end, counted from the sign-in. */
  readonly absoluteMs: number
  /** How long a spent refresh token returns the current one, from its first use. */
  readonly graceMs: number
}

/** A token session that is about to begin. */
export interface Opening extends Authenticated {
  readonly clientId: string
  readonly device?: SessionDevice | undefined
  /** Those of a session that goes on in this one. */
  readonly lifetime?: { readonly createdAtMs: number; readonly endsAtMs: number } | undefined
}

/** What a client gets after a sign-in or a refresh. */
export interface Grant {
  readonly refreshToken: string
  /** The name of the token session that others may see. */
  readonly sid: string
  readonly user: AuthUser
  readonly clientId: string
  readonly nowMs: number
  /** When the refresh token expires; no access token lives longer. */
  readonly expiresAtMs: number
}

/** A token session as it is stored. */
export interface TokenSession {
  readonly sid: string
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly endsAtMs: number | undefined
  readonly state: TokenState
}

/** Asks whoever signed the user in whether that still holds; `undefined` ends the session. */
export type Renew = (session: TokenSession) => Promise<Authenticated | undefined>

const MAX_ATTEMPTS = 5
const LONGEST_MS = 10_000

/** The reply to every refresh token that is not accepted: which check failed is told to nobody. */
export function deadToken(): InvalidGrantError {
  return new InvalidGrantError('refresh_token_not_found', 'The refresh token is invalid or has expired')
}

/** Token sessions as sealed records in a store's registry, each with one refresh token at a time. */
export class TokenSessions {
  readonly #access: RegistryAccess
  readonly #lifetimes: TokenLifetimes
  readonly #tokens: RefreshTokens
  /** Encrypts also where the store only signs: with an upstream's secret anybody could sign in there. */
  readonly #encrypting: Sealer

  constructor(access: RegistryAccess, lifetimes: TokenLifetimes) {
    this.#access = access
    this.#lifetimes = lifetimes
    this.#tokens = new RefreshTokens(access.sealer, access.prefix)
    this.#encrypting = access.sealer.encrypting()
  }

  /**
   * Registers and stores a new token session. Rejects with `InvalidGrantError` if the user has as many sessions as the
   * store allows and none is evicted.
   */
  open(opening: Opening): Promise<Grant> {
    return this.#access.operations.run('token-open', () => this.#open(opening), late.write)
  }

  /**
   * Spends a refresh token and returns the next one; what each class of token comes to is told in docs/guide/tokens.md.
   * Rejects with {@link deadToken}, or with an error of status 503, after which the same token may be presented again.
   */
  async refresh(text: string, clientId: string, renew?: Renew): Promise<Grant> {
    const token = await this.#tokens.verify(text)
    if (token === undefined) throw deadToken()
    return this.#access.operations.runSteps(
      'token-refresh',
      (step) => this.#refresh({ token, clientId, renew, step }),
      { tooLate: late.write, longestMs: LONGEST_MS },
    )
  }

  /** The session; `undefined` if it has ended, or expired. One read, and one more where the store verifies owners always. */
  find(sid: string): Promise<TokenSession | undefined> {
    return this.#access.operations.run('token-read', () => this.#find(sid), late.read)
  }

  /** The session of a genuine refresh token, spent or not. */
  async sidOf(text: string): Promise<string | undefined> {
    return handleOf((await this.#tokens.verify(text))?.id)
  }

  async #open({ user, upstream, clientId, device, lifetime }: Opening): Promise<Grant> {
    const { backend, membership, tokenRecords } = this.#access
    const id = randomBytes(24).toString('base64url')
    const handle = handleOf(id) ?? ''
    const nowMs = await backend.now()
    const kid = await this.#tokens.kid()
    const state: TokenState = { user, clientId, gen: 0, kid, spent: [], upstream }
    const createdAtMs = lifetime?.createdAtMs ?? Math.floor(nowMs)
    const endsAtMs = lifetime?.endsAtMs ?? this.#hardEndMs(createdAtMs)
    const meta: SessionMeta = Number.isFinite(endsAtMs) ? { createdAtMs, endsAtMs } : { createdAtMs }
    const ttlMs = this.#lifetimes.idleMs
    const member = { handle, owner: ownerName(user.id), device, ttlMs, meta, isNew: true }
    const registration = await membership.register(member).catch(failOpening)
    const sealed = await this.#seal(handle, registration.meta, state)
    const result = await tokenRecords.put(sealed, { expect: { kind: 'absent' }, ttlMs })
    if ('error' in result) {
      await registration.finish(result.outcome)?.catch(() => {})
      throw result.error
    }
    await registration.finish(result.outcome)
    // An eviction, or the ending of all of the user's sessions, came first.
    if (result.outcome !== 'stored') throw new AuthUnavailableError('the session was ended while it began')
    return this.#grant({ id, state, endsAtMs: meta.endsAtMs }, nowMs)
  }

  async #refresh({ token, clientId, renew, step }: Refresh): Promise<Grant> {
    const { backend, tokenRecords } = this.#access
    const handle = handleOf(token.id) ?? ''
    let renewed: Authenticated | undefined
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      const record = await step(() => tokenRecords.read(handle))
      const session = record && (await this.#sessionOf(record))
      if (record === undefined || session?.state.clientId !== clientId) throw deadToken()
      const nowMs = await backend.now()
      const { state } = session
      const { graceMs } = this.#lifetimes
      const tokenClass = classOf(token.gen, state, { nowMs, graceMs })
      if (tokenClass === 'late-parent' || tokenClass === 'stale') {
        await step(() => this.#endReused(handle, tokenClass))
        throw deadToken()
      }
      if (tokenClass === 'recent') return step(() => this.#repeat(token.id, { record, session, nowMs }))
      if (tokenClass === 'ahead') this.#access.announce('refresh-ahead', { handle })
      renewed ??= renew === undefined ? state : await renew(session)
      if (renewed === undefined) {
        // An upstream that renews once refuses whoever comes second: the session goes on as the first one left it.
        const latest = await step(() => tokenRecords.read(handle))
        if (latest?.etag.equals(record.etag) === false) continue
        await step(() => this.#access.endSessions.end(handle, REFUSED))
        throw deadToken()
      }
      const { user, upstream } = renewed
      const kid = await this.#tokens.kid()
      const next = afterSpending(token.gen, state, { nowMs, graceMs, kid, user, upstream })
      const answer = await step(() => this.#advance(record, next))
      if (answer === 'stored')
        return this.#grant({ id: token.id, state: next, endsAtMs: record.meta.endsAtMs }, nowMs)
      if (answer === 'gone' || answer === 'ended') throw deadToken()
    }
    throw new AuthUnavailableError('too many refreshes of one session met')
  }

  /** In one round trip: the membership first, which ends a session that has lost its place, whatever was stored of it. */
  async #advance({ handle, meta, etag }: SessionRecord, next: TokenState): Promise<PutAnswer> {
    const { membership, tokenRecords } = this.#access
    const ttlMs = this.#lifetimes.idleMs
    const sealed = await this.#seal(handle, meta, next)
    const [isMember, result] = await Promise.all([
      membership.extend(handle, meta, ttlMs),
      tokenRecords.put(sealed, { expect: { kind: 'version', etag }, ttlMs }),
    ])
    if ('error' in result) throw result.error
    return isMember ? result.outcome : 'ended'
  }

  /** Returns the current token again, to a client that may not have seen it. Writes nothing. */
  async #repeat(id: string, { record, session, nowMs }: Found): Promise<Grant> {
    const { handle, meta, expiresAtMs } = record
    if (!(await this.#access.membership.checkMembership(handle, meta))) throw deadToken()
    const endsAtMs = Math.min(expiresAtMs, meta.endsAtMs ?? expiresAtMs)
    return this.#grant({ id, state: session.state, endsAtMs }, nowMs)
  }

  async #endReused(handle: string, tokenClass: 'late-parent' | 'stale'): Promise<void> {
    const { endSessions, announce } = this.#access
    await endSessions.end(handle, { reason: 'refresh-reused', actor: { type: 'system' } })
    announce('refresh-reused', { handle, presented: tokenClass })
  }

  async #find(sid: string): Promise<TokenSession | undefined> {
    const { tokenRecords, membership, verifiesAlways } = this.#access
    const record = await tokenRecords.read(sid)
    if (record === undefined) return undefined
    if (verifiesAlways && !(await membership.checkMembership(sid, record.meta))) return undefined
    return this.#sessionOf(record)
  }

  async #seal(handle: string, meta: SessionMeta, state: TokenState): Promise<SealedSession> {
    const secret = state.upstream === undefined ? undefined : Buffer.from(state.upstream)
    const hidden = secret && (await this.#encrypting.seal(secret, this.#upstreamOf(handle)))
    const body = encodeTokenState({ ...state, upstream: hidden?.toString('base64url') })
    return this.#access.tokenRecords.seal('token', handle, { meta, body })
  }

  async #sessionOf({ handle, meta, body, expiresAtMs }: SessionRecord): Promise<TokenSession | undefined> {
    const state = decodeTokenState(body)
    const hidden = state?.upstream === undefined ? undefined : Buffer.from(state.upstream, 'base64url')
    const opened = hidden && (await this.#encrypting.open(hidden, this.#upstreamOf(handle)))
    const isRight = state !== undefined && meta.owner === ownerName(state.user.id)
    if (!isRight || (opened !== undefined && opened.state !== 'open'))
      return this.#access.tokenRecords.unusable(handle)
    const { createdAtMs, endsAtMs } = meta
    const upstream = opened?.plaintext.toString()
    return { sid: handle, createdAtMs, expiresAtMs, endsAtMs, state: { ...state, upstream } }
  }

  #upstreamOf(handle: string): Context {
    return { purpose: 'upstream', prefix: this.#access.prefix, name: handle }
  }

  async #grant({ id, state, endsAtMs }: Granted, nowMs: number): Promise<Grant> {
    const token: RefreshToken = { id, gen: state.gen, kid: state.kid }
    const refreshToken = await this.#tokens.issue(token)
    if (refreshToken === undefined) throw new AuthUnavailableError('a secret of another node is missing here')
    const expiresAtMs = Math.min(nowMs + this.#lifetimes.idleMs, endsAtMs ?? Number.POSITIVE_INFINITY)
    const { user, clientId } = state
    return { refreshToken, sid: handleOf(id) ?? '', user, clientId, nowMs, expiresAtMs }
  }

  #hardEndMs(createdAtMs: number): number {
    return createdAtMs + this.#lifetimes.absoluteMs
  }
}

const REFUSED = { reason: 'sign-in-revoked', actor: { type: 'system' } }

interface Refresh {
  readonly token: RefreshToken
  readonly clientId: string
  readonly renew: Renew | undefined
  readonly step: Step
}

interface Found {
  readonly record: SessionRecord
  readonly session: TokenSession
  readonly nowMs: number
}

interface Granted {
  readonly id: string
  readonly state: TokenState
  readonly endsAtMs: number | undefined
}

function failOpening(error: unknown): never {
  const code = isSessionStoreError(error) ? error.code : undefined
  if (code === 'ERR_SESSION_LIMIT')
    throw new InvalidGrantError('session_limit_reached', 'The user has as many sessions as are allowed')
  if (code === 'ERR_SESSION_ENDED') throw new AuthUnavailableError('the session was ended while it began')
  throw error
}
