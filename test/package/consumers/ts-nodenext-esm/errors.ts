import { isSessionStoreError, type SessionStoreErrorCode } from 'express-session-valkey'

/** What each error has of its own, found by its code and without a cast. A code that is missing here does not compile. */
export function detailOf(error: unknown): unknown {
  if (!isSessionStoreError(error)) return undefined
  switch (error.code) {
    case 'ERR_SESSION_ENDED':
      return error.ending satisfies 'ended' | 'gone'
    case 'ERR_SESSION_LIMIT':
      return error.maxSessionsPerUser satisfies number
    case 'ERR_SESSION_TOO_LARGE':
      return (error.bytes - error.maxBytes) satisfies number
    case 'ERR_STORE_UNAVAILABLE':
    case 'ERR_STORE_OUTCOME_UNKNOWN':
      return [error.reason satisfies string, error.failure.systemCode]
    case 'ERR_STORE_OPTION':
      return [error.option satisfies string, error.cause]
    case 'ERR_TAINT_DENIED':
      return error.reason satisfies 'labels' | 'lost'
    case 'ERR_AUTH_REQUEST':
    case 'ERR_AUTH_CLIENT':
    case 'ERR_AUTH_GRANT':
    case 'ERR_AUTH_TOKEN':
    case 'ERR_AUTH_RATE':
    case 'ERR_AUTH_KEYS':
    case 'ERR_AUTH_UNAVAILABLE':
      return [error.error satisfies string, error.errorCode satisfies string]
    case 'ERR_SESSION_CONFLICT':
    case 'ERR_SESSION_INVALID':
    case 'ERR_SESSION_UNKNOWN_KEY':
    case 'ERR_SESSION_NOT_SERIALIZABLE':
    case 'ERR_SESSION_TTL':
    case 'ERR_SESSION_USER_ID':
    case 'ERR_SESSION_ID':
    case 'ERR_SESSION_FOREIGN':
    case 'ERR_SESSION_WATCH_BEHIND':
    case 'ERR_STORE_CLOSED':
    case 'ERR_STORE_SECRETS':
    case 'ERR_STORE_SERIALIZER':
    case 'ERR_LABELS_UNREADABLE':
    case 'ERR_LABELS_LIMIT':
      return error.headers['Retry-After']
    default:
      return error satisfies never
  }
}

// Every code is that of a class: what the union lacks, the switch above could not have.
export const codes = {} as Record<SessionStoreErrorCode, true>
