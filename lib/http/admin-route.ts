/** What a request to the session administration asks for. `userId` is absent where it is the signed-in user's own. */
export type AdminRoute =
  | { readonly kind: 'list' | 'count' | 'end-all'; readonly userId: string | undefined }
  | { readonly kind: 'end'; readonly handle: string; readonly isOwn: boolean }

export interface RouteReply {
  readonly route?: AdminRoute | undefined
  /** For a path that exists with other methods than the one asked for. */
  readonly allow?: string | undefined
}

const HANDLE = /^[A-Za-z0-9_-]{43}$/
const MAX_PATH = 2048

/**
 * Reads method and path: `users/:userId/sessions`, `users/:userId/sessions/count`, `sessions/:handle`, and the same
 * for oneself as `me`, `me/count` and `me/:handle`. Strict: no empty parts, nothing undecodable.
 */
export function routeOf(method: string, path: string): RouteReply {
  const parts = partsOf(path)
  const places = parts && placeOf(parts)
  if (places === undefined) return {}
  const route = places[method === 'HEAD' ? 'GET' : method]
  const allow = Object.keys(places)
    .flatMap((name) => (name === 'GET' ? ['GET', 'HEAD'] : [name]))
    .join(', ')
  return { route, allow }
}

type Place = Readonly<Record<string, AdminRoute>>

function placeOf([first, second, ...rest]: readonly string[]): Place | undefined {
  if (first === 'users' && second !== undefined && rest[0] === 'sessions')
    return ofUser(second, rest.slice(1))
  if (first === 'sessions' && rest.length === 0) return ofHandle(second, false)
  if (first !== 'me' || rest.length > 0) return undefined
  if (second === undefined || second === 'count')
    return ofUser(undefined, second === undefined ? [] : [second])
  return ofHandle(second, true)
}

function ofUser(userId: string | undefined, rest: readonly string[]): Place | undefined {
  if (rest.length === 0) return { GET: { kind: 'list', userId }, DELETE: { kind: 'end-all', userId } }
  return rest.length === 1 && rest[0] === 'count' ? { GET: { kind: 'count', userId } } : undefined
}

function ofHandle(handle: string | undefined, isOwn: boolean): Place | undefined {
  return handle !== undefined && HANDLE.test(handle) ? { DELETE: { kind: 'end', handle, isOwn } } : undefined
}

function partsOf(path: string): readonly string[] | undefined {
  if (path.length > MAX_PATH) return undefined
  try {
    const parts = path.replace(/^\//, '').replace(/\/$/, '').split('/').map(decodeURIComponent)
    return parts.includes('') ? undefined : parts
  } catch {
    return undefined
  }
}
