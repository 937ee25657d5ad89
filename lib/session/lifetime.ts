import type { Session, SessionData } from 'express-session'
import { SessionTtlError } from '../errors.ts'
import { askOption, MAX_TTL_MS } from '../option.ts'
import { cookieExpiry } from './cookie.ts'

/** How long sessions live. The option values are in seconds, everything computed is in ms. */
export interface LifetimeOptions {
  readonly ttl: number | ((session: Session & Partial<SessionData>) => number)
  readonly absoluteTtl: number | undefined
  readonly touchAfter: number | undefined
}

const MAX_DEFAULT_TOUCH_AFTER_MS = 300_000

function checkedMs(ms: number, source: 'cookie.expires' | 'ttl'): number {
  if (!(ms > 0 && ms <= MAX_TTL_MS)) throw new SessionTtlError(source)
  // Rounded, as 2.007 * 1000 is a little less than 2007.
  return Math.max(1, Math.round(ms))
}

/** Returns the idle lifetime of a plain object in ms: what is left until `cookie.expires`, else the `ttl` option. Throws `SessionTtlError` for a wrong one. */
export function idleTtlMs(session: SessionData, options: LifetimeOptions, nowMs: number): number {
  const expires = cookieExpiry(session.cookie)
  if (expires !== undefined) return checkedMs(expires - nowMs, 'cookie.expires')
  const { ttl } = options
  const seconds =
    typeof ttl === 'function' ? askOption('ttl', () => ttl(session as Session & SessionData)) : ttl
  return checkedMs(typeof seconds === 'number' ? seconds * 1000 : Number.NaN, 'ttl')
}

/**
 * Returns the idle lifetime of a live session in ms: its cookie's `originalMaxAge`, which this request may have changed,
 * counted from each save. `cookie.expires` is older: it dates from when the session was loaded.
 */
export function liveTtlMs(session: SessionData, options: LifetimeOptions, nowMs: number): number {
  const { originalMaxAge } = session.cookie
  return typeof originalMaxAge === 'number'
    ? checkedMs(originalMaxAge, 'cookie.expires')
    : idleTtlMs(session, options, nowMs)
}

/** Returns the hard end in ms, or `undefined`: the sealed one or that of the present option, whichever is earlier. */
export function hardEndMs(
  createdAtMs: number,
  sealedEndMs: number | undefined,
  options: LifetimeOptions,
): number | undefined {
  const { absoluteTtl } = options
  if (absoluteTtl === undefined) return sealedEndMs
  return Math.min(sealedEndMs ?? Number.POSITIVE_INFINITY, createdAtMs + Math.round(absoluteTtl * 1000))
}

export interface TouchMoment {
  readonly ttlMs: number
  readonly nowMs: number
  readonly expiresAtMs: number
  readonly hardEndMs: number | undefined
}

/** Returns whether a touch would move the expiry by enough to be worth a write. */
export function isTouchDue(moment: TouchMoment, options: LifetimeOptions): boolean {
  const target = Math.min(moment.nowMs + moment.ttlMs, moment.hardEndMs ?? Number.POSITIVE_INFINITY)
  return (
    Math.abs(target - moment.expiresAtMs) >= touchAfterMs(moment.ttlMs, options) &&
    target !== moment.expiresAtMs
  )
}

// At most half the lifetime, so that a session in use never expires between two touches.
function touchAfterMs(ttlMs: number, options: LifetimeOptions): number {
  if (options.touchAfter === undefined) return Math.min(ttlMs / 20, MAX_DEFAULT_TOUCH_AFTER_MS)
  return Math.min(options.touchAfter * 1000, ttlMs / 2)
}
