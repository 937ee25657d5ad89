import type { IncomingMessage } from 'node:http'

// The prefix keeps subdomains and plain HTTP from planting one (RFC 6265bis §4.1.3.2).
const NAME = '__Host-refresh'
const ATTRIBUTES = 'Path=/; Secure; HttpOnly; SameSite=Strict'

/** The refresh token in the request's cookie; `undefined` if there is none, or more than one. */
export function refreshTokenIn({ headers }: IncomingMessage): string | undefined {
  const pairs = (headers.cookie ?? '').split(';').map((pair) => pair.trim())
  const [pair, ...others] = pairs.filter((one) => one.startsWith(`${NAME}=`))
  return others.length === 0 ? pair?.slice(NAME.length + 1) : undefined
}

/** The header that gives the cookie to a browser. */
export function refreshCookie(token: string, maxAgeMs: number): Readonly<Record<string, string>> {
  return {
    'Set-Cookie': `${NAME}=${token}; ${ATTRIBUTES}; Max-Age=${Math.max(1, Math.floor(maxAgeMs / 1000))}`,
  }
}

/** The header that takes it away. */
export const noRefreshCookie: Readonly<Record<string, string>> = {
  'Set-Cookie': `${NAME}=; ${ATTRIBUTES}; Max-Age=0`,
}
