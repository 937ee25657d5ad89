import { optionError } from '../../../option.ts'

/** One server as a URL names it. */
export interface ServerUrl {
  readonly host?: string
  readonly port?: number
  /** A unix socket, instead of host and port. */
  readonly path?: string
  readonly db?: number
  readonly username?: string
  readonly password?: string
  readonly isTls: boolean
}

const PROTOCOLS = ['valkey:', 'redis:', 'valkeys:', 'rediss:', 'unix:']
const EXPECTED =
  'a URL such as valkey://user:password@host:6379/0, valkeys:// for TLS, or unix:///path/to/socket'

/**
 * The parts of a server's URL.
 *
 * @throws TypeError if it is none. The URL itself is never quoted, as it may hold a password.
 */
export function parseServerUrl(url: unknown): ServerUrl {
  if (typeof url !== 'string' || !URL.canParse(url)) throw optionError('connection.url', EXPECTED)
  const { protocol, hostname, port, pathname, username, password, search, hash } = new URL(url)
  if (!PROTOCOLS.includes(protocol)) throw optionError('connection.url', EXPECTED)
  if (search !== '' || hash !== '')
    throw optionError('connection.url', 'without "?" and "#"; everything else is an option of "connection"')

  const credentials = {
    ...(username !== '' && { username: decoded(username) }),
    ...(password !== '' && { password: decoded(password) }),
  }
  if (protocol === 'unix:')
    return { ...credentials, path: parsePath(hostname, decoded(pathname)), isTls: false }
  if (hostname === '') throw optionError('connection.url', EXPECTED)
  if (port === '0') throw optionError('connection.url', 'with a port of 1 to 65535, or none for 6379')
  return {
    ...credentials,
    host: hostname.replace(/^\[|\]$/g, ''),
    port: port === '' ? 6379 : Number(port),
    db: parseDb(pathname),
    isTls: protocol === 'valkeys:' || protocol === 'rediss:',
  }
}

// unix://name would be a socket without a path, for which the client takes a port of this machine.
function parsePath(hostname: string, path: string): string {
  if (hostname === '' && /^\/.*[^/]$/.test(path) && !path.includes('\0')) return path
  throw optionError('connection.url', 'unix:// with an absolute path and no host, as unix:///path/to/socket')
}

function parseDb(pathname: string): number {
  const digits = pathname.replace(/^\//, '')
  if (!/^\d{0,5}$/.test(digits))
    throw optionError('connection.url', 'with nothing but a database number after the host')
  return Number(digits)
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw optionError('connection.url', 'percent-encoded where it has special characters')
  }
}
