import {
  checkInteger,
  checkOneOf,
  type OptionTable,
  optionError,
  type Read,
  readGroup,
} from '../../../option.ts'
import { CLIENT_SETTINGS, type ClientSetting, flawsOf } from '../checks/client-inspection.ts'
import { type BreakerOptions, DEFAULT_BREAKER } from '../commands/breaker.ts'
import type { ValkeyClient } from './client.ts'
import { TIMING_OPTIONS } from './client-settings.ts'
import { createValkeyClient, type ValkeyConnection } from './connection.ts'
import { changeOf, usageOf } from './connection-state.ts'

/** How to reach Valkey: either a `client` or a `connection`. */
export type ValkeyOptions = (
  | {
      /**
       * An iovalkey or ioredis `Redis` or `Cluster`, made with {@link safeClientOptions} or {@link safeClusterOptions}. `close()`
       * leaves it open.
       * @defaultValue none: required unless there is a `connection`
       */
      readonly client: ValkeyClient
      readonly connection?: undefined
    }
  | {
      /** Where Valkey is; the store makes a client for it. @defaultValue none: required unless there is a `client` */
      readonly connection: ValkeyConnection
      readonly client?: undefined
    }
) & {
  /** Names of settings of `client` to accept although they break a promise. @defaultValue none */
  readonly unsafeClientSettings?: readonly ClientSetting[] | undefined
  /** Longest wait of a call for a connection, in ms. @defaultValue 250 */
  readonly connectTimeoutMs?: number | undefined
  /** Longest wait of a call for its reply, in ms. @defaultValue 500 */
  readonly commandTimeoutMs?: number | undefined
  /** How often to repeat a call whose reply was lost; every write is safe to repeat. @defaultValue 1 */
  readonly retries?: number | undefined
  /**
   * After `failures` attempts in a row that find no server, calls reject at once with `StoreUnavailableError`; after
   * `halfOpenAfterMs` one of them asks whether Valkey is back. `false` always asks.
   * @defaultValue `{ failures: 5, halfOpenAfterMs: 1000 }`
   */
  readonly breaker?:
    | { readonly failures?: number | undefined; readonly halfOpenAfterMs?: number | undefined }
    | false
    | undefined
}

export interface ResolvedValkeyOptions {
  readonly client: ValkeyClient
  /** Whether the client is nobody else's, and so ours to disconnect. */
  readonly ownsClient: boolean
  /** Whether a connection to another machine may be without TLS. */
  readonly acceptsPlaintext: boolean
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
  readonly retries: number
  readonly breaker: BreakerOptions | false
}

const EXPECTED_CLIENT = 'an iovalkey or ioredis client, or left out in favour of "connection": { url }'

/** The options by which Valkey is reached. */
export const VALKEY_OPTIONS = {
  client: (value) => value,
  connection: (value) => value,
  unsafeClientSettings: (value = [], name) => settingsOf(name, value),
  ...TIMING_OPTIONS,
  retries: (value = 1, name) => checkInteger(name, value, { min: 0, max: 5 }),
  breaker: (value = {}, name) => value && readGroup(name, value, BREAKER_OPTIONS),
} satisfies OptionTable<ValkeyOptions>

const BREAKER_OPTIONS = {
  failures: (value = DEFAULT_BREAKER.failures, name) => checkInteger(name, value, { min: 1, max: 1000 }),
  halfOpenAfterMs: (value = DEFAULT_BREAKER.halfOpenAfterMs, name) =>
    checkInteger(name, value, { min: 1, max: 60_000 }),
} satisfies OptionTable<Partial<BreakerOptions>>

/** Checks the `client`, or makes one of the `connection`. Throws a `TypeError` that names what is wrong. */
export function connectValkey(read: Read<typeof VALKEY_OPTIONS>): ResolvedValkeyOptions {
  const { client, connection, unsafeClientSettings, connectTimeoutMs, commandTimeoutMs, retries, breaker } =
    read
  const calls = { connectTimeoutMs, commandTimeoutMs, retries, breaker }
  if (connection === undefined) {
    const acceptsPlaintext = unsafeClientSettings.includes('tls')
    return {
      ...calls,
      client: checkedClient(client, unsafeClientSettings),
      ownsClient: false,
      acceptsPlaintext,
    }
  }
  if (client !== undefined) throw optionError('connection', 'left out when "client" is given')
  return {
    ...calls,
    client: createValkeyClient(connection, calls),
    ownsClient: true,
    acceptsPlaintext: connection.unsafeAllowPlaintext ?? false,
  }
}

function settingsOf(name: string, settings: readonly ClientSetting[]): readonly ClientSetting[] {
  if (!Array.isArray(settings)) throw optionError(name, 'a list of names of settings')
  return settings.map((setting) => checkOneOf(name, setting, CLIENT_SETTINGS))
}

// connect-redis takes a client of node-redis, the only one with this method.
function expectedFor(client: unknown): string {
  const isNodeRedis = typeof (client as { sendCommand?: unknown } | undefined)?.sendCommand === 'function'
  return isNodeRedis
    ? `${EXPECTED_CLIENT}; this one is of node-redis, whose interface is another`
    : EXPECTED_CLIENT
}

function checkedClient(client: ValkeyClient | undefined, accepted: readonly ClientSetting[]): ValkeyClient {
  if (typeof client?.callBuffer !== 'function') throw optionError('client', expectedFor(client))
  const change = changeOf(client, usageOf(client))
  if (change !== undefined)
    throw optionError('client', `one that nothing else changes, best of the store's own; ${change}`)
  const flaws = flawsOf(client).filter(({ setting }) => !accepted.includes(setting))
  if (flaws.length === 0) return client
  const list = flaws.map(({ setting, remedy }) => `\n- "${setting}" must be ${remedy}`).join('')
  throw new TypeError(
    `Option "client" has settings that break what is promised; make it with safeClientOptions(), use "connection", or name what you accept in "unsafeClientSettings":${list}`,
  )
}
