import type { Request } from 'express'
import type { Session, SessionData } from 'express-session'
import {
  checkBoolean,
  checkFunction,
  checkInteger,
  checkNumber,
  checkObject,
  checkOneOf,
  clockOf,
  MAX_TTL_S,
  type OptionTable,
  optionError,
  type Read,
  readOptions,
} from '../option.ts'
import type { Secrets } from '../seal/secret.ts'
import { jsonSerializer, type SessionSerializer } from '../session/codec.ts'
import type { SessionDevice } from '../session/device.ts'
import type { UserId } from '../session/names.ts'
import type { UserIdOption } from '../session/reading.ts'

/** Options of every store, wherever it keeps its records. */
export interface SessionStoreOptions {
  /**
   * The secrets that seal the sessions: the first one seals, all of them open. Each is a string, Buffer or secret KeyObject of at
   * least 32 bytes. An async function that returns them is called on first use.
   * @defaultValue required with Valkey; in process one of this process's own
   */
  readonly secrets?: Secrets | undefined
  /** Encrypts stored sessions (XAES-256-GCM). They are signed in any case. @defaultValue false */
  readonly encrypt?: boolean | undefined
  /** Prefix of all keys, `[A-Za-z0-9:_-]{1,64}`. A session of one prefix is not valid under another. @defaultValue 'sess' */
  readonly prefix?: string | undefined
  /** Idle lifetime in seconds, or a function of the session; `cookie.maxAge` and `cookie.expires` take precedence. @defaultValue 86400 */
  readonly ttl?: number | ((session: Session & Partial<SessionData>) => number) | undefined
  /** Longest lifetime of a session in seconds from its creation, however often it is used. @defaultValue none */
  readonly absoluteTtl?: number | undefined
  /** Whether the new session of a `regenerate` keeps the end that `absoluteTtl` gave the old one. @defaultValue false */
  readonly absoluteTtlSurvivesRegenerate?: boolean | undefined
  /** A touch that moves the expiry by less than this many seconds writes nothing. @defaultValue ttl / 20, at most 300 */
  readonly touchAfter?: number | undefined
  /** Largest serialized session in bytes, checked before anything is sent. @defaultValue 65536 */
  readonly maxBytes?: number | undefined
  /** Converts session data to bytes and back. @defaultValue JSON */
  readonly serializer?: SessionSerializer | undefined
  /**
   * Returns the id of the session's user; `undefined` or `null` if it has none. It is called with the data as a later request
   * loads it. A save rejects with `SessionUserIdError` if it returns anything else.
   * @defaultValue `session.userId ?? session.passport?.user`
   */
  readonly userId?: ((session: Session & Partial<SessionData>) => UserId | null | undefined) | undefined
  /**
   * How many sessions a user may have, 1 to 10,000; the limit is exact, however many sign in at once. `false` removes it: then a
   * user who signs in again and again decides how much is stored, and how long `endAll` takes.
   * @defaultValue 1000
   */
  readonly maxSessionsPerUser?: number | false | undefined
  /** Ends the user's oldest session at a sign-in beyond `maxSessionsPerUser`, or rejects it with `SessionLimitError`. @defaultValue 'evict-oldest' */
  readonly onMaxSessions?: 'evict-oldest' | 'reject' | undefined
  /**
   * How often a session is checked against its user's registry, so that `endAll` takes effect even if the session's own ending was
   * lost: at each touch that is due, or at every read, which costs one more round trip. @defaultValue 'touch'
   */
  readonly verifyOwner?: 'touch' | 'always' | undefined
  /** Returns what device lists show about the device that signs in: a flat object, stored sealed. @defaultValue nothing */
  readonly device?: ((req: Request) => SessionDevice | undefined) | undefined
  /** Resolves a save when another request saved first: merges top-level keys and the cookie's attributes, rejects with `SessionConflictError`, or overwrites. @defaultValue 'merge' */
  readonly concurrency?: 'merge' | 'reject' | 'overwrite' | undefined
  /** Treats a stored session that fails verification as absent, or rejects with `SessionInvalidError`. @defaultValue 'discard' */
  readonly onInvalid?: 'discard' | 'error' | undefined
  /** Treats a stored session that was sealed with an unknown secret as absent, or rejects with `SessionUnknownKeyError`. @defaultValue 'discard' */
  readonly onUnknownKey?: 'discard' | 'error' | undefined
  /** How long the end of a user's session is remembered, in seconds: its tombstone, and its row in device lists. @defaultValue 86400 */
  readonly endedTtl?: number | undefined
  /**
   * Longest time between two checks of a watched session, in ms: an ending whose notice was lost is reported within it.
   * @defaultValue 30000
   */
  readonly watchIntervalMs?: number | undefined
  /** Returns the time for lifetimes and, in process, for expiry, in ms since the epoch. @defaultValue `Date` */
  readonly clock?: { now(): number } | undefined
}

const PREFIX = /^[A-Za-z0-9:_-]{1,64}$/
const MIN_TTL_S = 0.001

/** The options of every store; `ValkeyStore` adds its own. */
export const STORE_OPTIONS = {
  // The sealer checks them: it may have to fetch them first.
  secrets: (value) => value,
  encrypt: (value = false, name) => checkBoolean(name, value),
  prefix: (value = 'sess', name) => prefixOf(name, value),
  ttl: (value = 86_400, name) => (typeof value === 'function' ? value : seconds(name, value)),
  absoluteTtl: (value, name) => (value === undefined ? undefined : seconds(name, value)),
  absoluteTtlSurvivesRegenerate: (value = false, name) => checkBoolean(name, value),
  touchAfter: (value, name) =>
    value === undefined ? undefined : checkNumber(name, value, { min: 0, max: MAX_TTL_S }),
  maxBytes: (value = 65_536, name) => checkInteger(name, value, { min: 256, max: 16 * 1024 * 1024 }),
  serializer: (value = jsonSerializer, name) => serializerOf(name, value),
  userId: (value: UserIdOption = defaultUserId, name) => checkFunction(name, value),
  maxSessionsPerUser: (value = 1000, name) =>
    value === false ? undefined : checkInteger(name, value, { min: 1, max: 10_000 }),
  onMaxSessions: (value = 'evict-oldest', name) => checkOneOf(name, value, ['evict-oldest', 'reject']),
  verifyOwner: (value = 'touch', name) => checkOneOf(name, value, ['touch', 'always']),
  device: (value, name) => (value === undefined ? undefined : checkFunction(name, value)),
  concurrency: (value = 'merge', name) => checkOneOf(name, value, ['merge', 'reject', 'overwrite']),
  onInvalid: (value = 'discard', name) => checkOneOf(name, value, ['discard', 'error']),
  onUnknownKey: (value = 'discard', name) => checkOneOf(name, value, ['discard', 'error']),
  endedTtl: (value = 86_400, name) => seconds(name, value),
  watchIntervalMs: (value = 30_000, name) => checkInteger(name, value, { min: 100, max: 3_600_000 }),
  clock: (value = { now: () => Date.now() }, name) => clockOf(name, value),
} satisfies OptionTable<SessionStoreOptions>

export type ResolvedOptions = ReturnType<typeof checkTogether>

/** Applies the defaults and checks every option once. Throws a `TypeError` that names the wrong one. */
export function resolveOptions(options: SessionStoreOptions): ResolvedOptions {
  return checkTogether(readOptions(options, STORE_OPTIONS, 'the store'))
}

/** Checks options against one another. */
export function checkTogether({ endedTtl, ...resolved }: Read<typeof STORE_OPTIONS>) {
  const { ttl, touchAfter } = resolved
  if (touchAfter !== undefined && typeof ttl === 'number' && touchAfter >= ttl) {
    throw optionError('touchAfter', `less than "ttl" (${ttl}), or sessions in use would expire`, touchAfter)
  }
  return { ...resolved, endedTtlMs: endedTtl * 1000 }
}

function seconds(name: string, value: number): number {
  return checkNumber(name, value, { min: MIN_TTL_S, max: MAX_TTL_S })
}

function prefixOf(name: string, value: unknown): string {
  if (typeof value === 'string' && PREFIX.test(value)) return value
  throw optionError(name, '1 to 64 characters of A-Z a-z 0-9 : _ -', value)
}

function serializerOf(name: string, serializer: SessionSerializer): SessionSerializer {
  checkObject(name, serializer)
  checkFunction(`${name}.stringify`, serializer.stringify)
  checkFunction(`${name}.parse`, serializer.parse)
  return serializer
}

function defaultUserId(session: object): unknown {
  const { userId, passport } = session as { userId?: unknown; passport?: { user?: unknown } | null }
  return userId ?? passport?.user
}
