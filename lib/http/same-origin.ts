import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'

// A host and an optional port: nothing that could change the meaning of a URL made of it.
const HOST = /^(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/

/**
 * Returns whether a request comes from the site's own pages, as the browser reports it: by `Sec-Fetch-Site`, which no script
 * can set, else by an `Origin` with the site's own scheme, host and port. Returns `false` for a request without either header.
 */
export function isSameOrigin(req: IncomingMessage): boolean {
  const { origin, 'sec-fetch-site': site } = req.headers
  if (site !== undefined) return site === 'same-origin'
  return origin !== undefined && origin === originOf(req)
}

/** Returns the origin that the request was sent to, by the headers of a trusted proxy; `undefined` if that is in doubt. */
function originOf(req: IncomingMessage): string | undefined {
  const { headers } = req
  // A request whose client has left may have no socket.
  const socket = req.socket as Partial<TLSSocket> | null
  const forwarded = {
    proto: firstOf(headers['x-forwarded-proto']),
    host: firstOf(headers['x-forwarded-host']),
  }
  const isTrusted = trustsProxy(req)
  const direct = socket?.encrypted === true ? 'https' : 'http'
  // No page can send this header, so a proxy did, which the app does not trust: the scheme is unknown.
  if (!isTrusted && forwarded.proto !== undefined && forwarded.proto !== direct) return undefined
  const scheme = isTrusted ? (forwarded.proto ?? direct) : direct
  const host = (isTrusted ? forwarded.host : undefined) ?? headers.host ?? firstOf(headers[':authority'])
  if (host === undefined || !HOST.test(host) || (scheme !== 'http' && scheme !== 'https')) return undefined
  const own = `${scheme}://${host}`
  return URL.canParse(own) ? new URL(own).origin : undefined
}

/** Whether Express's setting `trust proxy` covers the sender of the request. */
function trustsProxy(req: IncomingMessage): boolean {
  const { app } = req as { readonly app?: { get?(name: string): unknown } }
  const trusts = typeof app?.get === 'function' ? app.get('trust proxy fn') : undefined
  return (
    typeof trusts === 'function' &&
    Boolean(trusts((req.socket as IncomingMessage['socket'] | null)?.remoteAddress, 0))
  )
}

function firstOf(header: string | readonly string[] | undefined): string | undefined {
  const text = typeof header === 'string' ? header : header?.[0]
  const first = text?.split(',')[0]?.trim().toLowerCase()
  return first === '' ? undefined : first
}
