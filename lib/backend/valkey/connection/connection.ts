import { Cluster, type ClusterOptions, Redis, type RedisOptions } from 'iovalkey'
import { optionError } from '../../../option.ts'
import { connectionStateOf } from '../connection/connection-state.ts'
import type { ValkeyClient } from './client.ts'
import { fullJitter, safeClientOptions, safeClusterOptions, tlsSettings } from './client-settings.ts'
import { checkConnection, type ServerAddress, type ValkeyConnection } from './connection-options.ts'
import { parseServerUrl, type ServerUrl } from './server-url.ts'
import { isLoopback } from './transport.ts'

export type { ServerAddress, ValkeyConnection } from './connection-options.ts'

export interface ConnectionTiming {
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
}

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
