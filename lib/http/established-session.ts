import type { Request } from 'express'

/**
 * Whether the client sent the id of the request's session, so that it is not one that express-session has just made.
 * A made one has a random id, which no client can have sent; a loaded one has the very id that came.
 */
export function isEstablished(req: Request): boolean {
  const { sessionID: id } = req
  if (typeof id !== 'string' || id === '') return false
  const header = req.headers.cookie ?? ''
  return (
    header.includes(id) ||
    header.includes(encodeURIComponent(id)) ||
    parsedCookies(req).some((value) => value.includes(id))
  )
}

// What cookie-parser found, or what an app put there for express-session to read.
function parsedCookies(req: Request): readonly string[] {
  const { cookies, signedCookies } = req as { readonly cookies?: unknown; readonly signedCookies?: unknown }
  return [cookies, signedCookies].flatMap((found) =>
    Object.values(Object(found)).filter((value) => typeof value === 'string'),
  )
}
