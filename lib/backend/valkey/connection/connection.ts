import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'iovalkey'
import { checkBoolean, checkInteger, checkKnown, optionError } from '../../../option.ts'
import type { ValkeyClient } from './client.ts'
import { fullJitter, safeClientOptions, safeClusterOptions, tlsSettings } from './client-settings.ts'
import { connectionStateOf } from './connection-state.ts'
import { parseServerUrl, type ServerUrl } from './server-url.ts'
import { isLoopback, tlsFlaw } from './transport.ts'

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

export interface ConnectionTiming {
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
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

/**
 * A client with settings under which every command settles, none is sent twice or late behind our back, and a dead
 * connection is noticed.
 *
 * @throws TypeError that names the option if one is wrong.
 */
export function createValkeyClient(connection: ValkeyConnection, timing: ConnectionTiming): ValkeyClient {
  checkConnection(connection)
  // The caller's own options hold more than the two that the settings know.
  const { connectTimeoutMs, commandTimeoutMs } = timing
  const create = connection.nodes === undefined ? createSingle : createCluster
  const client = create(connection, { connectTimeoutMs, commandTimeoutMs })
  connectionStateOf(client)
  return client
}

function createSingle(connection: ValkeyConnection, timing: ConnectionTiming): Redis {
  const server = connection.url === undefined ? undefined : parseServerUrl(connection.url)
  return new Redis({
    ...safeClientOptions(timing),
    ...identity(connection),
    ...(server ? serverOptions(server, connection) : sentinelOptions(connection, timing)),
  })
}

function createCluster(connection: ValkeyConnection, timing: ConnectionTiming): Cluster {
  const nodes = checkPrivacy('nodes', connection).map((node) => ({ ...node }))
  const tls = tlsSettings(connection.tls)
  // With TLS a certificate names the host, not the address it resolves to.
  const dnsLookup: ClusterOptions['dnsLookup'] = (host, done) => done(null, host)
  const { redisOptions, ...options } = safeClusterOptions(timing)
  return new Cluster(nodes, {
    ...options,
    ...(tls && { dnsLookup }),
    redisOptions: { ...redisOptions, ...identity(connection), ...(tls && { tls }) },
  })
}

function identity({ username, password, connectionName }: ValkeyConnection): RedisOptions {
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(connectionName !== undefined && { connectionName }),
  }
}

function serverOptions(server: ServerUrl, connection: ValkeyConnection): RedisOptions {
  const { username, password, tls } = connection
  if ((server.username ?? server.password) !== undefined && (username ?? password) !== undefined) {
    throw optionError('connection.url', 'without credentials when "username" or "password" is given')
  }
  if (server.isTls && tls === false)
    throw optionError('connection.tls', 'left out, or true, with valkeys:// and rediss://')
  const { isTls, ...place } = server
  const used = tlsSettings(tls ?? isTls)
  if (used === undefined && server.path === undefined)
    checkLoopback('connection.url', server.host, connection)
  return { ...place, ...(used && { tls: used }) }
}

function sentinelOptions(connection: ValkeyConnection, timing: ConnectionTiming): RedisOptions {
  const { sentinelName, sentinelUsername, sentinelPassword } = connection
  if (sentinelName === undefined)
    throw optionError('connection.sentinelName', 'given with "sentinels": the name of the primary')
  const tls = tlsSettings(connection.tls)
  return {
    sentinels: checkPrivacy('sentinels', connection).map((sentinel) => ({ ...sentinel })),
    name: sentinelName,
    ...(sentinelUsername !== undefined && { sentinelUsername }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    ...(tls && { tls, enableTLSForSentinelMode: true, sentinelTLS: tls }),
    sentinelCommandTimeout: timing.commandTimeoutMs,
    sentinelRetryStrategy: fullJitter,
    failoverDetector: true,
  }
}

function checkPrivacy(name: 'nodes' | 'sentinels', connection: ValkeyConnection): readonly ServerAddress[] {
  const addresses = connection[name] ?? []
  if (!connection.tls) for (const { host } of addresses) checkLoopback(`connection.${name}`, host, connection)
  return addresses
}

function checkLoopback(
  name: string,
  host: string | undefined,
  { unsafeAllowPlaintext = false }: ValkeyConnection,
): void {
  if (unsafeAllowPlaintext || isLoopback(host)) return
  throw optionError(
    name,
    'used with TLS, as the server is not on this machine: valkeys:// or "tls"; or set "connection.unsafeAllowPlaintext" where the network is trusted with every login',
  )
}

/** Throws a `TypeError` that names the option if one is wrong. No value of a credential or URL is quoted. */
function checkConnection(connection: ValkeyConnection): void {
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
