export {
  AuthError,
  type AuthErrorCode,
  AuthUnavailableError,
  InvalidGrantError,
  InvalidRequestError,
  InvalidTokenError,
  KeysUnavailableError,
  TooManyAttemptsError,
} from './auth-errors.ts'
export type {
  Authenticate,
  Authenticated,
  AuthUser,
  Credentials,
  MoreNeeded,
  UpstreamSession,
} from './authenticate.ts'
