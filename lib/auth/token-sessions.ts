import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { PutAnswer } from '../backend/backend.ts'
import { isSessionStoreError } from '../errors.ts'
import { late, type Step } from '../operations.ts'
import type { RegistryAccess } from '../registry/access.ts'
import type { SessionDevice } from '../session/device.ts'
import type { SessionMeta } from '../session/metadata.ts'
import { handleOf, ownerName } from '../session/names.ts'
import { AuthUnavailableError, InvalidGrantError } from './auth-errors.ts'
import type { Authenticated, AuthUser } from './authenticate.ts'
import { type RefreshToken, RefreshTokens } from './refresh-token.ts'
import { type TokenRecord, TokenRecords, type TokenSession } from './token-records.ts'
import { afterSpending, classOf, type TokenClass, type TokenState } from './token-state.ts'

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
}

/** A session of before there was a store, which goes on in it. */
export interface Adoption extends Opening {
  /** The id of its handle. */
  readonly id: string
  readonly createdAtMs: number
  readonly endsAtMs: number | undefined
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

/** Asks whoever signed the user in whether that still holds; `undefined` ends the session. */
export type Renew = (session: Pick<TokenSession, 'sid' | 'state'>) => Promise<Authenticated | undefined>

const MAX_ATTEMPTS = 5
const LONGEST_MS = 10_000
// How long, in all, a request that the upstream refused waits for another one to store what it was granted.
const WAITS_MS = [0, 50, 150, 300, 500]

/** The reply to every refresh token that is not accepted: which check failed is told to nobody. */
export function deadToken(): InvalidGrantError {
  return new InvalidGrantError('refresh_token_not_found', 'The refresh token is invalid or has expired')
}

/** Token sessions as sealed records in a store's registry, each with one refresh token at a time. */
export class TokenSessions {
  readonly #access: RegistryAccess
  readonly #lifetimes: TokenLifetimes
  readonly #tokens: RefreshTokens
  readonly #records: TokenRecords

  constructor(access: RegistryAccess, lifetimes: TokenLifetimes) {
    this.#access = access
    this.#lifetimes = lifetimes
    this.#tokens = new RefreshTokens(access.sealer, access.prefix)
    this.#records = new TokenRecords(access)
  }

  /**
   * Registers and stores a new token session. Rejects with `InvalidGrantError` if the user has as many sessions as the
   * store allows and none is evicted.
   */
  open(opening: Opening): Promise<Grant> {
    return this.#access.operations.run('token-open', () => this.#open(opening), late.write)
  }

  /**
   * Continues a session of before there was a store. Its token of then counts as the first one of a session that is stored
   * once: a copy that comes later is a spent token. Rejects as {@link refresh} does.
   */
  adopt(adoption: Adoption, renew?: Renew): Promise<Grant> {
    return this.#access.operations.runSteps(
      'token-refresh',
      (step) => this.#adopt({ adoption, renew, step }),
      {
        tooLate: late.write,
        longestMs: LONGEST_MS,
      },
    )
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

  async #open(opening: Opening, adoption?: Adoption): Promise<Grant> {
    const { backend, membership, tokenRecords } = this.#access
    const { user, upstream, clientId, device } = opening
    const id = adoption?.id ?? randomBytes(24).toString('base64url')
    const handle = handleOf(id) ?? ''
    const nowMs = await backend.now()
    const kid = await this.#tokens.kid()
    const first: TokenState = { user, clientId, gen: 0, kid, spent: [], upstream }
    const { graceMs, idleMs: ttlMs } = this.#lifetimes
    const state = adoption ? afterSpending(0, first, { nowMs, graceMs, kid, user, upstream }) : first
    const meta = adoption ? metaOf(adoption) : this.#newMeta(Math.floor(nowMs))
    const member = { handle, owner: ownerName(user.id), device, ttlMs, meta, isNew: adoption === undefined }
    const registration = await membership.register(member).catch(failOpening)
    const sealed = await this.#records.seal(handle, registration.meta, state)
    const result = await tokenRecords.put(sealed, { expect: { kind: 'absent' }, ttlMs })
    if ('error' in result) {
      await registration.finish(result.outcome)?.catch(() => {})
      throw result.error
    }
    await registration.finish(result.outcome)
    // An eviction, or the ending of all of the user's sessions, came first; or another request has adopted the session.
    if (result.outcome !== 'stored') throw new AuthUnavailableError('the session was ended while it began')
    return this.#grant({ id, state, endsAtMs: meta.endsAtMs }, nowMs)
  }

  async #adopt({ adoption, renew, step }: Adopting): Promise<Grant> {
    const { id, clientId, user, upstream, device } = adoption
    const handle = handleOf(id) ?? ''
    const again = () => this.#refresh({ token: { kid: '', id, gen: 0 }, clientId, renew, step })
    if ((await step(() => this.#read(handle))) !== undefined) return again()
    // Asked before it is registered: one that was ended must evict nobody.
    if ((await step(() => this.#access.backend.ending(handle))) !== undefined) throw deadToken()
    const state = { user, clientId, upstream, gen: 0, kid: '', spent: [] }
    const renewed = renew ? await renew({ sid: handle, state }) : state
    if (renewed !== undefined) return step(() => this.#open({ ...renewed, clientId, device }, adoption))
    if (await this.#hasChanged(handle, undefined, step)) return again()
    throw deadToken()
  }

  async #refresh({ token, clientId, renew, step }: Refresh): Promise<Grant> {
    const { backend, announce } = this.#access
    const handle = handleOf(token.id) ?? ''
    let renewed: Authenticated | undefined
    let wasCurrent = false
    for (let attempt = 1; attempt <= MAX_ATTEMPTS; attempt += 1) {
      const record = await step(() => this.#read(handle))
      if (record?.session.state.clientId !== clientId) throw deadToken()
      const nowMs = await backend.now()
      const { state } = record.session
      const { graceMs } = this.#lifetimes
      const tokenClass = classOf(token.gen, state, { nowMs, graceMs })
      // A request that came while its token was current has lost a race since, however long that took.
      if (tokenClass === 'recent' || (wasCurrent && isSpent(tokenClass)))
        return step(() => this.#repeat(token.id, record, nowMs))
      if (isSpent(tokenClass)) {
        await step(() => this.#endReused(handle, tokenClass))
        throw deadToken()
      }
      wasCurrent = true
      if (tokenClass === 'ahead') announce('refresh-ahead', { handle })
      renewed ??= renew === undefined ? state : await renew(record.session)
      if (renewed === undefined) {
        await this.#endRefused(handle, record, step)
        continue
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
  async #advance({ meta, etag, session: { sid } }: TokenRecord, next: TokenState): Promise<PutAnswer> {
    const { membership, tokenRecords } = this.#access
    const ttlMs = this.#lifetimes.idleMs
    const sealed = await this.#records.seal(sid, meta, next)
    const [isMember, result] = await Promise.all([
      membership.extend(sid, meta, ttlMs),
      tokenRecords.put(sealed, { expect: { kind: 'version', etag }, ttlMs }),
    ])
    if ('error' in result) throw result.error
    return isMember ? result.outcome : 'ended'
  }

  /** Returns the current token again, to a client that may not have seen it. Writes nothing. */
  async #repeat(id: string, { meta, session }: TokenRecord, nowMs: number): Promise<Grant> {
    if (!(await this.#access.membership.checkMembership(session.sid, meta))) throw deadToken()
    const endsAtMs = Math.min(session.expiresAtMs, meta.endsAtMs ?? session.expiresAtMs)
    return this.#grant({ id, state: session.state, endsAtMs }, nowMs)
  }

  async #endReused(handle: string, tokenClass: 'late-parent' | 'stale'): Promise<void> {
    const { endSessions, announce } = this.#access
    await endSessions.end(handle, { reason: 'refresh-reused', actor: { type: 'system' } })
    announce('refresh-reused', { handle, presented: tokenClass })
  }

  /**
   * Ends the session that the upstream refused, and rejects. Resolves instead if another request has moved it on: an upstream
   * that renews once refuses whoever comes second.
   */
  async #endRefused(handle: string, { meta, etag, session }: TokenRecord, step: Step): Promise<void> {
    const { tokenRecords, endSessions } = this.#access
    if (await this.#hasChanged(handle, etag, step)) return
    // Closes the version that was judged, so that another request can store nothing in its place.
    const sealed = await this.#records.seal(handle, meta, { ...session.state, clientId: CLOSED })
    const expect = { kind: 'version', etag } as const
    const ttlMs = this.#lifetimes.idleMs
    const result = await step(() => tokenRecords.put(sealed, { expect, ttlMs }))
    if ('error' in result) throw result.error
    if (result.outcome === 'conflict' || result.outcome === 'unsure') return
    await step(() => endSessions.end(handle, REFUSED))
    throw deadToken()
  }

  /** The record; one whose ending was interrupted is ended now. */
  async #read(handle: string): Promise<TokenRecord | undefined> {
    const record = await this.#records.read(handle)
    if (record?.session.state.clientId !== CLOSED) return record
    await this.#access.endSessions.end(handle, REFUSED)
    return undefined
  }

  /** Whether another request stores something else within about a second. */
  async #hasChanged(handle: string, etag: Buffer | undefined, step: Step): Promise<boolean> {
    for (const ms of WAITS_MS) {
      await delay(ms)
      const latest = await step(() => this.#access.tokenRecords.read(handle))
      if (latest === undefined ? etag !== undefined : etag?.equals(latest.etag) !== true) return true
    }
    return false
  }

  async #find(sid: string): Promise<TokenSession | undefined> {
    const { membership, verifiesAlways } = this.#access
    const record = await this.#read(sid)
    if (record === undefined) return undefined
    if (verifiesAlways && !(await membership.checkMembership(sid, record.meta))) return undefined
    return record.session
  }

  async #grant({ id, state, endsAtMs }: Granted, nowMs: number): Promise<Grant> {
    const token: RefreshToken = { id, gen: state.gen, kid: state.kid }
    const refreshToken = await this.#tokens.issue(token)
    if (refreshToken === undefined) throw new AuthUnavailableError('a secret of another node is missing here')
    const expiresAtMs = Math.min(nowMs + this.#lifetimes.idleMs, endsAtMs ?? Number.POSITIVE_INFINITY)
    const { user, clientId } = state
    return { refreshToken, sid: handleOf(id) ?? '', user, clientId, nowMs, expiresAtMs }
  }

  #newMeta(createdAtMs: number): SessionMeta {
    const endsAtMs = createdAtMs + this.#lifetimes.absoluteMs
    return metaOf({ createdAtMs, endsAtMs: Number.isFinite(endsAtMs) ? endsAtMs : undefined })
  }
}

// No client has this name.
const CLOSED = ''
const REFUSED = { reason: 'sign-in-revoked', actor: { type: 'system' } }

interface Refresh {
  readonly token: RefreshToken
  readonly clientId: string
  readonly renew: Renew | undefined
  readonly step: Step
}

interface Adopting {
  readonly adoption: Adoption
  readonly renew: Renew | undefined
  readonly step: Step
}

interface Granted {
  readonly id: string
  readonly state: TokenState
  readonly endsAtMs: number | undefined
}

function metaOf({ createdAtMs, endsAtMs }: Pick<Adoption, 'createdAtMs' | 'endsAtMs'>): SessionMeta {
  return endsAtMs === undefined ? { createdAtMs } : { createdAtMs, endsAtMs }
}

function isSpent(tokenClass: TokenClass): tokenClass is 'late-parent' | 'stale' {
  return tokenClass === 'late-parent' || tokenClass === 'stale'
}

function failOpening(error: unknown): never {
  const code = isSessionStoreError(error) ? error.code : undefined
  if (code === 'ERR_SESSION_LIMIT')
    throw new InvalidGrantError('session_limit_reached', 'The user has as many sessions as are allowed')
  if (code === 'ERR_SESSION_ENDED') throw new AuthUnavailableError('the session was ended while it began')
  throw error
}
