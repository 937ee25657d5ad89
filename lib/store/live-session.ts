import type { Request } from 'express'
import type { Session, SessionData } from 'express-session'
import { SessionEndedError } from '../errors.ts'
import { type Changes, type Content, cookieOf } from '../session/merge.ts'

/** Sets the properties of a loaded session that express-session skips because every object has one of that name, such as `constructor`. */
export function keepNames(live: Session, data: object): void {
  for (const name of Object.keys(data)) {
    if (!(name in Object.prototype) || Object.hasOwn(live, name)) continue
    const value: unknown = Reflect.get(data, name)
    Object.defineProperty(live, name, { configurable: true, enumerable: true, value, writable: true })
  }
}

/** Keeps the touches of a session from changing its cookie's age: those of express-session sometimes lose a tick of the clock. */
export function keepMaxAge(live: Session): void {
  const resetMaxAge = () => {
    setMaxAge(live.cookie, live.cookie.originalMaxAge)
    return live
  }
  Object.defineProperty(live, 'resetMaxAge', { configurable: true, value: resetMaxAge, writable: true })
}

/** Lays the changes that another request stored into a live session. */
export function layInto(live: object, content: Content, { keys, attributes }: Changes): void {
  for (const key of keys) {
    if (Object.hasOwn(content, key)) Reflect.set(live, key, content[key])
    else Reflect.deleteProperty(live, key)
  }
  const cookie: unknown = Reflect.get(live, 'cookie')
  if (typeof cookie !== 'object' || cookie === null) return
  const stored = cookieOf(content)
  for (const name of attributes) {
    if (name === 'originalMaxAge') setMaxAge(cookie, stored[name])
    else Reflect.set(cookie, name, stored[name])
  }
}

function setMaxAge(cookie: object, age: unknown): void {
  Reflect.set(cookie, 'maxAge', age)
  Reflect.set(cookie, 'originalMaxAge', age)
}

export interface Reloading {
  /** Rejects if there is no such session. */
  load(sid: string): Promise<SessionData>
  /** Makes loaded data the session of a request. */
  install(req: Request, data: SessionData): void
}

type Reload = (callback?: ((error?: unknown) => void) | null) => Session

/**
 * Gives a live session its own `reload`. Unlike that of express-session it neither brings back a session that was replaced
 * or destroyed meanwhile nor ends the process.
 */
export function giveReload(req: Request, session: Session, { load, install }: Reloading): void {
  const reload: Reload = (told) => {
    const callback = told ?? (() => {})
    const isWrapped = session.reload !== reload
    const fail = (error: unknown) => {
      if (isWrapped && req.session !== session) showOnce(req, session)
      callback(error)
    }
    const finish = (data: SessionData) => {
      if (!isSessionOf(req, session)) return fail(new SessionEndedError('ended'))
      install(req, data)
      callback()
    }
    load(session.id).then(
      (data) => process.nextTick(finish, data),
      (error: unknown) => process.nextTick(fail, error),
    )
    return session
  }
  putReload(session, reload)
  coverWrapped(req, session, reload)
}

// express-session's wrapper calls its callback without looking whether there is one. It is put over `reload` after the
// session was made, and so is covered when the session is next asked for.
function coverWrapped(req: Request, session: Session, reload: Reload): void {
  const put = (value: unknown) =>
    Object.defineProperty(req, 'session', { configurable: true, enumerable: true, value, writable: true })
  const get = () => {
    const wrapped = session.reload as Reload
    if (wrapped !== reload) {
      putReload(session, (callback) => wrapped.call(session, callback ?? (() => {})))
      put(session)
    }
    return session
  }
  Object.defineProperty(req, 'session', { configurable: true, enumerable: true, get, set: put })
}

function putReload(session: Session, value: Reload): void {
  Object.defineProperty(session, 'reload', { configurable: true, value, writable: true })
}

function isSessionOf(req: Partial<Request>, { id }: Session): boolean {
  return req.sessionID === id && isObject(req.session) && req.session.id === id
}

// express-session wraps the callback in a function that looks at req.session first: where it finds none it throws, and
// another session it wraps once more.
function showOnce(req: Request, session: Session): void {
  const own = Object.getOwnPropertyDescriptor(req, 'session')
  const get = () => {
    if (own) Object.defineProperty(req, 'session', own)
    else Reflect.deleteProperty(req, 'session')
    return session
  }
  Object.defineProperty(req, 'session', { configurable: true, enumerable: true, get })
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}
