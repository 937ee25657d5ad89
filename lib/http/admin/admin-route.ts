import { isHandle } from '../../session/names.ts'

/** What a request to the session administration asks for. `userId` is absent where it is the signed-in user's own. */
export type AdminRoute =
  | { readonly kind: 'list' | 'count' | 'end-all'; readonly userId: string | undefined }
  | { readonly kind: 'end'; readonly handle: string; readonly isOwn: boolean }

export interface RouteReply {
  readonly route?: AdminRoute | undefined
  /** For a path that exists with other methods than the one asked for. */
  readonly allow?: string | undefined
}

const MAX_PATH = 2048

/**
 * Reads method and path: `users/:userId/sessions`, `users/:userId/sessions/count`, `sessions/:handle`, and the same
 * for oneself as `me`, `me/count` and `me/:handle`.
 *
 * The path is read as it came, piece by piece, and never normalized: what a proxy's path rule sees is what is routed.
 * Words must stand there unencoded, nothing may be empty, and only a user id is decoded, once.
 */
export function routeOf(method: string, path: string): RouteReply {
  const pieces = piecesOf(path)
  const place = pieces && placeOf(pieces)
  if (place === undefined) return {}
  const allow = [...place.keys()].flatMap((name) => (name === 'GET' ? ['GET', 'HEAD'] : [name])).join(', ')
  return { route: place.get(method === 'HEAD' ? 'GET' : method), allow }
}

/** What the methods of a path do. */
type Place = ReadonlyMap<string, AdminRoute>

function placeOf([first, second, ...rest]: readonly string[]): Place | undefined {
  if (first === 'users' && rest[0] === 'sessions') {
    const userId = second === undefined ? undefined : decoded(second)
    return userId === undefined ? undefined : ofUser(userId, rest.slice(1))
  }
  if (first === 'sessions' && rest.length === 0) return ofHandle(second, false)
  if (first !== 'me' || rest.length > 0) return undefined
  if (second === undefined || second === 'count')
    return ofUser(undefined, second === undefined ? [] : [second])
  return ofHandle(second, true)
}

function ofUser(userId: string | undefined, rest: readonly string[]): Place | undefined {
  if (rest.length === 0)
    return new Map([
      ['GET', { kind: 'list', userId }],
      ['DELETE', { kind: 'end-all', userId }],
    ])
  return rest.length === 1 && rest[0] === 'count' ? new Map([['GET', { kind: 'count', userId }]]) : undefined
}

function ofHandle(handle: string | undefined, isOwn: boolean): Place | undefined {
  return isHandle(handle) ? new Map([['DELETE', { kind: 'end', handle, isOwn }]]) : undefined
}

function piecesOf(path: string): readonly string[] | undefined {
  if (path.length > MAX_PATH || !path.startsWith('/')) return undefined
  const pieces = path.slice(1).replace(/\/$/, '').split('/')
  return pieces.includes('') ? undefined : pieces
}

// Dots and backslashes some proxies take for other paths.
function decoded(piece: string): string | undefined {
  if (piece.includes('\\')) return undefined
  try {
    const text = decodeURIComponent(piece)
    return text === '.' || text === '..' ? undefined : text
  } catch {
    return undefined
  }
}
