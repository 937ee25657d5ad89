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
export {
  hashPassword,
  type LocalUser,
  type LocalUsersOptions,
  localUsers,
  type PasswordProblem,
  type Rehash,
} from './passwords.ts'
