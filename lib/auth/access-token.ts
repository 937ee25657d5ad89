import { randomUUID } from 'node:crypto'
import { type JWTPayload, jwtVerify, SignJWT } from 'jose'
import { checkFunction, checkInteger, checkOneOf, optionError } from '../option.ts'
import { InvalidTokenError } from './auth-errors.ts'
import {
  type KeyEntry,
  type PublicJwk,
  type SigningAlgorithm,
  SigningKeyring,
  type SigningKeys,
} from './signing-keys.ts'

/** Holds the claims of a verified access token (RFC 9068 §2.2), with the claims that the app adds. */
export interface AccessClaims {
  readonly iss: string
  readonly aud: string | readonly string[]
  /** When it expires, in seconds since 1970. */
  readonly exp: number
  /** When it was issued, in seconds since 1970. */
  readonly iat: number
  /** The user id. */
  readonly sub: string
  /** A random id of this token. */
  readonly jti: string
  readonly client_id: string
  /** The handle of the session: its public name, as in the registry. */
  readonly sid: string
  readonly [claim: string]: unknown
}

/** Whose token is issued. */
export interface TokenSubject {
  readonly sub: string
  readonly sid: string
  readonly clientId: string
}

export interface AccessTokenOptions {
  /** The URL of the router, as clients and resource servers know it: the claim `iss`. */
  readonly issuer: string
  /** Names the API that the tokens are for: the claim `aud`. */
  readonly audience: string | readonly string[]
  /** The signing keys; see {@link SigningKeys}. */
  readonly keys: SigningKeys
  /** @defaultValue `'ES256'`, which most resource servers verify */
  readonly alg?: SigningAlgorithm | undefined
  /** How long a token is valid, in seconds, from 30 to 86,400. Below 90 some clients refresh before each use. @defaultValue 300 */
  readonly accessTtlS?: number | undefined
  /** Claims to add to each token. The claims of {@link AccessClaims} and those of RFC 7519 are refused. */
  readonly claims?:
    | ((
        subject: TokenSubject,
      ) => Readonly<Record<string, unknown>> | Promise<Readonly<Record<string, unknown>>>)
    | undefined
  /** The time in ms, by which tokens are issued and expire. @defaultValue the system's */
  readonly clock?: { now(): number } | undefined
}

export interface AccessTokens {
  /** Issues a token that expires after `accessTtlS`, but not after its session, which at `nowMs` has until `endsAtMs`. */
  issue(
    subject: TokenSubject & { readonly nowMs: number; readonly endsAtMs: number },
  ): Promise<{ readonly token: string; readonly expiresInS: number; readonly expiresAtS: number }>
  /**
   * Returns the claims of a token that is genuine; with `acceptExpired`, also of one that has expired.
   *
   * @throws `InvalidTokenError` (401) whatever is wrong with the token, `KeysUnavailableError` (503) if that cannot be known.
   */
  verify(token: string, options?: { readonly acceptExpired?: boolean }): Promise<AccessClaims>
  /** Returns the public keys, none of `HS256`. */
  jwks(): Promise<{ readonly keys: readonly PublicJwk[] }>
}

/** Beside the claims of ours: those of RFC 7519, and `cnf`, which would bind a token to a key of the client (RFC 7800). */
const RESERVED = ['iss', 'aud', 'exp', 'iat', 'nbf', 'sub', 'jti', 'client_id', 'sid', 'cnf', '__proto__']
const REQUIRED = ['iss', 'aud', 'exp', 'iat', 'sub', 'jti', 'client_id', 'sid']
const CLOCK_TOLERANCE_S = 5
const MAX_TOKEN_CHARACTERS = 8192
const FORM = /^([\w-]+)\.([\w-]+)\.([\w-]+)$/
const SIGNATURE_CHARACTERS = { ES256: 86, EdDSA: 86, HS256: 43 } as const

/** Issues and verifies access tokens: JWTs by RFC 9068, of one algorithm (RFC 8725 §3.1). */
export function createAccessTokens(options: AccessTokenOptions): AccessTokens {
  const { issuer, audience, claims, clock = Date } = options
  const alg = checkOneOf('alg', options.alg ?? 'ES256', ['ES256', 'EdDSA', 'HS256'])
  const ttlS = checkInteger('accessTtlS', options.accessTtlS ?? 300, { min: 30, max: 86_400 })
  checkIssuer(issuer)
  checkAudience(audience)
  if (claims !== undefined) checkFunction('claims', claims)
  const keyring = new SigningKeyring(options.keys, alg)

  return {
    async issue({ nowMs, endsAtMs, sub, sid, clientId }) {
      // The backend's times say for how long, and this clock, by which tokens are verified, since when.
      const iat = Math.floor(clock.now() / 1000)
      const exp = iat + Math.min(ttlS, Math.floor((endsAtMs - nowMs) / 1000))
      const added = ownClaims(await claims?.({ sub, sid, clientId }))
      const { first } = await keyring.load()
      const aud = typeof audience === 'string' ? audience : [...audience]
      const payload = {
        ...added,
        iss: issuer,
        aud,
        sub,
        client_id: clientId,
        sid,
        jti: randomUUID(),
        iat,
        exp,
      }
      const token = await new SignJWT(payload).setProtectedHeader(first.header).sign(first.signingKey)
      if (token.length > MAX_TOKEN_CHARACTERS)
        throw optionError(
          'claims',
          `a function of few claims; a token may have ${MAX_TOKEN_CHARACTERS} characters`,
        )
      return { token, expiresInS: exp - iat, expiresAtS: exp }
    },

    async verify(token, { acceptExpired = false } = {}) {
      const parts = partsOf(token, alg)
      const key = await keyring.find(parts.header)
      if (key === undefined) throw new InvalidTokenError()
      const nowMs = acceptExpired ? Math.min(clock.now(), issuedAtMs(parts.payload)) : clock.now()
      const payload = await verified(token, key, { issuer, audience, ttlS, nowMs })
      if (!isOfOurForm(payload, ttlS) || encoded(payload) !== parts.payload) throw new InvalidTokenError()
      return payload
    },

    async jwks() {
      return { keys: (await keyring.load()).published }
    },
  }
}

/** Takes a token apart; one that is not exactly of the form in which it was issued never reaches a signature check. */
function partsOf(token: unknown, alg: SigningAlgorithm): { header: string; payload: string } {
  if (typeof token !== 'string' || token.length > MAX_TOKEN_CHARACTERS) throw new InvalidTokenError()
  const [, header = '', payload = '', signature = ''] = FORM.exec(token) ?? []
  // A last character may have bits that decode to nothing: only one of its forms is accepted.
  const isExact = Buffer.from(signature, 'base64url').toString('base64url') === signature
  if (!isExact || signature.length !== SIGNATURE_CHARACTERS[alg]) throw new InvalidTokenError()
  return { header, payload }
}

interface Expectation {
  readonly issuer: string
  readonly audience: string | readonly string[]
  readonly ttlS: number
  readonly nowMs: number
}

async function verified(token: string, key: KeyEntry, expected: Expectation): Promise<JWTPayload> {
  try {
    const { payload } = await jwtVerify(token, key.verifyingKey, {
      algorithms: [key.header.alg],
      typ: key.header.typ,
      issuer: expected.issuer,
      audience: typeof expected.audience === 'string' ? expected.audience : [...expected.audience],
      requiredClaims: REQUIRED,
      clockTolerance: CLOCK_TOLERANCE_S,
      maxTokenAge: expected.ttlS,
      currentDate: new Date(expected.nowMs),
    })
    return payload
  } catch {
    // Not only of a JOSEError: for some tokens jose throws a TypeError.
    throw new InvalidTokenError()
  }
}

/** What jose leaves open: the types of claims, and times that are no numbers of seconds. */
function isOfOurForm(payload: JWTPayload, ttlS: number): payload is JWTPayload & AccessClaims {
  const { sub, sid, jti, client_id: clientId, exp, iat } = payload
  const areNamed = [sub, sid, jti, clientId].every((name) => typeof name === 'string' && name !== '')
  const areTimes = [exp, iat].every(Number.isSafeInteger)
  const lifeS = Number(exp) - Number(iat)
  return (
    areNamed &&
    areTimes &&
    lifeS >= 0 &&
    lifeS <= ttlS &&
    !('cnf' in payload) &&
    !Object.hasOwn(payload, '__proto__')
  )
}

/** A payload as it was signed: one with a member twice, or with spaces, does not become the same again. */
function encoded(payload: JWTPayload): string {
  return Buffer.from(JSON.stringify(payload)).toString('base64url')
}

/** When a token says it was issued: not to be believed before its signature was verified. */
function issuedAtMs(payload: string): number {
  try {
    const { iat } = JSON.parse(Buffer.from(payload, 'base64url').toString()) as { readonly iat?: unknown }
    return Number.isSafeInteger(iat) ? Number(iat) * 1000 : Number.POSITIVE_INFINITY
  } catch {
    throw new InvalidTokenError()
  }
}

function ownClaims(claims: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> {
  const reserved = Object.keys(claims).find((name) => RESERVED.includes(name))
  if (reserved !== undefined)
    throw optionError('claims', `a function that leaves "${reserved}" out: it is reserved`)
  return claims
}

function checkIssuer(issuer: unknown): void {
  const url = typeof issuer === 'string' && URL.canParse(issuer) ? new URL(issuer) : undefined
  const isPlain =
    url !== undefined && /^https?:$/.test(url.protocol) && !/[?#]/.test(url.href) && url.username === ''
  if (!isPlain) throw optionError('issuer', 'an http or https URL without query, fragment and user')
}

function checkAudience(audience: unknown): void {
  const names: unknown[] = Array.isArray(audience) ? audience : [audience]
  if (names.length === 0 || !names.every((name) => typeof name === 'string' && name !== ''))
    throw optionError('audience', 'a name, or a list of at least one')
}
