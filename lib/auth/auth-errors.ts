/** The errors of tokens and sign-ins. Each code has its heading in docs/ERRORS.md. */

/** The `code` of every error that the auth entry point raises, except the `TypeError`s of wrong options. */
export type AuthErrorCode =
  | 'ERR_AUTH_REQUEST'
  | 'ERR_AUTH_CLIENT'
  | 'ERR_AUTH_GRANT'
  | 'ERR_AUTH_TOKEN'
  | 'ERR_AUTH_RATE'
  | 'ERR_AUTH_KEYS'
  | 'ERR_AUTH_UNAVAILABLE'

interface AuthErrorFacts {
  readonly code: AuthErrorCode
  readonly status: number
  /** The word of RFC 6749 and RFC 6750. */
  readonly error: string
  /** The word of GoTrue. */
  readonly errorCode: string
  readonly headers?: Readonly<Record<string, string>>
  readonly cause?: unknown
}

/**
 * The base of the errors of `express-session-valkey/auth`. `error` and `errorCode` are the words that a reply carries, one
 * for OAuth clients and one for GoTrue's. No message carries a password, a token, a key or a user.
 *
 * @example
 * ```ts
 * import { AuthError } from 'express-session-valkey/auth'
 *
 * const isOutage = (error: unknown): boolean => error instanceof AuthError && error.status === 503
 * console.log(isOutage(new Error('other')))
 * ```
 */
export class AuthError extends Error {
  readonly code: AuthErrorCode
  readonly status: number
  /** The same as `status`. */
  readonly statusCode: number
  /** Whether the message is for the client: true below 500. */
  readonly expose: boolean
  readonly error: string
  readonly errorCode: string
  readonly headers: Readonly<Record<string, string>>

  constructor(message: string, { code, status, error, errorCode, headers = {}, cause }: AuthErrorFacts) {
    super(message, cause === undefined ? undefined : { cause })
    this.name = new.target.name
    this.code = code
    this.status = status
    this.statusCode = status
    this.expose = status < 500
    this.error = error
    this.errorCode = errorCode
    this.headers = headers
  }
}

/** A request that no repeat makes right: a parameter is missing, given twice, or unknown. */
export class InvalidRequestError extends AuthError {
  constructor(message: string, error = 'invalid_request', errorCode = 'validation_failed') {
    super(message, { code: 'ERR_AUTH_REQUEST', status: 400, error, errorCode })
  }
}

/** The request names a client that is not configured. 401 if by HTTP Basic, as RFC 6749 §5.2 demands, else 400. */
export class InvalidClientError extends AuthError {
  constructor({ isBasic }: { readonly isBasic: boolean }) {
    super('The client is unknown', {
      code: 'ERR_AUTH_CLIENT',
      status: isBasic ? 401 : 400,
      error: 'invalid_client',
      errorCode: 'invalid_client',
      headers: isBasic ? { 'WWW-Authenticate': 'Basic' } : {},
    })
  }
}

/** The password, or the refresh token, is not accepted: the only error that ends a client's session. */
export class InvalidGrantError extends AuthError {
  constructor(errorCode: string, message: string) {
    super(message, { code: 'ERR_AUTH_GRANT', status: 400, error: 'invalid_grant', errorCode })
  }
}

/** The bearer token is missing, malformed, forged, expired, or of a session that has ended. */
export class InvalidTokenError extends AuthError {
  constructor(
    errorCode: 'bad_jwt' | 'no_authorization' | 'session_not_found' = 'bad_jwt',
    message = 'The access token is invalid or has expired',
  ) {
    const isMissing = errorCode === 'no_authorization'
    super(message, {
      code: 'ERR_AUTH_TOKEN',
      status: 401,
      error: 'invalid_token',
      errorCode,
      // RFC 6750 §3.1: a request without a token is not told of an error.
      headers: { 'WWW-Authenticate': isMissing ? 'Bearer' : 'Bearer error="invalid_token"' },
    })
  }
}

/** Too many attempts to sign in. */
export class TooManyAttemptsError extends AuthError {
  constructor(retryAfterS = 5) {
    super('Too many attempts to sign in; try again later', {
      code: 'ERR_AUTH_RATE',
      status: 429,
      error: 'temporarily_unavailable',
      errorCode: 'over_request_rate_limit',
      headers: { 'Retry-After': String(retryAfterS) },
    })
  }
}

/** The signing keys cannot be had just now. */
export class KeysUnavailableError extends AuthError {
  constructor(reason: string) {
    super(`The signing keys are unavailable: ${reason}`, { code: 'ERR_AUTH_KEYS', ...UNAVAILABLE })
  }
}

/** What a sign-in or a refresh needs is away or has too much to do: an upstream, the hashing of passwords, a lost race. */
export class AuthUnavailableError extends AuthError {
  /** `cause` is what failed, for logs: no client sees it. */
  constructor(reason: string, { cause }: { readonly cause?: unknown } = {}) {
    super(`Temporarily unavailable: ${reason}`, { code: 'ERR_AUTH_UNAVAILABLE', ...UNAVAILABLE, cause })
  }
}

const UNAVAILABLE = {
  status: 503,
  error: 'temporarily_unavailable',
  errorCode: 'unexpected_failure',
  headers: { 'Retry-After': '1' },
} as const
