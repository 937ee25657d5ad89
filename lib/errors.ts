/** The error classes of this package and the union of their codes. Each code has its heading in docs/ERRORS.md. */

/** The `code` of every error this package raises at run time; a wrong option is a `TypeError`. */
export type SessionStoreErrorCode =
  | 'ERR_SESSION_CONFLICT'
  | 'ERR_SESSION_ENDED'
  | 'ERR_SESSION_LIMIT'
  | 'ERR_SESSION_INVALID'
  | 'ERR_SESSION_UNKNOWN_KEY'
  | 'ERR_SESSION_TOO_LARGE'
  | 'ERR_SESSION_NOT_SERIALIZABLE'
  | 'ERR_SESSION_TTL'
  | 'ERR_SESSION_USER_ID'
  | 'ERR_SESSION_ID'
  | 'ERR_SESSION_FOREIGN'
  | 'ERR_SESSION_WATCH_BEHIND'
  | 'ERR_STORE_UNAVAILABLE'
  | 'ERR_STORE_OUTCOME_UNKNOWN'
  | 'ERR_STORE_CLOSED'
  | 'ERR_STORE_SECRETS'
  | 'ERR_STORE_SERIALIZER'
  | 'ERR_STORE_OPTION'
  | 'ERR_LABELS_UNREADABLE'
  | 'ERR_LABELS_LIMIT'
  | 'ERR_TAINT_DENIED'
  | AuthErrorCode

/** The `code` of every error that `express-session-valkey/auth` raises of its own. */
export type AuthErrorCode =
  | 'ERR_AUTH_REQUEST'
  | 'ERR_AUTH_CLIENT'
  | 'ERR_AUTH_GRANT'
  | 'ERR_AUTH_TOKEN'
  | 'ERR_AUTH_RATE'
  | 'ERR_AUTH_KEYS'
  | 'ERR_AUTH_UNAVAILABLE'

/**
 * Why and where a call to the server failed, as far as it is known. It is safe to log: it carries no arguments and no
 * credentials, and of keys and channels only their patterns.
 */
export interface FailureCause {
  /** One of the words docs/ERRORS.md lists. */
  readonly reason: string
  /** The name or address of the server or, of a socket, its path. */
  readonly host?: string
  readonly port?: number
  /** The code of the operating system, of DNS or of TLS: `ECONNREFUSED`, `ENOTFOUND`, `SELF_SIGNED_CERT_IN_CHAIN`, … */
  readonly systemCode?: string
  /** The command that the server refused. */
  readonly command?: string
  /** The right that the server user lacks, as `ACL SETUSER` grants it: `+publish`, `~sess:r:*`, `&sess:n`. */
  readonly right?: string
}

/** Describes a cause in a few words: `connection: ECONNREFUSED at 127.0.0.1:6379`. */
export function describeFailure({ reason, host, port, systemCode, command, right }: FailureCause): string {
  const details = [
    systemCode,
    right && `lacks ${right}`,
    command && right !== `+${command}` && `for ${command}`,
  ].filter(Boolean)
  const name = host?.includes(':') && port !== undefined ? `[${host}]` : host
  const place = name === undefined ? '' : ` at ${name}${port === undefined ? '' : `:${port}`}`
  return `${reason}${details.length === 0 ? '' : `: ${details.join(' ')}`}${place}`
}

interface ErrorFacts {
  /** Minifiers rename classes, so names are written out. */
  readonly name: string
  /** The status of the HTTP response. */
  readonly status: number
  /** When a retry makes sense, in seconds. */
  readonly retryAfterS?: number
}

const ERRORS: Readonly<Record<SessionStoreErrorCode, ErrorFacts>> = {
  ERR_SESSION_CONFLICT: { name: 'SessionConflictError', status: 409 },
  ERR_SESSION_ENDED: { name: 'SessionEndedError', status: 401 },
  ERR_SESSION_LIMIT: { name: 'SessionLimitError', status: 409 },
  ERR_SESSION_INVALID: { name: 'SessionInvalidError', status: 500 },
  ERR_SESSION_UNKNOWN_KEY: { name: 'SessionUnknownKeyError', status: 503, retryAfterS: 5 },
  ERR_SESSION_TOO_LARGE: { name: 'SessionTooLargeError', status: 500 },
  ERR_SESSION_NOT_SERIALIZABLE: { name: 'SessionNotSerializableError', status: 500 },
  ERR_SESSION_TTL: { name: 'SessionTtlError', status: 500 },
  ERR_SESSION_USER_ID: { name: 'SessionUserIdError', status: 500 },
  ERR_SESSION_ID: { name: 'SessionIdError', status: 500 },
  ERR_SESSION_FOREIGN: { name: 'SessionForeignError', status: 500 },
  ERR_SESSION_WATCH_BEHIND: { name: 'SessionWatchBehindError', status: 500 },
  ERR_STORE_UNAVAILABLE: { name: 'StoreUnavailableError', status: 503, retryAfterS: 1 },
  ERR_STORE_OUTCOME_UNKNOWN: { name: 'OutcomeUnknownError', status: 503, retryAfterS: 1 },
  ERR_STORE_CLOSED: { name: 'StoreClosedError', status: 503, retryAfterS: 5 },
  ERR_STORE_SECRETS: { name: 'StoreSecretsError', status: 503, retryAfterS: 1 },
  ERR_STORE_SERIALIZER: { name: 'StoreSerializerError', status: 503, retryAfterS: 1 },
  ERR_STORE_OPTION: { name: 'StoreOptionError', status: 500 },
  ERR_LABELS_UNREADABLE: { name: 'LabelsUnreadableError', status: 503, retryAfterS: 5 },
  ERR_LABELS_LIMIT: { name: 'LabelLimitError', status: 500 },
  ERR_TAINT_DENIED: { name: 'TaintDeniedError', status: 403 },
  ERR_AUTH_REQUEST: { name: 'InvalidRequestError', status: 400 },
  ERR_AUTH_CLIENT: { name: 'InvalidClientError', status: 400 },
  ERR_AUTH_GRANT: { name: 'InvalidGrantError', status: 400 },
  ERR_AUTH_TOKEN: { name: 'InvalidTokenError', status: 401 },
  ERR_AUTH_RATE: { name: 'TooManyAttemptsError', status: 429, retryAfterS: 5 },
  ERR_AUTH_KEYS: { name: 'KeysUnavailableError', status: 503, retryAfterS: 1 },
  ERR_AUTH_UNAVAILABLE: { name: 'AuthUnavailableError', status: 503, retryAfterS: 1 },
}

// Registered for the whole process: the ESM and the CommonJS build of this package each have classes of their own.
const BRAND = Symbol.for('express-session-valkey.error')

/**
 * The base of all errors this package raises at run time. `status`, `statusCode`, `expose` and `headers` are those of
 * http-errors: Express's default error handler and koa reply with them, NestJS with the status alone. No message, property
 * or cause carries a session id, a key, a token, a payload or the arguments of a client command.
 *
 * Recognize one with {@link isSessionStoreError}, which narrows by `code` and works across copies of this package.
 */
export class SessionStoreError<Code extends SessionStoreErrorCode = SessionStoreErrorCode> extends Error {
  readonly code: Code
  readonly status: number
  /** The same as `status`. */
  readonly statusCode: number
  /** Whether the message is for the client: true below 500. */
  readonly expose: boolean
  /** `Retry-After`, where a retry makes sense. */
  readonly headers: Readonly<Record<string, string>>

  static {
    Object.defineProperty(SessionStoreError.prototype, BRAND, { value: true })
  }

  /** `reply` overrides the status and headers of the code. */
  constructor(
    code: Code,
    message: string,
    reply: {
      readonly status?: number
      readonly headers?: Readonly<Record<string, string>>
      readonly cause?: unknown
    } = {},
  ) {
    super(message, reply.cause === undefined ? undefined : { cause: reply.cause })
    const { name, status, retryAfterS } = ERRORS[code]
    this.name = name
    this.code = code
    this.status = reply.status ?? status
    this.statusCode = this.status
    this.expose = this.status < 500
    this.headers = reply.headers ?? (retryAfterS === undefined ? {} : { 'Retry-After': String(retryAfterS) })
  }
}

/**
 * The base of the errors of `express-session-valkey/auth`, which exports the class. No message carries a password, a token, a
 * key or a user.
 *
 * @example
 * ```ts
 * import { isSessionStoreError } from 'express-session-valkey'
 *
 * function isSignedOut(error: unknown): boolean {
 *   return isSessionStoreError(error) && error.code === 'ERR_AUTH_GRANT'
 * }
 * console.log(isSignedOut(new Error('other')))
 * ```
 */
export class AuthError<Code extends AuthErrorCode = AuthErrorCode> extends SessionStoreError<Code> {
  /** The `error` of the reply to OAuth clients (RFC 6749, RFC 6750). */
  readonly error: string
  /** The `error_code` of the reply to GoTrue clients. */
  readonly errorCode: string

  constructor(
    code: Code,
    message: string,
    {
      error,
      errorCode,
      ...reply
    }: {
      readonly error: string
      readonly errorCode: string
      readonly status?: number
      readonly headers?: Readonly<Record<string, string>>
      readonly cause?: unknown
    },
  ) {
    super(code, message, reply)
    this.error = error
    this.errorCode = errorCode
  }
}

/** Every error of this package: a union that a `switch` over `code` narrows. */
export type AnySessionStoreError =
  | SessionConflictError
  | SessionEndedError
  | SessionLimitError
  | SessionInvalidError
  | SessionUnknownKeyError
  | SessionTooLargeError
  | SessionNotSerializableError
  | SessionTtlError
  | SessionUserIdError
  | SessionIdError
  | SessionForeignError
  | SessionWatchBehindError
  | StoreUnavailableError
  | OutcomeUnknownError
  | StoreClosedError
  | StoreSecretsError
  | StoreSerializerError
  | StoreOptionError
  | LabelsUnreadableError
  | LabelLimitError
  | TaintDeniedError
  | AuthError

/**
 * Returns whether a value is an error of this package. Unlike `instanceof`, it also recognizes the errors of another copy,
 * as where one module imports the package and another requires it.
 *
 * @example
 * ```ts
 * import { isSessionStoreError } from 'express-session-valkey'
 *
 * function explain(error: unknown): string {
 *   if (!isSessionStoreError(error)) return 'an error of something else'
 *   switch (error.code) {
 *     case 'ERR_SESSION_LIMIT':
 *       return `signed in ${error.maxSessionsPerUser} times already`
 *     case 'ERR_STORE_UNAVAILABLE':
 *       return `Valkey is unavailable: ${error.reason}`
 *     default:
 *       return error.message
 *   }
 * }
 * ```
 */
export function isSessionStoreError(value: unknown): value is AnySessionStoreError {
  return typeof value === 'object' && value !== null && BRAND in value
}

/** Another request saved the same session first, and the policy (`concurrency: 'reject'`) or the retry bound forbids a merge. Nothing was written. */
export class SessionConflictError extends SessionStoreError<'ERR_SESSION_CONFLICT'> {
  constructor(message = 'The session was changed by another request; load it again and repeat the change') {
    super('ERR_SESSION_CONFLICT', message)
  }
}

/** The session was ended, or expired, while this request held a copy of it. Nothing was written. */
export class SessionEndedError extends SessionStoreError<'ERR_SESSION_ENDED'> {
  /** `ended`: by a sign-out, an eviction or an administrator. `gone`: it expired or was removed. */
  readonly ending: 'ended' | 'gone'

  constructor(ending: 'ended' | 'gone') {
    super(
      'ERR_SESSION_ENDED',
      ending === 'ended'
        ? 'The session was ended while this request ran; sign in again'
        : 'The session no longer exists; sign in again',
    )
    this.ending = ending
  }
}

/** The user has as many sessions as `maxSessionsPerUser` allows, and `onMaxSessions` is `'reject'`. Nothing was written. */
export class SessionLimitError extends SessionStoreError<'ERR_SESSION_LIMIT'> {
  readonly maxSessionsPerUser: number

  constructor(maxSessionsPerUser: number) {
    super(
      'ERR_SESSION_LIMIT',
      `The user already has ${maxSessionsPerUser} sessions, as many as "maxSessionsPerUser" allows; end one of them first`,
    )
    this.maxSessionsPerUser = maxSessionsPerUser
  }
}

/** The stored session fails verification or cannot be read; raised only with `onInvalid: 'error'`, or by a write over foreign data. */
export class SessionInvalidError extends SessionStoreError<'ERR_SESSION_INVALID'> {
  constructor() {
    super('ERR_SESSION_INVALID', 'The stored session failed verification')
  }
}

/** The stored session names a key that is not among `secrets`; raised only with `onUnknownKey: 'error'`. */
export class SessionUnknownKeyError extends SessionStoreError<'ERR_SESSION_UNKNOWN_KEY'> {
  constructor() {
    super(
      'ERR_SESSION_UNKNOWN_KEY',
      'The stored session was sealed with a secret that is not configured; add it to "secrets"',
    )
  }
}

/** The serialized session is larger than `maxBytes`. Nothing was sent. */
export class SessionTooLargeError extends SessionStoreError<'ERR_SESSION_TOO_LARGE'> {
  readonly bytes: number
  readonly maxBytes: number

  constructor(bytes: number, maxBytes: number) {
    super(
      'ERR_SESSION_TOO_LARGE',
      `The session has ${bytes} bytes, more than "maxBytes" (${maxBytes}) allows; keep large data elsewhere`,
    )
    this.bytes = bytes
    this.maxBytes = maxBytes
  }
}

/** The session holds something the serializer cannot write: a BigInt, a cycle, a value nested too deeply. Nothing was sent. */
export class SessionNotSerializableError extends SessionStoreError<'ERR_SESSION_NOT_SERIALIZABLE'> {
  constructor(reason: string) {
    super('ERR_SESSION_NOT_SERIALIZABLE', `The session cannot be serialized: ${reason}`)
  }
}

/** A session's lifetime is not a positive, finite duration. Nothing was sent. */
export class SessionTtlError extends SessionStoreError<'ERR_SESSION_TTL'> {
  constructor(source: 'cookie.expires' | 'ttl') {
    super(
      'ERR_SESSION_TTL',
      `The session lifetime from ${source} is not a positive, finite duration of at most 100 years`,
    )
  }
}

/**
 * The `userId` option returned something that is neither a user id nor `undefined` or `null` for no user. A user id is a non-empty,
 * well-formed string, a finite number, a bigint, or an object that serializes to one of these. Nothing was sent.
 */
export class SessionUserIdError extends SessionStoreError<'ERR_SESSION_USER_ID'> {
  constructor(value: unknown) {
    super(
      'ERR_SESSION_USER_ID',
      `The "userId" option returned ${kindOf(value)}; it must return a non-empty string, a finite number, a bigint, or undefined for nobody. With Passport: userId: (s) => s.passport?.user?.id`,
    )
  }
}

function kindOf(value: unknown): string {
  if (value === '') return 'an empty string'
  if (typeof value === 'string') return 'a string that is not well-formed Unicode'
  if (typeof value === 'number') return String(value)
  if (value instanceof Promise) return 'a promise'
  if (Array.isArray(value)) return 'an array'
  return typeof value === 'object' ? 'an object' : `a ${typeof value}`
}

/** A session id that cannot name a session: not a string, empty, too long, or with characters outside `[A-Za-z0-9._~+/=:-]`. Raised by writes; reads return no session. */
export class SessionIdError extends SessionStoreError<'ERR_SESSION_ID'> {
  constructor() {
    super(
      'ERR_SESSION_ID',
      'The session id must be a string of 1 to 256 characters of [A-Za-z0-9._~+/=:-]; check the option "genid" of session()',
    )
  }
}

/** `req.session` is not what the store made or loaded for the request's session id. Nothing was stored. */
export class SessionForeignError extends SessionStoreError<'ERR_SESSION_FOREIGN'> {
  constructor(reason: string) {
    super('ERR_SESSION_FOREIGN', `The session cannot be stored: ${reason}`)
  }
}

/** A watch has stopped because too many endings wait to be read. Iterating first yields those, then rejects with this error; later endings are lost. */
export class SessionWatchBehindError extends SessionStoreError<'ERR_SESSION_WATCH_BEHIND'> {
  constructor(unread: number) {
    super(
      'ERR_SESSION_WATCH_BEHIND',
      `The watch has stopped, as ${unread} endings wait to be read; begin another, and read it in time`,
    )
  }
}

/** The backend could not be reached or refused the call. It was definitely not applied. */
export class StoreUnavailableError extends SessionStoreError<'ERR_STORE_UNAVAILABLE'> {
  /** Why, as one of the words docs/ERRORS.md lists: `timeout`, `connection`, `read-only`, `out-of-memory`, ... */
  readonly reason: string
  /** The root cause: with the reason `breaker-open`, the failure that opened it. */
  readonly failure: FailureCause

  constructor(
    reason: string,
    failure: FailureCause = { reason },
    message = `The session backend is unavailable (${describeReason(reason, failure)}); nothing was applied`,
  ) {
    super('ERR_STORE_UNAVAILABLE', message)
    this.reason = reason
    this.failure = failure
  }
}

/** The reply to a write was lost: it may or may not have been applied. Repeating it is harmless. */
export class OutcomeUnknownError extends SessionStoreError<'ERR_STORE_OUTCOME_UNKNOWN'> {
  readonly reason: string
  /** The root cause. */
  readonly failure: FailureCause

  constructor(reason: string, failure: FailureCause = { reason }) {
    super(
      'ERR_STORE_OUTCOME_UNKNOWN',
      `The session backend did not answer (${describeReason(reason, failure)}); the write may have been applied`,
    )
    this.reason = reason
    this.failure = failure
  }
}

/** The root cause of an error of a store; of one that did not come from a server, its `code`. */
export function failureOf(error: unknown): FailureCause {
  if (error instanceof StoreUnavailableError || error instanceof OutcomeUnknownError) return error.failure
  return { reason: isSessionStoreError(error) ? error.code : 'unknown' }
}

function describeReason(reason: string, failure: FailureCause): string {
  const cause = describeFailure(failure)
  return reason === failure.reason ? cause : `${reason} after ${cause}`
}

/** The store was closed with `close()`. */
export class StoreClosedError extends SessionStoreError<'ERR_STORE_CLOSED'> {
  constructor() {
    super('ERR_STORE_CLOSED', 'The session store is closed')
  }
}

/** The function given as `secrets` failed or returned something that is not a list of secrets. */
export class StoreSecretsError extends SessionStoreError<'ERR_STORE_SECRETS'> {
  constructor(reason: string) {
    super('ERR_STORE_SECRETS', `The "secrets" function ${reason}`)
  }
}

/** The `serializer` did not settle in time. Nothing was sent, and the stored session is unchanged. */
export class StoreSerializerError extends SessionStoreError<'ERR_STORE_SERIALIZER'> {
  constructor(method: 'stringify' | 'parse', deadlineMs: number) {
    super('ERR_STORE_SERIALIZER', `The serializer's "${method}" did not answer within ${deadlineMs} ms`)
  }
}

/** A function given as an option threw. Nothing was sent. */
export class StoreOptionError extends SessionStoreError<'ERR_STORE_OPTION'> {
  /** The name of the option. */
  readonly option: string
  /** The value that the function threw, unchanged. */
  override readonly cause: unknown

  constructor(option: string, cause: unknown) {
    super(
      'ERR_STORE_OPTION',
      `The function given as option "${option}" threw an error, which is the "cause" of this one`,
    )
    this.option = option
    this.cause = cause
  }
}

/** The stored value is not a set of labels. It counts neither as labelled nor as empty; nothing was changed. */
export class LabelsUnreadableError extends SessionStoreError<'ERR_LABELS_UNREADABLE'> {
  constructor() {
    super(
      'ERR_LABELS_UNREADABLE',
      'What is stored is not a set of labels; find out who else writes there, or remove it',
    )
  }
}

/** The session or user would have more distinct labels than allowed. Nothing was added. */
export class LabelLimitError extends SessionStoreError<'ERR_LABELS_LIMIT'> {
  constructor(limit: number) {
    super('ERR_LABELS_LIMIT', `There would be more than ${limit} distinct labels; use fewer, coarser ones`)
  }
}

/** A gate denied the request for its labels, or because its labels are lost. */
export class TaintDeniedError extends SessionStoreError<'ERR_TAINT_DENIED'> {
  /** `labels`: the gate denies one of its labels. `lost`: it had labels that are no longer stored. */
  readonly reason: 'labels' | 'lost'

  constructor(reason: 'labels' | 'lost') {
    super('ERR_TAINT_DENIED', 'What this session has been exposed to may not leave here')
    this.reason = reason
  }
}
