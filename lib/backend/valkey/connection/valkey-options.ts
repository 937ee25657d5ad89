import {
  checkInteger,
  checkKnown,
  checkObject,
  checkOneOf,
  type OptionTable,
  optionError,
  readOptions,
} from '../../../option.ts'
import {
  CLIENT_SETTINGS,
  type ClientSetting,
  changeOf,
  flawsOf,
  usageOf,
} from '../checks/client-inspection.ts'
import { type BreakerOptions, DEFAULT_BREAKER } from '../commands/breaker.ts'
import type { ValkeyClient } from './client.ts'
import { createValkeyClient, type ValkeyConnection } from './connection.ts'

/** How Valkey is reached: either by a `client` or by a `connection`. */
export type ValkeyOptions = (
  | {
      /**
       * An iovalkey `Redis` or `Cluster` made with {@link safeClientOptions} or {@link safeClusterOptions}; ioredis fits
       * too. It stays yours: `close()` leaves it open.
       * @defaultValue none: required unless there is a `connection`
       */
      readonly client: ValkeyClient
      readonly connection?: undefined
    }
  | {
      /** Where Valkey is, from which a rightly configured client is made. @defaultValue none: required unless there is a `client` */
      readonly connection: ValkeyConnection
      readonly client?: undefined
    }
) & {
  /** Settings of `client` that are accepted although they break a promise, by name. @defaultValue none */
  readonly unsafeClientSettings?: readonly ClientSetting[] | undefined
  /** How long a call waits for a connection, in ms. @defaultValue 250 */
  readonly connectTimeoutMs?: number | undefined
  /** How long a call waits for its reply, in ms. @defaultValue 500 */
  readonly commandTimeoutMs?: number | undefined
  /** How often a call whose reply was lost is repeated; every write is safe to repeat. @defaultValue 1 */
  readonly retries?: number | undefined
  /**
   * After how many failures in a row calls are answered at once with `StoreUnavailableError`, and for how long before
   * one of them may find out whether Valkey is back; `false` to always ask.
   * @defaultValue `{ failures: 5, halfOpenAfterMs: 1000 }`
   */
  readonly breaker?: Partial<BreakerOptions> | false | undefined
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

const MAX_TIMEOUT_MS = 60_000
const EXPECTED_CLIENT = 'an iovalkey or ioredis client, or left out in favour of "connection": { url }'

/** The options by which Valkey is reached. */
export const VALKEY_OPTIONS = {
  client: (value: ValkeyClient | undefined) => value,
  connection: (value: ValkeyConnection | undefined) => value,
  unsafeClientSettings: (value = [], name) => settingsOf(name, value),
  connectTimeoutMs: (value = 250, name) => checkInteger(name, value, { min: 1, max: MAX_TIMEOUT_MS }),
  commandTimeoutMs: (value = 500, name) => checkInteger(name, value, { min: 1, max: MAX_TIMEOUT_MS }),
  retries: (value = 1, name) => checkInteger(name, value, { min: 0, max: 5 }),
  breaker: (value = {}) => value && resolveBreaker(value),
} satisfies OptionTable<ValkeyOptions>

/** Applies defaults, checks every option and makes the client of a `connection`. Throws a `TypeError` that names the wrong one. */
export function resolveValkeyOptions(options: ValkeyOptions): ResolvedValkeyOptions {
  const { client, connection, unsafeClientSettings, ...calls } = readOptions(options, VALKEY_OPTIONS)
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
  const made = createValkeyClient(connection, calls)
  return {
    ...calls,
    client: made,
    ownsClient: true,
    acceptsPlaintext: connection.unsafeAllowPlaintext ?? false,
  }
}

function settingsOf(name: string, settings: readonly ClientSetting[]): readonly ClientSetting[] {
  if (!Array.isArray(settings)) throw optionError(name, 'a list of names of settings')
  return settings.map((setting) => checkOneOf(name, setting, CLIENT_SETTINGS))
}

function resolveBreaker(breaker: Partial<BreakerOptions>): BreakerOptions {
  checkObject('breaker', breaker)
  checkKnown(breaker, ['failures', 'halfOpenAfterMs'], '"breaker"')
  const { failures, halfOpenAfterMs } = { ...DEFAULT_BREAKER, ...breaker }
  checkInteger('breaker.failures', failures, { min: 1, max: 1000 })
  checkInteger('breaker.halfOpenAfterMs', halfOpenAfterMs, { min: 1, max: MAX_TIMEOUT_MS })
  return { failures, halfOpenAfterMs }
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
