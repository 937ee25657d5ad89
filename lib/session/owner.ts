import { hash } from 'node:crypto'

/** What names a user. `42`, `'42'` and `42n` are one user, as JSON may make one of the other. */
export type UserId = string | number | bigint

/** The user id that a value is, or that an object serializes to; `undefined` if it is none. */
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

/** The owner name of a user id: a hash, so that user ids do not stand in the keyspace. */
export function ownerName(userId: UserId): string {
  return hash('sha256', `express-session-valkey/v1/owner\0${userId}`, 'base64url')
}
