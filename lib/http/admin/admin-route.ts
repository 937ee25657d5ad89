import { isHandle } from '../../session/names.ts'

/** A request to the session administration. `userId` is absent where it concerns the signed-in user. */
export type AdminRoute =
  | { readonly kind: 'list' | 'count' | 'end-all'; readonly userId: string | undefined }
  | { readonly kind: 'end'; readonly handle: string; readonly isOwn: boolean }

export interface RouteReply {
  readonly route?: AdminRoute | undefined
  /** The methods of the path, if it exists. */
  readonly allow?: string | undefined
}

const MAX_PATH = 2048

/**
 * Parses method and path: `users/:userId/sessions`, `users/:userId/sessions/count`, `sessions/:handle`, and the same for the
 * signed-in user as `me`, `me/count` and `me/:handle`.
 *
 * Matches the path segment by segment as it was received, and never normalizes it: a proxy's path rules and this router see the
 * same path. Fixed segments must not be percent-encoded, no segment may be empty, and only a user id is decoded, once.
 */
export function routeOf(method: string, path: string): RouteReply {
  const pieces = piecesOf(path)
  const place = pieces && placeOf(pieces)
  if (place === undefined) return {}
  const allow = [...place.keys()].flatMap((name) => (name === 'GET' ? ['GET', 'HEAD'] : [name])).join(', ')
  return { route: place.get(method === 'HEAD' ? 'GET' : method), allow }
}

/** The route of each method of a path. */
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

// Some proxies resolve dots and backslashes to other paths.
function decoded(piece: string): string | undefined {
  if (piece.includes('\\')) return undefined
  try {
    const text = decodeURIComponent(piece)
    return text === '.' || text === '..' ? undefined : text
  } catch {
    return undefined
  }
}
