import { checkFunction, optionError } from '../option.ts'
import { SessionStore } from '../store/session-store.ts'
import type { WatchTarget } from '../store/session-watch.ts'

/** What can be closed: a WebSocket has `close`, a response (of server-sent events, say) has `end`. */
export interface ClosableConnection {
  close?(code: number, reason: string): unknown
  end?(): unknown
  once(event: 'close', listener: () => void): unknown
}

export interface CloseOnEndOptions {
  readonly store: SessionStore
  /** The session by its id or handle, or all of a user. */
  readonly target: WatchTarget
  readonly connection: ClosableConnection
}

// 4000 to 4999 are the application's own (RFC 6455 §7.4.2); 4401 reads as HTTP's 401.
const SESSION_ENDED = 4401

/**
 * Closes a connection when its session ends or expires, on whatever node: a WebSocket with code 4401 and the reason
 * of the ending, a response by ending it. Stops watching when the connection closes first, and when the returned
 * function is called. While the backend cannot be reached the connection stays, and the session is looked at again
 * every second.
 *
 * Throws a `TypeError` that names the option if one is wrong.
 *
 * @example
 * ```ts
 * import { closeOnEnd, InProcessStore } from 'express-session-valkey'
 *
 * declare const socket: { close(code: number, reason: string): void; once(event: 'close', listener: () => void): void }
 * declare const sessionID: string
 * const store = new InProcessStore()
 * closeOnEnd({ store, target: sessionID, connection: socket })
 * ```
 */
export function closeOnEnd({ store, target, connection }: CloseOnEndOptions): () => void {
  if (!(store instanceof SessionStore)) throw optionError('store', 'a store of this package')
  checkFunction('connection.once', connection.once)
  if (connection.close === undefined && connection.end === undefined) {
    throw optionError('connection', 'something with a "close" or an "end" method')
  }
  const stop = new AbortController()
  const watch = store.registry.watch(target, { signal: stop.signal })
  connection.once('close', () => stop.abort())
  watch.ended.then(
    ({ reason }) => close(connection, reason),
    () => {},
  )
  return () => stop.abort()
}

function close(connection: ClosableConnection, reason: string): void {
  if (connection.close) connection.close(SESSION_ENDED, reason)
  else connection.end?.()
}
