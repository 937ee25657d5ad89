import { randomBytes } from 'node:crypto'
import type { ActiveSession, ListOptions } from '../../lib/registry/registry.ts'
import { ownerName, type UserId } from '../../lib/session/names.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { generateSession, loadedSession } from '../store/live-session.ts'

// What express-session and an app do with a store for one visitor, without the HTTP around it.

export function newSid(): string {
  return randomBytes(24).toString('base64url')
}

export function newUser(): string {
  return `user ${randomBytes(6).toString('hex')}`
}

/** The user's name in the backend. */
export const ownerOf = ownerName

/** The first save of a session that names a user; answers the session's id. */
export async function signIn(store: SessionStore, userId: UserId, sid: string = newSid()): Promise<string> {
  await store.set(sid, generateSession(store, sid, { content: { userId } }))
  return sid
}

/** One after the other. */
export async function signInTimes(store: SessionStore, userId: UserId, times: number): Promise<string[]> {
  const sids: string[] = []
  for (let time = 0; time < times; time += 1) sids.push(await signIn(store, userId))
  return sids
}

/** A request that changes nothing. */
export async function visit(store: SessionStore, sid: string): Promise<void> {
  await store.touch(sid, await loadedSession(store, sid))
}

/** A request that changes something. */
export async function edit(store: SessionStore, sid: string, content: object): Promise<void> {
  await store.set(sid, Object.assign(await loadedSession(store, sid), content))
}

export async function validates(store: SessionStore, sid: string): Promise<boolean> {
  return (await store.get(sid)) !== null
}

/** Those of the sessions that a request could use now. */
export async function validOf(store: SessionStore, sids: readonly string[]): Promise<string[]> {
  const answers = await Promise.all(sids.map((sid) => validates(store, sid)))
  return sids.filter((_, at) => answers[at])
}

export async function registered(store: SessionStore, userId: UserId): Promise<string[]> {
  const sessions = await store.registry.list(userId)
  return sessions.map(({ handle }) => handle)
}

/** The user's list, where no session has ended. */
export async function activeOf(
  store: SessionStore,
  userId: UserId,
  options: Pick<ListOptions, 'current'> = {},
): Promise<readonly ActiveSession[]> {
  const sessions = await store.registry.list(userId, options)
  return sessions.filter((session) => session.status === 'active')
}
