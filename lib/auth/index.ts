export { AuthError, type AuthErrorCode } from '../errors.ts'
export type { AccessClaims, AccessTokenOptions, TokenSubject } from './access-token.ts'
export {
  AuthUnavailableError,
  InvalidClientError,
  InvalidGrantError,
  InvalidRequestError,
  InvalidTokenError,
  KeysUnavailableError,
  TooManyAttemptsError,
} from './auth-errors.ts'
export type { AuthOptions, StatefulAuthOptions, StatelessAuthOptions } from './auth-options.ts'
export {
  createAuthRouter,
  type StatefulAuthRouter,
  type StatelessAuthRouter,
} from './auth-router.ts'
export type {
  Authenticate,
  Authenticated,
  AuthUser,
  Credentials,
  MoreNeeded,
  UpstreamSession,
} from './authenticate.ts'
export { type GotrueUpstreamOptions, gotrueUpstream } from './gotrue-upstream.ts'
export {
  hashPassword,
  type LocalUser,
  type LocalUsersOptions,
  localUsers,
  type PasswordProblem,
  type Rehash,
} from './passwords.ts'
export type { AuthMiddleware, Authorization, AuthorizedRequest } from './require-auth.ts'
export type { SigningAlgorithm, SigningKey, SigningKeys } from './signing-keys.ts'
export type { AuthRequest } from './token-request.ts'
