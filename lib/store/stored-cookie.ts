import type { SessionData } from 'express-session'

/**
 * The part of a session cookie that is stored. `expires` is absent: the record's own expiry says it, so that
 * extending a session rewrites no byte of it.
 */
export interface StoredCookie {
  readonly originalMaxAge: number | null
  readonly path?: string
  readonly domain?: string
  readonly httpOnly?: boolean
  readonly secure?: boolean | 'auto'
  readonly sameSite?: boolean | 'lax' | 'strict' | 'none'
  readonly partitioned?: boolean
  readonly priority?: 'low' | 'medium' | 'high'
}

type Check = (value: unknown) => boolean

const isText: Check = (value) => typeof value === 'string' && value.length <= 1024
const isFlag: Check = (value) => typeof value === 'boolean'
const isOneOf =
  (...words: readonly unknown[]): Check =>
  (value) =>
    words.includes(value)

const ATTRIBUTES: ReadonlyMap<string, Check> = new Map([
  ['path', isText],
  ['domain', isText],
  ['httpOnly', isFlag],
  ['secure', isOneOf(true, false, 'auto')],
  ['sameSite', isOneOf(true, false, 'lax', 'strict', 'none')],
  ['partitioned', isFlag],
  ['priority', isOneOf('low', 'medium', 'high')],
])

// A stored `cookie.__proto__` once replaced the prototype of express-session's Cookie: only known names pass.
function attributesOf(cookie: object): Record<string, unknown> {
  const attributes: Record<string, unknown> = {}
  for (const [name, accepts] of ATTRIBUTES) {
    const value: unknown = Reflect.get(cookie, name)
    if (accepts(value)) attributes[name] = value
  }
  return attributes
}

/** What to store of a live cookie, or of the plain one of a script. */
export function storedCookie(cookie: unknown): StoredCookie {
  if (typeof cookie !== 'object' || cookie === null) return { originalMaxAge: null }
  const age: unknown = Reflect.get(cookie, 'originalMaxAge')
  return {
    originalMaxAge: typeof age === 'number' && Number.isFinite(age) ? age : lifespanOf(cookie),
    ...attributesOf(cookie),
  }
}

// A plain cookie may say only when it expires; the age it had when it was saved is then its lifetime.
function lifespanOf(cookie: object): number | null {
  const expires = cookieExpiry(cookie)
  return expires === undefined || Number.isNaN(expires) ? null : expires - Date.now()
}

/** When a cookie expires, in ms: `undefined` if it does not say, NaN if what it says is no date. */
export function cookieExpiry(cookie: unknown): number | undefined {
  if (typeof cookie !== 'object' || cookie === null) return undefined
  const expires: unknown = Reflect.get(cookie, 'expires')
  if (expires === undefined || expires === null || expires === false) return undefined
  if (expires instanceof Date) return expires.getTime()
  return typeof expires === 'string' || typeof expires === 'number' ? new Date(expires).getTime() : Number.NaN
}

/** The cookie of a loaded session; `undefined` if the stored one has no valid shape. Browser-session cookies stay without expiry. */
export function loadedCookie(stored: unknown, expiresAtMs: number): SessionData['cookie'] | undefined {
  if (typeof stored !== 'object' || stored === null || Array.isArray(stored)) return undefined
  const age: unknown = Object.hasOwn(stored, 'originalMaxAge') ? Reflect.get(stored, 'originalMaxAge') : null
  if (age !== null && (typeof age !== 'number' || !Number.isFinite(age))) return undefined
  return {
    ...attributesOf(stored),
    originalMaxAge: age,
    expires: age === null ? null : new Date(expiresAtMs),
  }
}
