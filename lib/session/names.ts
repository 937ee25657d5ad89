import { hash } from 'node:crypto'
import { isDigest } from '../backend/arguments.ts'

// NUL, braces, globs and lone surrogates (which all collapse to U+FFFD in UTF-8) never reach a key or a hash.
const SESSION_ID = /^[A-Za-z0-9._~+/=:-]{1,256}$/

/** Returns the handle of a session id, or `undefined` if the id cannot be one. */
export function handleOf(sid: unknown): string | undefined {
  if (typeof sid !== 'string' || !SESSION_ID.test(sid)) return undefined
  return hash('sha256', sid, 'base64url')
}

/** Returns whether a text has the form of a handle, which a session id may have, too. */
export const isHandle = isDigest

/** Identifies a user. `42`, `'42'` and `42n` are one user, as JSON may turn one into another. */
export type UserId = string | number | bigint

/** Returns the user id that a value is, or that an object serializes to; `undefined` if it is none. */
export function userIdFrom(value: unknown): UserId | undefined {
  const said = typeof value === 'object' && value !== null ? serialized(value) : value
  if (typeof said === 'string') return said !== '' && said.isWellFormed() ? said : undefined
  if (typeof said === 'number') return Number.isFinite(said) ? said : undefined
  return typeof said === 'bigint' ? said : undefined
}

function serialized(value: object): unknown {
  try {
    return JSON.parse(JSON.stringify(value)) as unknown
  } catch {
    return undefined
  }
}

/** Returns the owner name of a user id: a hash, so that no key contains a user id. */
export function ownerName(userId: UserId): string {
  return hash('sha256', `express-session-valkey/v1/owner\0${userId}`, 'base64url')
}
