import {
  checkFunction,
  checkObject,
  hasMethods,
  type OptionTable,
  optionError,
  readOptions,
} from '../option.ts'
import type { WatchTarget } from '../registry/targets.ts'
import type { SessionStore } from '../store/store.ts'

/**
 * A connection that can be closed: a WebSocket has `close`, a response, as of server-sent events, has `end`. If that fails,
 * `terminate` or `destroy` cuts it.
 */
export interface ClosableConnection {
  close?(code: number, reason: string): unknown
  end?(): unknown
  terminate?(): unknown
  destroy?(): unknown
  once(event: 'close', listener: () => void): unknown
  /** Whether a response is closed; of HTTP/2 its `stream` says so. */
  readonly destroyed?: boolean
  readonly stream?: { readonly destroyed?: boolean } | undefined
  /** 3 once a WebSocket is closed. */
  readonly readyState?: unknown
}

export interface CloseOnEndOptions {
  /** The store that keeps the session. */
  readonly store: SessionStore
  /** The session, `{ sid }` or `{ handle }`, or all sessions of a user, `{ userId }`. */
  readonly target: WatchTarget
  /** The WebSocket or response to close. */
  readonly connection: ClosableConnection
}

// 4000 to 4999 are the application's own (RFC 6455 §7.4.2); 4401 reads as HTTP's 401.
const SESSION_ENDED = 4401
const WEBSOCKET_CLOSED = 3

/**
 * Closes a connection when its session ends or expires, on any node: a WebSocket with code 4401 and the reason of the ending, a
 * response by ending it. If that fails, it cuts the connection by `terminate` or `destroy` and emits a process warning. Stops
 * watching when the connection closes first, or when you call the returned function. While the backend is unavailable, the
 * connection stays open, and the session is checked again every second.
 *
 * Call it once the session is stored: after `store.commit(req)` if this request made it. If no session is stored under that
 * name, the connection is closed at once with the reason `unknown`.
 *
 * @throws TypeError that names the option, if one is wrong.
 *
 * @example
 * ```ts
 * import { closeOnEnd, InProcessStore } from 'express-session-valkey'
 *
 * declare const socket: { close(code: number, reason: string): void; once(event: 'close', listener: () => void): void }
 * declare const sessionID: string
 * const store = new InProcessStore()
 * closeOnEnd({ store, target: { sid: sessionID }, connection: socket })
 * ```
 */
export function closeOnEnd(options: CloseOnEndOptions): () => void {
  const { store, target, connection } = readOptions(options, CLOSE_OPTIONS, 'closeOnEnd')
  const stop = new AbortController()
  const watch = store.registry.watch(target, { signal: stop.signal })
  connection.once('close', () => stop.abort())
  // Its 'close' has been emitted already: the client left before this call.
  if (isClosed(connection)) stop.abort()
  watch.ended.then(
    ({ reason }) => {
      // A watch on a user does not stop by itself.
      stop.abort()
      return close(connection, reason, store)
    },
    () => {},
  )
  return () => stop.abort()
}

const CLOSE_OPTIONS = {
  store: (value, name) => watchedStoreOf(name, value),
  // `watch` checks it.
  target: (value) => value,
  connection: (value, name) => closableOf(name, value),
} satisfies OptionTable<CloseOnEndOptions>

function watchedStoreOf(name: string, store: SessionStore): SessionStore {
  const { registry } = Object(store) as Partial<SessionStore>
  if (hasMethods(registry, ['watch'])) return store
  throw optionError(name, 'a store of this package')
}

function closableOf(name: string, connection: ClosableConnection): ClosableConnection {
  checkObject(name, connection)
  checkFunction(`${name}.once`, connection.once)
  if (connection.close === undefined && connection.end === undefined)
    throw optionError(name, 'something with a "close" or an "end" method')
  return connection
}

function isClosed({ destroyed, readyState, stream }: ClosableConnection): boolean {
  return destroyed === true || stream?.destroyed === true || readyState === WEBSOCKET_CLOSED
}

// One warning for each store, however many connections fail.
const warned = new WeakSet<object>()

/** Never rejects. */
async function close(connection: ClosableConnection, reason: string, store: object): Promise<void> {
  try {
    if (connection.close) await connection.close(SESSION_ENDED, reason)
    else await connection.end?.()
  } catch {
    if (!warned.has(store)) warn(connection.close ? 'close' : 'end')
    warned.add(store)
    await cut(connection)
  }
}

function warn(method: string): void {
  process.emitWarning(
    `The connection of an ended session could not be closed and is cut: its "${method}" failed. This warning is not repeated.`,
    { type: 'SessionConnectionWarning' },
  )
}

async function cut(connection: ClosableConnection): Promise<void> {
  try {
    if (connection.terminate) await connection.terminate()
    else await connection.destroy?.()
  } catch {
    // Nothing is left to try.
  }
}
