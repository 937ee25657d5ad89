import { hash } from 'node:crypto'
import { optionError } from '../option.ts'

/** The owner name of a user id: a hash, so that user ids do not stand in the keyspace. `42` and `'42'` are one user. */
export function ownerName(userId: unknown): string | undefined {
  if (userId === undefined || userId === null || userId === '') return undefined
  if (typeof userId !== 'string' && typeof userId !== 'number')
    throw optionError('userId', 'a function that returns a string, a number or undefined')
  return hash('sha256', `express-session-valkey/v1/owner\0${userId}`, 'base64url')
}
