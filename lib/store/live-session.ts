import type { Session } from 'express-session'
import { type Changes, type Content, cookieOf } from './merge.ts'

/** Gives a loaded session the names that express-session passes over because every object has them, such as `constructor`. */
export function keepNames(live: Session, data: object): void {
  for (const [name, value] of Object.entries(data)) {
    if (name in Object.prototype && !Object.hasOwn(live, name))
      Object.defineProperty(live, name, { configurable: true, enumerable: true, value, writable: true })
  }
}

/** Lets the touches of a session leave its cookie's age as it is: express-session's lose a tick of the clock now and then. */
export function keepMaxAge(live: Session): void {
  const resetMaxAge = () => {
    setMaxAge(live.cookie, live.cookie.originalMaxAge)
    return live
  }
  Object.defineProperty(live, 'resetMaxAge', { configurable: true, value: resetMaxAge, writable: true })
}

/** Lays what another request stored into a live session. */
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
