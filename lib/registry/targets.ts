import { SessionIdError } from '../errors.ts'
import { optionError } from '../option.ts'
import { handleOf, isHandle, ownerName, type UserId, userIdFrom } from '../session/names.ts'

/** Names one session, by its session id or by its handle. A bare string is not accepted: a session id may look like a handle. */
export type SessionTarget =
  | { readonly sid: string; readonly handle?: never }
  | { readonly handle: string; readonly sid?: never }

/** Names one session, or all sessions of a user. */
export type WatchTarget = SessionTarget | { readonly userId: UserId }

/**
 * Returns the handle of the session that `target` names. Throws a `TypeError` if it is not exactly one of `{ sid }` and
 * `{ handle }`, and `SessionIdError` for an invalid session id.
 */
export function handleOfTarget(name: string, target: unknown): string {
  const [key, value] = entryOf(name, target, ['sid', 'handle'])
  return key === 'sid' ? handleOfSid(value) : checkedHandle(name, value)
}

/** As {@link handleOfTarget}; for `{ userId }` returns the owner. */
export function watchedOf(target: unknown): { readonly handle: string } | { readonly owner: string } {
  const [key, value] = entryOf('target', target, ['sid', 'handle', 'userId'])
  if (key === 'userId') return { owner: ownerOf(value) }
  return { handle: key === 'sid' ? handleOfSid(value) : checkedHandle('target', value) }
}

/** Returns the owner name of a user id. Throws a `TypeError` if it is not a user id. */
export function ownerOf(userId: unknown): string {
  const id = userIdFrom(userId)
  if (id === undefined) throw optionError('userId', 'a non-empty string, a finite number or a bigint')
  return ownerName(id)
}

function entryOf(name: string, target: unknown, keys: readonly string[]): readonly [string, unknown] {
  const forms = keys.map((key) => `{ ${key} }`).join(' or ')
  if (typeof target === 'string')
    throw new TypeError(
      `Option "${name}" must be ${forms}, not a bare string: write { sid: … } for a session id, { handle: … } for a handle`,
    )
  if (typeof target !== 'object' || target === null || Array.isArray(target))
    throw optionError(name, forms, target)
  const [entry, ...others] = Object.entries(target)
  const unknown = Object.keys(target).find((key) => !keys.includes(key))
  if (unknown !== undefined)
    throw new TypeError(`Unknown key "${unknown}" of option "${name}"; it must be ${forms}`)
  if (entry === undefined || others.length > 0) throw optionError(name, `exactly one of ${forms}`)
  return entry
}

function handleOfSid(sid: unknown): string {
  const handle = handleOf(sid)
  if (handle === undefined) throw new SessionIdError()
  return handle
}

function checkedHandle(name: string, handle: unknown): string {
  if (!isHandle(handle)) throw optionError(`${name}.handle`, 'the 43 characters of a handle')
  return handle
}
