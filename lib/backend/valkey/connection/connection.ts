import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'iovalkey'
import {
  checkBoolean,
  checkInteger,
  checkObject,
  type OptionTable,
  optionError,
  type Read,
  readGroup,
} from '../../../option.ts'
import type { ValkeyClient } from './client.ts'
import { fullJitter, safeClientOptions, safeClusterOptions, tlsSettings } from './client-settings.ts'
import { connectionStateOf } from './connection-state.ts'
import { parseServerUrl, type ServerUrl } from './server-url.ts'
import { isLoopback, tlsFlaw } from './transport.ts'

/** Where Valkey is and how to sign in there. Exactly one of `url`, `nodes` and `sentinels` says where. */
export type ValkeyConnection = (
  | {
      /** One server: `valkey://host:6379/0`, `valkeys://` for TLS (`redis://` and `rediss://` too), `unix:///path`. @defaultValue none */
      readonly url: string
      readonly nodes?: undefined
      readonly sentinels?: undefined
      readonly sentinelName?: undefined
      readonly sentinelUsername?: undefined
      readonly sentinelPassword?: undefined
    }
  | {
      /** A cluster: some of its nodes. The others are found through them. @defaultValue none */
      readonly nodes: readonly { readonly host: string; readonly port: number }[]
      readonly url?: undefined
      readonly sentinels?: undefined
      readonly sentinelName?: undefined
      readonly sentinelUsername?: undefined
      readonly sentinelPassword?: undefined
    }
  | {
      /** A primary kept by sentinels. @defaultValue none */
      readonly sentinels: readonly { readonly host: string; readonly port: number }[]
      /** The name under which the sentinels know the primary; required with `sentinels`. @defaultValue none */
      readonly sentinelName: string
      /** ACL user of the sentinels. @defaultValue none */
      readonly sentinelUsername?: string | undefined
      /** Password of the sentinels. @defaultValue none */
      readonly sentinelPassword?: string | undefined
      readonly url?: undefined
      readonly nodes?: undefined
    }
) & {
  /** ACL user of the servers; also possible in the URL. @defaultValue the server's default user */
  readonly username?: string | undefined
  /** Password of the ACL user; also possible in the URL. @defaultValue none */
  readonly password?: string | undefined
  /**
   * `true`, or options of Node's `tls.connect`: `ca` for a private authority, `cert` and `key` for a client
   * certificate. On by default with `valkeys://`, required for every server that is not on this machine. At least
   * TLS 1.2, and always verified.
   * @defaultValue true with `valkeys://`, else false
   */
  readonly tls?: boolean | TlsOptions | undefined
  /** Lets logins travel unprotected to a server that is not on this machine. @defaultValue false */
  readonly unsafeAllowPlaintext?: boolean | undefined
  /** The name that `CLIENT LIST` shows. @defaultValue none */
  readonly connectionName?: string | undefined
}

/** Where a server listens. */
export type ServerAddress = NonNullable<ValkeyConnection['nodes']>[number]

export interface ConnectionTiming {
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
}

const CONNECTION_OPTIONS = {
  url: (value) => value,
  nodes: (value, name) => addressesOf(name, value),
  sentinels: (value, name) => addressesOf(name, value),
  sentinelName: (value, name) => textOf(name, value),
  sentinelUsername: (value, name) => textOf(name, value),
  sentinelPassword: (value, name) => textOf(name, value),
  username: (value, name) => textOf(name, value),
  password: (value, name) => textOf(name, value),
  connectionName: (value, name) => textOf(name, value),
  tls: (value, name) => tlsOf(name, value),
  unsafeAllowPlaintext: (value = false, name) => checkBoolean(name, value),
} satisfies OptionTable<ValkeyConnection>

const SENTINEL_OPTIONS = ['sentinelName', 'sentinelUsername', 'sentinelPassword'] as const

type Connection = Read<typeof CONNECTION_OPTIONS>

/**
 * A client with settings under which every command settles, none is sent twice or late behind our back, and a dead
 * connection is noticed.
 *
 * @throws TypeError that names the option if one is wrong.
 */
export function createValkeyClient(options: ValkeyConnection, timing: ConnectionTiming): ValkeyClient {
  const connection = readGroup('connection', options, CONNECTION_OPTIONS)
  const { url, nodes, sentinels } = connection
  if ([url, nodes, sentinels].filter((place) => place !== undefined).length !== 1)
    throw optionError('connection', 'an object with exactly one of "url", "nodes" and "sentinels"')
  // The caller's own options hold more than the two that the settings know.
  const { connectTimeoutMs, commandTimeoutMs } = timing
  const stray = SENTINEL_OPTIONS.find((name) => sentinels === undefined && connection[name] !== undefined)
  if (stray) throw optionError(`connection.${stray}`, 'left out without "sentinels"')
  const create = nodes === undefined ? createSingle : createCluster
  const client = create(connection, { connectTimeoutMs, commandTimeoutMs })
  connectionStateOf(client)
  return client
}

function createSingle(connection: Connection, timing: ConnectionTiming): Redis {
  const server = connection.url === undefined ? undefined : parseServerUrl(connection.url)
  return new Redis({
    ...safeClientOptions(timing),
    ...identity(connection),
    ...(server ? serverOptions(server, connection) : sentinelOptions(connection, timing)),
  })
}

function createCluster(connection: Connection, timing: ConnectionTiming): Cluster {
  const nodes = checkPrivacy('nodes', connection)
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

function identity({ username, password, connectionName }: Connection): RedisOptions {
  return {
    ...(username !== undefined && { username }),
    ...(password !== undefined && { password }),
    ...(connectionName !== undefined && { connectionName }),
  }
}

function serverOptions(server: ServerUrl, connection: Connection): RedisOptions {
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

function sentinelOptions(connection: Connection, timing: ConnectionTiming): RedisOptions {
  const { sentinelName, sentinelUsername, sentinelPassword } = connection
  if (sentinelName === undefined)
    throw optionError('connection.sentinelName', 'given with "sentinels": the name of the primary')
  const tls = tlsSettings(connection.tls)
  return {
    sentinels: checkPrivacy('sentinels', connection),
    name: sentinelName,
    ...(sentinelUsername !== undefined && { sentinelUsername }),
    ...(sentinelPassword !== undefined && { sentinelPassword }),
    ...(tls && { tls, enableTLSForSentinelMode: true, sentinelTLS: tls }),
    sentinelCommandTimeout: timing.commandTimeoutMs,
    sentinelRetryStrategy: fullJitter,
    failoverDetector: true,
  }
}

function checkPrivacy(name: 'nodes' | 'sentinels', connection: Connection): ServerAddress[] {
  const addresses = connection[name] ?? []
  if (!connection.tls) for (const { host } of addresses) checkLoopback(`connection.${name}`, host, connection)
  return addresses
}

function checkLoopback(name: string, host: string | undefined, { unsafeAllowPlaintext }: Connection): void {
  if (unsafeAllowPlaintext || isLoopback(host)) return
  throw optionError(
    name,
    'used with TLS, as the server is not on this machine: valkeys:// or "tls"; or set "connection.unsafeAllowPlaintext" where the network is trusted with every login',
  )
}

// No value of a credential is quoted.
function textOf(name: string, text: unknown): string | undefined {
  if (text === undefined) return undefined
  if (typeof text !== 'string') throw optionError(name, 'a string')
  if (/^[\r\n]|[\r\n]$/.test(text))
    throw optionError(name, 'without a newline around it (remove it with trim())')
  return text
}

function tlsOf(name: string, tls: ValkeyConnection['tls']): ValkeyConnection['tls'] {
  if (tls === undefined || typeof tls === 'boolean') return tls
  checkObject(name, tls)
  const flaw = tlsFlaw(tls)
  if (flaw) throw optionError(`${name}.${flaw.option}`, flaw.remedy)
  return tls
}

const ADDRESS_OPTIONS = {
  host: (value, name) => hostOf(name, value),
  port: (value, name) => checkInteger(name, value, { min: 1, max: 65535 }),
} satisfies OptionTable<ServerAddress>

function addressesOf(
  name: string,
  addresses: readonly ServerAddress[] | undefined,
): ServerAddress[] | undefined {
  if (addresses === undefined) return undefined
  if (!Array.isArray(addresses) || addresses.length === 0)
    throw optionError(name, 'a list of at least one { host, port }')
  return addresses.map((address: ServerAddress, at) => readGroup(`${name}[${at}]`, address, ADDRESS_OPTIONS))
}

function hostOf(name: string, host: unknown): string {
  if (typeof host === 'string' && host !== '') return host
  throw optionError(name, 'a host name or an address')
}
