/** The error classes of stores, and the union of their codes; those of labels are in labels/. Each code has its heading in docs/ERRORS.md. */

/** The `code` of every error a store raises, except the `TypeError`s of wrong options. */
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

/**
 * Why and where something failed at the server, as far as it is known. It is safe to log: it carries neither arguments nor
 * credentials, and of keys and channels their patterns alone.
 */
export interface FailureCause {
  /** One of the words docs/ERRORS.md lists. */
  readonly reason: string
  /** The name or address of the server or, of a socket, its path. */
  readonly host?: string
  readonly port?: number
  /** Of the operating system, of DNS or of TLS: `ECONNREFUSED`, `ENOTFOUND`, `SELF_SIGNED_CERT_IN_CHAIN`, … */
  readonly systemCode?: string
  /** The command that the server refused. */
  readonly command?: string
  /** What the user lacks, as `ACL SETUSER` grants it: `+publish`, `~sess:r:*`, `&sess:n`. */
  readonly right?: string
}

/** A cause in a few words: `connection: ECONNREFUSED at 127.0.0.1:6379`. */
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
  readonly code: SessionStoreErrorCode
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
}

/**
 * The base of all errors a store raises at run time; those of labels are `LabelError`s. `status`, `statusCode`, `expose` and
 * `headers` are those of http-errors: Express's default error handler and koa reply with them, NestJS with the status alone.
 * No message, property or cause carries a session id, a key, a token, a payload or the arguments of a client command.
 *
 * @example
 * ```ts
 * import { SessionStoreError } from 'express-session-valkey'
 *
 * function isOutage(error: unknown): boolean {
 *   return error instanceof SessionStoreError && error.status === 503
 * }
 * ```
 */
export class SessionStoreError extends Error {
  readonly code: SessionStoreErrorCode
  readonly status: number
  /** The same as `status`. */
  readonly statusCode: number
  /** Whether the message is for the client: true below 500. */
  readonly expose: boolean
  readonly headers: Readonly<Record<string, string>>

  constructor(message: string, facts: ErrorFacts) {
    super(message)
    this.name = new.target.name
    this.code = facts.code
    this.status = facts.status
    this.statusCode = facts.status
    this.expose = facts.status < 500
    this.headers = facts.headers ?? {}
  }
}

/** Another request saved the same session first, and the policy (`concurrency: 'reject'`) or the retry bound forbids a merge. Nothing was written. */
export class SessionConflictError extends SessionStoreError {
  constructor(message = 'The session was changed by another request; load it again and repeat the change') {
    super(message, { code: 'ERR_SESSION_CONFLICT', status: 409 })
  }
}

/** The session was ended, or expired, while this request held a copy of it. Nothing was written. */
export class SessionEndedError extends SessionStoreError {
  /** `ended`: by a sign-out, an eviction or an administrator. `gone`: it expired or was removed. */
  readonly ending: 'ended' | 'gone'

  constructor(ending: 'ended' | 'gone') {
    super(
      ending === 'ended'
        ? 'The session was ended while this request ran; sign in again'
        : 'The session no longer exists; sign in again',
      { code: 'ERR_SESSION_ENDED', status: 401 },
    )
    this.ending = ending
  }
}

/** The user has as many sessions as `maxSessionsPerUser` allows, and `onMaxSessions` is `'reject'`. Nothing was written. */
export class SessionLimitError extends SessionStoreError {
  readonly maxSessionsPerUser: number

  constructor(maxSessionsPerUser: number) {
    super(
      `The user already has ${maxSessionsPerUser} sessions, as many as "maxSessionsPerUser" allows; end one of them first`,
      {
        code: 'ERR_SESSION_LIMIT',
        status: 409,
      },
    )
    this.maxSessionsPerUser = maxSessionsPerUser
  }
}

/** The stored session fails verification or cannot be read; raised only with `onInvalid: 'error'`, or by a write over foreign data. */
export class SessionInvalidError extends SessionStoreError {
  constructor() {
    super('The stored session failed verification', { code: 'ERR_SESSION_INVALID', status: 500 })
  }
}

/** The stored session names a key that is not among `secrets`; raised only with `onUnknownKey: 'error'`. */
export class SessionUnknownKeyError extends SessionStoreError {
  constructor() {
    super('The stored session was sealed with a secret that is not configured; add it to "secrets"', {
      code: 'ERR_SESSION_UNKNOWN_KEY',
      status: 503,
      headers: { 'Retry-After': '5' },
    })
  }
}

/** The serialized session is larger than `maxBytes`. Nothing was sent. */
export class SessionTooLargeError extends SessionStoreError {
  readonly bytes: number
  readonly maxBytes: number

  constructor(bytes: number, maxBytes: number) {
    super(
      `The session has ${bytes} bytes, more than "maxBytes" (${maxBytes}) allows; keep large data elsewhere`,
      {
        code: 'ERR_SESSION_TOO_LARGE',
        status: 500,
      },
    )
    this.bytes = bytes
    this.maxBytes = maxBytes
  }
}

/** The session holds something the serializer cannot write: a BigInt, a cycle, a value nested too deeply. Nothing was sent. */
export class SessionNotSerializableError extends SessionStoreError {
  constructor(reason: string) {
    super(`The session cannot be serialized: ${reason}`, {
      code: 'ERR_SESSION_NOT_SERIALIZABLE',
      status: 500,
    })
  }
}

/** A session's lifetime is not a positive, finite duration. Nothing was sent. */
export class SessionTtlError extends SessionStoreError {
  constructor(source: 'cookie.expires' | 'ttl') {
    super(`The session lifetime from ${source} is not a positive, finite duration of at most 100 years`, {
      code: 'ERR_SESSION_TTL',
      status: 500,
    })
  }
}

/**
 * What the `userId` option returned for a session is neither a user id nor `undefined` or `null`, which is nobody. A user id
 * is a non-empty, well-formed string, a finite number, a bigint, or an object that serializes to one of these. Nothing was sent.
 */
export class SessionUserIdError extends SessionStoreError {
  constructor(value: unknown) {
    super(
      `The "userId" option returned ${kindOf(value)}; it must return a non-empty string, a finite number, a bigint, or undefined for nobody. With Passport: userId: (s) => s.passport?.user?.id`,
      { code: 'ERR_SESSION_USER_ID', status: 500 },
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

/** A session id that cannot name a session: not a string, empty, too long, or with characters outside `[A-Za-z0-9._~+/=:-]`. Raised by writes; reads answer "no session". */
export class SessionIdError extends SessionStoreError {
  constructor() {
    super(
      'The session id must be a string of 1 to 256 characters of [A-Za-z0-9._~+/=:-]; check the option "genid" of session()',
      { code: 'ERR_SESSION_ID', status: 500 },
    )
  }
}

/** `req.session` is not what the store made or loaded for the request's session id. Nothing was stored. */
export class SessionForeignError extends SessionStoreError {
  constructor(reason: string) {
    super(`The session cannot be stored: ${reason}`, { code: 'ERR_SESSION_FOREIGN', status: 500 })
  }
}

/** So many endings wait to be read that a watch has stopped: those that are kept are read first, later ones are not told. */
export class SessionWatchBehindError extends SessionStoreError {
  constructor(unread: number) {
    super(`The watch has stopped, as ${unread} endings wait to be read; begin another, and read it in time`, {
      code: 'ERR_SESSION_WATCH_BEHIND',
      status: 500,
    })
  }
}

/** The backend could not be reached or refused the call. It was definitely not applied. */
export class StoreUnavailableError extends SessionStoreError {
  /** Why, as one of the words docs/ERRORS.md lists: `timeout`, `connection`, `read-only`, `out-of-memory`, ... */
  readonly reason: string
  /** The root cause: with the reason `breaker-open`, the failure that opened it. */
  readonly failure: FailureCause

  constructor(reason: string, failure: FailureCause = { reason }) {
    super(`The session backend is unavailable (${told(reason, failure)}); nothing was applied`, {
      code: 'ERR_STORE_UNAVAILABLE',
      status: 503,
      headers: { 'Retry-After': '1' },
    })
    this.reason = reason
    this.failure = failure
  }
}

/** The reply to a write was lost: it may or may not have been applied. Repeating it is harmless. */
export class OutcomeUnknownError extends SessionStoreError {
  readonly reason: string
  /** The root cause. */
  readonly failure: FailureCause

  constructor(reason: string, failure: FailureCause = { reason }) {
    super(`The session backend did not answer (${told(reason, failure)}); the write may have been applied`, {
      code: 'ERR_STORE_OUTCOME_UNKNOWN',
      status: 503,
      headers: { 'Retry-After': '1' },
    })
    this.reason = reason
    this.failure = failure
  }
}

/** The root cause of an error of a store; of one that did not come from a server, its `code`. */
export function failureOf(error: unknown): FailureCause {
  if (error instanceof StoreUnavailableError || error instanceof OutcomeUnknownError) return error.failure
  return { reason: error instanceof SessionStoreError ? error.code : 'unknown' }
}

function told(reason: string, failure: FailureCause): string {
  const cause = describeFailure(failure)
  return reason === failure.reason ? cause : `${reason} after ${cause}`
}

/** The store was closed with `close()`. */
export class StoreClosedError extends SessionStoreError {
  constructor() {
    super('The session store is closed', {
      code: 'ERR_STORE_CLOSED',
      status: 503,
      headers: { 'Retry-After': '5' },
    })
  }
}

/** The function given as `secrets` failed or returned something that is not a list of secrets. */
export class StoreSecretsError extends SessionStoreError {
  constructor(reason: string) {
    super(`The "secrets" function ${reason}`, {
      code: 'ERR_STORE_SECRETS',
      status: 503,
      headers: { 'Retry-After': '1' },
    })
  }
}

/** The `serializer` did not answer in time. Nothing was sent, and what is stored stays. */
export class StoreSerializerError extends SessionStoreError {
  constructor(method: 'stringify' | 'parse', deadlineMs: number) {
    super(`The serializer's "${method}" did not answer within ${deadlineMs} ms`, {
      code: 'ERR_STORE_SERIALIZER',
      status: 503,
      headers: { 'Retry-After': '1' },
    })
  }
}

/** A function of the app's that was given as an option threw. Nothing was sent. */
export class StoreOptionError extends SessionStoreError {
  /** The name of the option. */
  readonly option: string
  /** What the function threw, as it is: what it says is the app's own. */
  override readonly cause: unknown

  constructor(option: string, cause: unknown) {
    super(`The function given as option "${option}" threw an error, which is the "cause" of this one`, {
      code: 'ERR_STORE_OPTION',
      status: 500,
    })
    this.option = option
    this.cause = cause
  }
}
