import type { IncomingMessage } from 'node:http'

/**
 * Whether a browser says that a request comes from the site's own pages: by `Sec-Fetch-Site`, which no script can
 * set, else by an `Origin` whose host is the request's. A client that says neither is not believed.
 */
export function isSameOrigin({ headers }: IncomingMessage): boolean {
  const site = headers['sec-fetch-site']
  if (site !== undefined) return site === 'same-origin'
  const { origin, host } = headers
  if (origin === undefined || host === undefined || !URL.canParse(origin)) return false
  return new URL(origin).host === host.toLowerCase()
}
