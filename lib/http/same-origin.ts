import type { IncomingMessage } from 'node:http'
import type { TLSSocket } from 'node:tls'

// One host and perhaps a port, and nothing that makes a URL of it another one.
const HOST = /^(?:[A-Za-z0-9._~-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?$/

/**
 * Whether a browser says that a request comes from the site's own pages: by `Sec-Fetch-Site`, which no script can
 * set, else by an `Origin` that is the site's own: scheme, host and port. A client that says neither is not believed.
 */
export function isSameOrigin(req: IncomingMessage): boolean {
  const { origin, 'sec-fetch-site': site } = req.headers
  if (site !== undefined) return site === 'same-origin'
  return origin !== undefined && origin === originOf(req)
}

/** The origin that the request was sent to, as far as a proxy that the app trusts tells; `undefined` if that is in doubt. */
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
  // No page can send this header, so that a proxy has: one that the app does not trust, or that another one stands behind.
  if (!isTrusted && forwarded.proto !== undefined && forwarded.proto !== direct) return undefined
  const scheme = isTrusted ? (forwarded.proto ?? direct) : direct
  const host = (isTrusted ? forwarded.host : undefined) ?? headers.host ?? firstOf(headers[':authority'])
  if (host === undefined || !HOST.test(host) || (scheme !== 'http' && scheme !== 'https')) return undefined
  const own = `${scheme}://${host}`
  return URL.canParse(own) ? new URL(own).origin : undefined
}

/** Whether the app has Express's setting `trust proxy` for whom the request came from. */
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
