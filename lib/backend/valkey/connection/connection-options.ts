import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { checkBoolean, checkInteger, checkKnown, optionError } from '../../../option.ts'
import { tlsFlaw } from './transport.ts'

/** Where a server listens. */
export interface ServerAddress {
  readonly host: string
  readonly port: number
}

/** Where Valkey is and how to sign in there. Exactly one of `url`, `nodes` and `sentinels` says where. */
export interface ValkeyConnection {
  /** One server: `valkey://host:6379/0`, `valkeys://` for TLS (`redis://` and `rediss://` too), `unix:///path`. @defaultValue none */
  readonly url?: string | undefined
  /** A cluster: some of its nodes. The others are found through them. @defaultValue none */
  readonly nodes?: readonly ServerAddress[] | undefined
  /** A primary kept by sentinels. Needs `sentinelName`. @defaultValue none */
  readonly sentinels?: readonly ServerAddress[] | undefined
  /** The name under which the sentinels know the primary. @defaultValue none */
  readonly sentinelName?: string | undefined
  /** ACL user of the sentinels. @defaultValue none */
  readonly sentinelUsername?: string | undefined
  /** Password of the sentinels. @defaultValue none */
  readonly sentinelPassword?: string | undefined
  /** ACL user of the servers; also possible in the URL. @defaultValue the server's default user */
  readonly username?: string | undefined
  /** Password of the ACL user; also possible in the URL. @defaultValue none */
  readonly password?: string | undefined
  /**
   * `true`, or options of Node's `tls.connect`: `ca` for a private authority, `cert` and `key` for a client
   * certificate. On by itself with `valkeys://`, required for every server that is not on this machine. At least
   * TLS 1.2, and always verified.
   * @defaultValue true with `valkeys://`, else false
   */
  readonly tls?: boolean | TlsOptions | undefined
  /** Lets logins travel unprotected to a server that is not on this machine. @defaultValue false */
  readonly unsafeAllowPlaintext?: boolean | undefined
  /** Shown by `CLIENT LIST`. @defaultValue none */
  readonly connectionName?: string | undefined
}

const PLACES = ['url', 'nodes', 'sentinels'] as const
const TEXTS = [
  'sentinelName',
  'sentinelUsername',
  'sentinelPassword',
  'username',
  'password',
  'connectionName',
] as const

/** Throws a `TypeError` that names the option if one is wrong. No value of a credential or URL is quoted. */
export function checkConnection(connection: ValkeyConnection): void {
  const options = fieldsOf('connection', connection)
  checkKnown(options, [...PLACES, ...TEXTS, 'tls', 'unsafeAllowPlaintext'], '"connection"')
  if (PLACES.filter((place) => options[place] !== undefined).length !== 1) {
    throw optionError('connection', 'an object with exactly one of "url", "nodes" and "sentinels"')
  }
  checkAddresses('connection.nodes', options['nodes'])
  checkAddresses('connection.sentinels', options['sentinels'])
  for (const name of TEXTS) {
    const text = options[name]
    if (text !== undefined && typeof text !== 'string') throw optionError(`connection.${name}`, 'a string')
    if (/^[\r\n]|[\r\n]$/.test(text ?? ''))
      throw optionError(`connection.${name}`, 'without a newline around it (remove it with trim())')
  }
  const { unsafeAllowPlaintext } = options
  if (unsafeAllowPlaintext !== undefined)
    checkBoolean('connection.unsafeAllowPlaintext', unsafeAllowPlaintext)
  checkTls(options['tls'])
}

function checkTls(tls: unknown): void {
  if (tls === undefined || typeof tls === 'boolean') return
  const flaw = tlsFlaw(fieldsOf('connection.tls', tls))
  if (flaw) throw optionError(`connection.tls.${flaw.option}`, flaw.remedy)
}

function checkAddresses(name: string, addresses: unknown): void {
  if (addresses === undefined) return
  if (!Array.isArray(addresses) || addresses.length === 0)
    throw optionError(name, 'a list of at least one { host, port }')
  for (const [index, address] of addresses.entries()) {
    const options = fieldsOf(`${name}[${index}]`, address)
    const { host, port } = options
    checkKnown(options, ['host', 'port'], `"${name}[${index}]"`)
    if (typeof host !== 'string' || host === '')
      throw optionError(`${name}[${index}].host`, 'a host name or an address')
    checkInteger(`${name}[${index}].port`, port, { min: 1, max: 65535 })
  }
}

function fieldsOf(name: string, value: unknown): Readonly<Record<string, unknown>> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw optionError(name, 'an object')
  return value as Readonly<Record<string, unknown>>
}
