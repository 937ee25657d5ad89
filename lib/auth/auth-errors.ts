/** The errors of tokens and sign-ins. Each code has its heading in docs/ERRORS.md. */
import { AuthError, isSessionStoreError } from '../errors.ts'

/** Returns whether a value is an error of this entry point, or of another copy of it. */
export function isAuthError(value: unknown): value is AuthError {
  return isSessionStoreError(value) && 'errorCode' in value
}

/** A request that no repeat makes right: a parameter is missing, given twice, or unknown. */
export class InvalidRequestError extends AuthError<'ERR_AUTH_REQUEST'> {
  constructor(message: string, error = 'invalid_request', errorCode = 'validation_failed') {
    super('ERR_AUTH_REQUEST', message, { error, errorCode })
  }
}

/** The request names a client that is not configured. 401 if by HTTP Basic, as RFC 6749 §5.2 demands, else 400. */
export class InvalidClientError extends AuthError<'ERR_AUTH_CLIENT'> {
  constructor({ isBasic }: { readonly isBasic: boolean }) {
    const asBasic = { status: 401, headers: { 'WWW-Authenticate': 'Basic' } }
    super('ERR_AUTH_CLIENT', 'The client is unknown', {
      error: 'invalid_client',
      errorCode: 'invalid_client',
      ...(isBasic ? asBasic : {}),
    })
  }
}

/** The password, or the refresh token, is not accepted: the only error that ends a client's session. */
export class InvalidGrantError extends AuthError<'ERR_AUTH_GRANT'> {
  constructor(errorCode: string, message: string) {
    super('ERR_AUTH_GRANT', message, { error: 'invalid_grant', errorCode })
  }
}

/** The bearer token is missing, malformed, forged, expired, or of a session that has ended. */
export class InvalidTokenError extends AuthError<'ERR_AUTH_TOKEN'> {
  constructor(
    errorCode: 'bad_jwt' | 'no_authorization' | 'session_not_found' = 'bad_jwt',
    message = 'The access token is invalid or has expired',
  ) {
    const isMissing = errorCode === 'no_authorization'
    super('ERR_AUTH_TOKEN', message, {
      error: 'invalid_token',
      errorCode,
      // RFC 6750 §3.1: a request without a token is not told of an error.
      headers: { 'WWW-Authenticate': isMissing ? 'Bearer' : 'Bearer error="invalid_token"' },
    })
  }
}

/** Too many attempts to sign in. */
export class TooManyAttemptsError extends AuthError<'ERR_AUTH_RATE'> {
  constructor(retryAfterS = 5) {
    super('ERR_AUTH_RATE', 'Too many attempts to sign in; try again later', {
      error: 'temporarily_unavailable',
      errorCode: 'over_request_rate_limit',
      headers: { 'Retry-After': String(retryAfterS) },
    })
  }
}

/** The signing keys cannot be had just now. */
export class KeysUnavailableError extends AuthError<'ERR_AUTH_KEYS'> {
  constructor(reason: string) {
    super('ERR_AUTH_KEYS', `The signing keys are unavailable: ${reason}`, UNAVAILABLE)
  }
}

/** What a sign-in or a refresh needs is away or has too much to do: an upstream, the hashing of passwords, a lost race. */
export class AuthUnavailableError extends AuthError<'ERR_AUTH_UNAVAILABLE'> {
  /** `cause` is what failed, for logs: no client sees it. */
  constructor(reason: string, { cause }: { readonly cause?: unknown } = {}) {
    super('ERR_AUTH_UNAVAILABLE', `Temporarily unavailable: ${reason}`, { ...UNAVAILABLE, cause })
  }
}

const UNAVAILABLE = { error: 'temporarily_unavailable', errorCode: 'unexpected_failure' }
