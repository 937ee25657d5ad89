import type { ConnectionOptions as TlsOptions } from 'node:tls'
import { checkInteger, type OptionTable, type Read, readOptions } from '../../../option.ts'

export interface ClientTiming {
  /** Longest time for connecting, in ms. @defaultValue 250 */
  readonly connectTimeoutMs?: number | undefined
  /** Longest time for a reply, in ms. @defaultValue 500 */
  readonly commandTimeoutMs?: number | undefined
}

const TIMEOUTS_MS = { min: 1, max: 60_000 }

export const TIMING_OPTIONS = {
  connectTimeoutMs: (value = 250, name) => checkInteger(name, value, TIMEOUTS_MS),
  commandTimeoutMs: (value = 500, name) => checkInteger(name, value, TIMEOUTS_MS),
} satisfies OptionTable<ClientTiming>

/** What {@link safeClientOptions} returns. Types of no client, so that each accepts them. */
export interface SafeClientOptions {
  connectTimeout: number
  socketTimeout: number
  keepAlive: number
  maxRetriesPerRequest: number
  autoResendUnfulfilledCommands: boolean
  enableAutoPipelining: boolean
  reconnectOnError(error: Error): boolean
  enableOfflineQueue: boolean
  retryStrategy(times: number): number
}

/** What {@link safeClusterOptions} returns. */
export interface SafeClusterOptions {
  redisOptions: Omit<SafeClientOptions, 'enableOfflineQueue' | 'retryStrategy'>
  enableOfflineQueue: boolean
  scaleReads: 'master'
  clusterRetryStrategy(times: number): number
  retryDelayOnFailover: number
  retryDelayOnClusterDown: number
  maxRedirections: number
  slotsRefreshInterval: number
}

const MAX_RETRY_DELAY_MS = 2000

/**
 * Returns settings for a client of iovalkey or ioredis with which every command settles, the client sends none twice or late by
 * itself, and a dead connection is noticed. {@link ValkeyStore} requires them of a `client`.
 *
 * @throws TypeError that names the option, if one is wrong or unknown.
 *
 * @example
 * ```ts
 * import { Redis } from 'iovalkey'
 * import { safeClientOptions, ValkeyStore } from 'express-session-valkey'
 *
 * const client = new Redis({ host: '127.0.0.1', ...safeClientOptions() })
 * const store = new ValkeyStore({ client, secrets: [process.env['SECRET'] ?? ''] })
 * ```
 */
export function safeClientOptions(timing: ClientTiming = {}): SafeClientOptions {
  const settings = nodeSettings(readOptions(timing, TIMING_OPTIONS, 'safeClientOptions'))
  return { ...settings, enableOfflineQueue: false, retryStrategy: fullJitter }
}

/**
 * Returns the same as {@link safeClientOptions} for a client of a cluster.
 *
 * @throws TypeError that names the option, if one is wrong or unknown.
 *
 * @example
 * ```ts
 * import { Cluster } from 'iovalkey'
 * import { safeClusterOptions, ValkeyStore } from 'express-session-valkey'
 *
 * const client = new Cluster([{ host: '127.0.0.1', port: 7000 }], safeClusterOptions())
 * const store = new ValkeyStore({ client, secrets: [process.env['SECRET'] ?? ''] })
 * ```
 */
export function safeClusterOptions(timing: ClientTiming = {}): SafeClusterOptions {
  return {
    redisOptions: nodeSettings(readOptions(timing, TIMING_OPTIONS, 'safeClusterOptions')),
    enableOfflineQueue: false,
    scaleReads: 'master',
    clusterRetryStrategy: fullJitter,
    // The command runner repeats and knows that it does; a repeat by the client would look like a first attempt.
    retryDelayOnFailover: 0,
    retryDelayOnClusterDown: 0,
    maxRedirections: 5,
    slotsRefreshInterval: 5000,
  }
}

/** What every TLS connection of ours has, whatever else is asked of it. */
export function tlsSettings(tls: boolean | TlsOptions | undefined): TlsOptions | undefined {
  // Said outright, NODE_TLS_REJECT_UNAUTHORIZED=0 does not switch it off.
  const least: TlsOptions = { minVersion: 'TLSv1.2', rejectUnauthorized: true }
  return tls ? { ...least, ...(tls === true ? {} : tls) } : undefined
}

// Without jitter all processes come back in step: measured, 75 to 100 of 100 clients within the same 50 ms.
export function fullJitter(times: number): number {
  return Math.ceil(Math.random() * Math.min(MAX_RETRY_DELAY_MS, 50 * 2 ** Math.min(times, 10)))
}

function nodeSettings({
  connectTimeoutMs,
  commandTimeoutMs,
}: Read<typeof TIMING_OPTIONS>): SafeClusterOptions['redisOptions'] {
  return {
    connectTimeout: connectTimeoutMs,
    // Without it a half-open connection stays in use: every command times out, and so does the next.
    socketTimeout: 2 * commandTimeoutMs,
    keepAlive: 5000,
    // 0 fails what is in flight when the connection closes. `autoResendUnfulfilledCommands: false` would let it hang.
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: true,
    enableAutoPipelining: false,
    // After a failover the old primary answers READONLY; a new connection finds the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  }
}
