import session, { type SessionData } from 'express-session'

type Attribute = string | number | boolean | null

// What express-session writes into `Set-Cookie`, apart from when the cookie expires.
const NAMES = ['path', 'domain', 'httpOnly', 'secure', 'sameSite', 'partitioned', 'priority'] as const

/**
 * The part of a session cookie that is stored. `expires` is absent: the record has an expiry of its own, so that
 * extending a session rewrites no byte of it.
 */
export interface StoredCookie extends Readonly<Partial<Record<(typeof NAMES)[number], Attribute>>> {
  /** The idle lifetime in ms; `null` or `false` if the cookie has none of its own. */
  readonly originalMaxAge: number | null | false
}

// Exported by express-session, but not by its types.
const { Cookie } = session as unknown as {
  readonly Cookie: new (attributes: object) => { serialize(name: string, value: string): string }
}

// Keeps exactly the attributes that express-session itself accepts.
function isAccepted(attributes: object): boolean {
  try {
    new Cookie(attributes).serialize('name', '')
    return true
  } catch {
    return false
  }
}

type Attributes = Readonly<Record<string, Attribute>>

/** The value of an attribute that a cookie does not have. */
const ABSENT = Symbol('absent')

// Each request asks several times, and nearly always for the attributes that the app has configured.
const judged: { readonly values: readonly unknown[]; readonly accepted: Attributes }[] = []
const MAX_JUDGED = 100

/** Returns what of these values is accepted; they are in the order of their names. */
// A stored `cookie.__proto__` once replaced the prototype of express-session's Cookie: only known names pass.
function acceptedOf(values: readonly unknown[]): Attributes {
  for (const known of judged) if (isSame(known.values, values)) return known.accepted
  const entries = NAMES.map((name, at) => [name, values[at]] as const).filter(([, value]) => value !== ABSENT)
  const accepted = judge(entries)
  // An object may change before the next call.
  if (!entries.every(([, value]) => isAttribute(value))) return accepted
  if (judged.length >= MAX_JUDGED) judged.length = 0
  judged.push({ values, accepted })
  return accepted
}

function isSame(some: readonly unknown[], others: readonly unknown[]): boolean {
  for (let at = 0; at < NAMES.length; at += 1) if (some[at] !== others[at]) return false
  return true
}

function judge(entries: readonly (readonly [string, unknown])[]): Attributes {
  const accepted = isAccepted(Object.fromEntries(entries))
    ? entries
    : entries.filter(([name, value]) => isAccepted({ [name]: value }))
  return Object.fromEntries(accepted.map(([name, value]) => [name, plain(name, value)]))
}

// Returns a value that serializers keep, with the same effect on `Set-Cookie`.
function plain(name: string, value: unknown): Attribute {
  if (isAttribute(value)) return value
  // A default would come back in the place of what is absent.
  if (value === undefined) return null
  if (!value) return false
  return name === 'path' || name === 'domain' ? String(value) : true
}

function isAttribute(value: unknown): value is Attribute {
  if (typeof value === 'number') return Number.isFinite(value)
  return value === null || typeof value === 'string' || typeof value === 'boolean'
}

/** Returns what to store of a live cookie, or of the plain one of a script. */
export function storedCookie(cookie: unknown): StoredCookie {
  if (typeof cookie !== 'object' || cookie === null) return { originalMaxAge: null }
  const age: unknown = Reflect.get(cookie, 'originalMaxAge')
  const values: unknown[] = []
  for (const name of NAMES) values.push(name in cookie ? Reflect.get(cookie, name) : ABSENT)
  return { originalMaxAge: isAge(age) ? age : lifespanOf(cookie), ...acceptedOf(values) }
}

/** Returns how a stored cookie would be stored again once it is live, with express-session's defaults. */
export function storedAgain(stored: unknown): StoredCookie {
  const { originalMaxAge = null, ...attributes } = loadedCookie(stored, 0) ?? {}
  return { ...storedCookie(new Cookie({ ...attributes, expires: null })), originalMaxAge }
}

function isAge(age: unknown): age is number | false {
  return age === false || (typeof age === 'number' && Number.isFinite(age))
}

// A plain cookie may have nothing but `expires`; its lifetime is then what is left of it at the save.
function lifespanOf(cookie: object): number | null {
  const expires = cookieExpiry(cookie)
  return expires === undefined || Number.isNaN(expires) ? null : expires - Date.now()
}

/** Returns when a cookie expires, in ms; `undefined` if it has no expiry, NaN if that is no date. */
export function cookieExpiry(cookie: unknown): number | undefined {
  if (typeof cookie !== 'object' || cookie === null) return undefined
  const expires: unknown = Reflect.get(cookie, 'expires')
  if (expires === undefined || expires === null || expires === false) return undefined
  if (expires instanceof Date) return expires.getTime()
  return typeof expires === 'string' || typeof expires === 'number' ? new Date(expires).getTime() : Number.NaN
}

/** Returns the cookie of a loaded session; `undefined` if the stored one has no valid shape. Browser-session cookies stay without expiry. */
export function loadedCookie(stored: unknown, expiresAtMs: number): SessionData['cookie'] | undefined {
  if (typeof stored !== 'object' || stored === null || Array.isArray(stored)) return undefined
  const age: unknown = Object.hasOwn(stored, 'originalMaxAge') ? Reflect.get(stored, 'originalMaxAge') : null
  if (age !== null && !isAge(age)) return undefined
  const values: unknown[] = []
  for (const name of NAMES) {
    const value: unknown = Object.hasOwn(stored, name) ? Reflect.get(stored, name) : ABSENT
    values.push(isAttribute(value) ? value : ABSENT)
  }
  const expires = typeof age === 'number' ? new Date(expiresAtMs) : age
  // In this order: V8 adds properties to a spread object in more than 1 µs, and spreads into a new one in 0.1 µs.
  return { originalMaxAge: age, expires, ...acceptedOf(values) } as SessionData['cookie']
}
