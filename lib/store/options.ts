import type { Request } from 'express'
import type { Session, SessionData } from 'express-session'
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkKnown,
  checkNumber,
  checkObject,
  checkOneOf,
  optionError,
} from '../option.ts'
import type { Secrets } from '../seal/secret.ts'
import { jsonSerializer, type SessionSerializer } from '../session/codec.ts'
import type { SessionDevice } from '../session/device.ts'
import type { LifetimeOptions } from '../session/lifetime.ts'
import type { UserId } from '../session/names.ts'
import type { UserIdOption } from '../session/reading.ts'
import type { Concurrency } from './save-session.ts'

/** What tells the time; in ms since the epoch, like `Date`. */
export interface Clock {
  now(): number
}

/** Options of every store, wherever it keeps its records. */
export interface SessionStoreOptions {
  /**
   * What seals the sessions: the first seals, all open. Each a string, Buffer or secret KeyObject of at least 32
   * bytes; or an async function that returns them, called on first use.
   * @defaultValue required with Valkey; in process one of this process's own
   */
  readonly secrets?: Secrets | undefined
  /** Whether the stored sessions are also encrypted (XAES-256-GCM). Signed they always are. @defaultValue false */
  readonly encrypt?: boolean | undefined
  /** Namespace of all keys, `[A-Za-z0-9:_-]{1,64}`; sessions of one prefix mean nothing under another. @defaultValue 'sess' */
  readonly prefix?: string | undefined
  /** Idle lifetime in seconds, or a function of the session; `cookie.maxAge` and `cookie.expires` win over it. @defaultValue 86400 */
  readonly ttl?: number | ((session: Session & Partial<SessionData>) => number) | undefined
  /** Hard end in seconds from creation, whatever touches and saves follow. @defaultValue none */
  readonly absoluteTtl?: number | undefined
  /** Whether `regenerate` hands the old session's hard end on to the new one. @defaultValue false */
  readonly absoluteTtlSurvivesRegenerate?: boolean | undefined
  /** A touch that moves the expiry by less than this many seconds writes nothing. @defaultValue ttl / 20, at most 300 */
  readonly touchAfter?: number | undefined
  /** Largest serialized session in bytes, checked before anything is sent. @defaultValue 65536 */
  readonly maxBytes?: number | undefined
  /** Writes and reads session data. @defaultValue JSON */
  readonly serializer?: SessionSerializer | undefined
  /**
   * Whose session it is, from what the stored session says: it is called with the data as a later request loads it.
   * `undefined` and `null` are nobody; what is no user id makes the save reject with `SessionUserIdError`.
   * @defaultValue `session.userId ?? session.passport?.user`
   */
  readonly userId?: ((session: Session & Partial<SessionData>) => UserId | null | undefined) | undefined
  /**
   * How many sessions a user may have, 1 to 10,000; the limit is exact, however many sign in at once. `false` lifts it:
   * then whoever can sign in again and again decides how much is kept, and how long `endAll` takes.
   * @defaultValue 1000
   */
  readonly maxSessionsPerUser?: number | false | undefined
  /** What a sign-in beyond `maxSessionsPerUser` does: end the user's oldest session, or fail with `SessionLimitError`. @defaultValue 'evict-oldest' */
  readonly onMaxSessions?: 'evict-oldest' | 'reject' | undefined
  /**
   * When a user's session is checked against the registry, where `endAll` and lost registries show: on each touch
   * that is due, or on every read, at one more round trip. @defaultValue 'touch'
   */
  readonly verifyOwner?: 'touch' | 'always' | undefined
  /** What to keep of the device a session is opened on: a flat object, kept sealed, shown in device lists. @defaultValue nothing */
  readonly device?: ((req: Request) => SessionDevice | undefined) | undefined
  /** What a save does when another request saved first: merge top-level keys and the cookie's attributes, reject with `SessionConflictError`, or overwrite. @defaultValue 'merge' */
  readonly concurrency?: Concurrency | undefined
  /** What a stored session that fails verification is: absent, or an error. @defaultValue 'discard' */
  readonly onInvalid?: 'discard' | 'error' | undefined
  /** What a stored session sealed with an unknown secret is: absent, or an error. @defaultValue 'discard' */
  readonly onUnknownKey?: 'discard' | 'error' | undefined
  /** How long the tombstone of a user's session stands, in seconds. @defaultValue 86400 */
  readonly endedTtl?: number | undefined
  /**
   * How long a watched session is not looked at, at most: what notices failed to tell is told within that time.
   * @defaultValue 30000
   */
  readonly watchIntervalMs?: number | undefined
  /** Tells the time for lifetimes and, in process, for expiry. @defaultValue `Date` */
  readonly clock?: Clock | undefined
}

export interface ResolvedOptions extends LifetimeOptions {
  readonly encrypt: boolean
  readonly prefix: string
  readonly absoluteTtlSurvivesRegenerate: boolean
  readonly maxBytes: number
  readonly serializer: SessionSerializer
  readonly userId: UserIdOption
  readonly maxSessionsPerUser: number | undefined
  readonly onMaxSessions: 'evict-oldest' | 'reject'
  readonly verifyOwner: 'touch' | 'always'
  readonly device: ((req: Request) => SessionDevice | undefined) | undefined
  readonly concurrency: Concurrency
  readonly onInvalid: 'discard' | 'error'
  readonly onUnknownKey: 'discard' | 'error'
  readonly endedTtlMs: number
  readonly watchIntervalMs: number
  readonly clock: Clock
}

/** The names of {@link SessionStoreOptions}; a store with options of its own adds theirs. */
export const STORE_OPTIONS = [
  'secrets',
  'encrypt',
  'prefix',
  'ttl',
  'absoluteTtl',
  'absoluteTtlSurvivesRegenerate',
  'touchAfter',
  'maxBytes',
  'serializer',
  'userId',
  'maxSessionsPerUser',
  'onMaxSessions',
  'verifyOwner',
  'device',
  'concurrency',
  'onInvalid',
  'onUnknownKey',
  'endedTtl',
  'watchIntervalMs',
  'clock',
] as const

const PREFIX = /^[A-Za-z0-9:_-]{1,64}$/
const MAX_TTL_S = 100 * 365 * 86_400
const MIN_TTL_S = 0.001
// NaN, or seconds in a text, would let sessions live for ever.
const TIMES_MS = { min: 0, max: 8.64e15 }

const seconds = (name: string, value: number): number =>
  checkNumber(name, value, { min: MIN_TTL_S, max: MAX_TTL_S })

/** Applies defaults and checks every option once. Throws a `TypeError` that names the wrong one. */
export function resolveOptions(
  options: SessionStoreOptions,
  known: readonly string[] = STORE_OPTIONS,
): ResolvedOptions {
  checkObject('options', options)
  checkKnown(options, known, 'the store')
  const { clock = { now: () => Date.now() } } = options
  checkObject('clock', clock)
  checkFunction('clock.now', clock.now)
  return {
    ...lifetimes(options),
    ...policies(options),
    ...registration(options),
    ...contents(options),
    clock: { now: () => checkNumber('clock.now', clock.now(), TIMES_MS) },
  }
}

function lifetimes({
  ttl = 86_400,
  absoluteTtl,
  touchAfter,
  endedTtl = 86_400,
  absoluteTtlSurvivesRegenerate = false,
}: SessionStoreOptions) {
  if (typeof ttl !== 'function') seconds('ttl', ttl)
  if (absoluteTtl !== undefined) seconds('absoluteTtl', absoluteTtl)
  if (touchAfter !== undefined) checkNumber('touchAfter', touchAfter, { min: 0, max: MAX_TTL_S })
  if (touchAfter !== undefined && typeof ttl === 'number' && touchAfter >= ttl) {
    throw optionError('touchAfter', `less than "ttl" (${ttl}), or sessions in use would expire`, touchAfter)
  }
  checkBoolean('absoluteTtlSurvivesRegenerate', absoluteTtlSurvivesRegenerate)
  return {
    ttl,
    absoluteTtl,
    touchAfter,
    endedTtlMs: seconds('endedTtl', endedTtl) * 1000,
    absoluteTtlSurvivesRegenerate,
  }
}

function policies({
  concurrency = 'merge',
  onInvalid = 'discard',
  onUnknownKey = 'discard',
}: SessionStoreOptions) {
  checkOneOf('concurrency', concurrency, ['merge', 'reject', 'overwrite'])
  checkOneOf('onInvalid', onInvalid, ['discard', 'error'])
  checkOneOf('onUnknownKey', onUnknownKey, ['discard', 'error'])
  return { concurrency, onInvalid, onUnknownKey }
}

function registration({
  maxSessionsPerUser: cap = 1000,
  onMaxSessions = 'evict-oldest',
  verifyOwner = 'touch',
  device,
  watchIntervalMs = 30_000,
}: SessionStoreOptions) {
  if (cap !== false) checkInteger('maxSessionsPerUser', cap, { min: 1, max: 10_000 })
  checkOneOf('onMaxSessions', onMaxSessions, ['evict-oldest', 'reject'])
  checkOneOf('verifyOwner', verifyOwner, ['touch', 'always'])
  if (device !== undefined) checkFunction('device', device)
  checkInteger('watchIntervalMs', watchIntervalMs, { min: 100, max: 3_600_000 })
  const maxSessionsPerUser = cap === false ? undefined : cap
  return { maxSessionsPerUser, onMaxSessions, verifyOwner, device, watchIntervalMs }
}

function contents(options: SessionStoreOptions) {
  const {
    encrypt = false,
    prefix = 'sess',
    maxBytes = 65_536,
    serializer = jsonSerializer,
    userId = defaultUserId,
  } = options
  checkBoolean('encrypt', encrypt)
  if (typeof prefix !== 'string' || !PREFIX.test(prefix)) {
    throw optionError('prefix', '1 to 64 characters of A-Z a-z 0-9 : _ -', prefix)
  }
  checkInteger('maxBytes', maxBytes, { min: 256, max: 16 * 1024 * 1024 })
  checkObject('serializer', serializer)
  checkFunction('serializer.stringify', serializer.stringify)
  checkFunction('serializer.parse', serializer.parse)
  checkFunction('userId', userId)
  return { encrypt, prefix, maxBytes, serializer, userId }
}

function defaultUserId(session: object): unknown {
  const { userId, passport } = session as { userId?: unknown; passport?: { user?: unknown } | null }
  return userId ?? passport?.user
}
