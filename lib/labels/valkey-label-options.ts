import { type BreakerOptions, DEFAULT_BREAKER } from '../backend/valkey/breaker.ts'
import type { ValkeyClient } from '../backend/valkey/client.ts'
import { createValkeyClient, type ValkeyConnection } from '../backend/valkey/connection.ts'
import { checkInteger, checkKnown, checkObject, optionError } from '../option.ts'
import type { LabelStoreOptions } from './label-store-options.ts'
import type { ValkeyLabelSetsOptions } from './valkey-label-sets.ts'

/** Options of the kind `valkey`: those of every kind, and how Valkey is reached. Either `client` or `connection` is required. */
export interface ValkeyLabelStoreOptions extends LabelStoreOptions {
  /** An iovalkey `Redis` or `Cluster`; ioredis fits too. It stays yours: `close()` leaves it open. */
  readonly client?: ValkeyClient | undefined
  /** Or where Valkey is, from which a rightly configured client is made. */
  readonly connection?: ValkeyConnection | undefined
  /** How long a call waits for a connection, in ms. @defaultValue 250 */
  readonly connectTimeoutMs?: number | undefined
  /** How long a call waits for its reply, in ms. @defaultValue 500 */
  readonly commandTimeoutMs?: number | undefined
  /** How often a call whose reply was lost is repeated. @defaultValue 1 */
  readonly retries?: number | undefined
  /**
   * After how many failures in a row calls are answered at once with `StoreUnavailableError`, and for how long before
   * one of them may find out whether Valkey is back; `false` to always ask.
   * @defaultValue `{ failures: 5, halfOpenAfterMs: 1000 }`
   */
  readonly breaker?: Partial<BreakerOptions> | false | undefined
}

/** The names of what {@link ValkeyLabelStoreOptions} adds. */
export const VALKEY_LABEL_OPTIONS = [
  'client',
  'connection',
  'connectTimeoutMs',
  'commandTimeoutMs',
  'retries',
  'breaker',
] as const

const MAX_TIMEOUT_MS = 60_000

/** Applies defaults, checks every option and makes the client of a `connection`. Throws a `TypeError` that names the wrong one. */
export function resolveValkeyLabelOptions(options: ValkeyLabelStoreOptions): ValkeyLabelSetsOptions {
  const {
    client,
    connection,
    connectTimeoutMs = 250,
    commandTimeoutMs = 500,
    retries = 1,
    breaker = {},
  } = options
  const timing = {
    connectTimeoutMs: checkInteger('connectTimeoutMs', connectTimeoutMs, { min: 1, max: MAX_TIMEOUT_MS }),
    commandTimeoutMs: checkInteger('commandTimeoutMs', commandTimeoutMs, { min: 1, max: MAX_TIMEOUT_MS }),
    retries: checkInteger('retries', retries, { min: 0, max: 5 }),
    breaker: breaker && resolveBreaker(breaker),
  }
  if (client !== undefined && connection !== undefined)
    throw optionError('connection', 'left out when "client" is given')
  if (connection !== undefined)
    return { ...timing, client: createValkeyClient(connection, timing), ownsClient: true }
  if (typeof client?.callBuffer === 'function') return { ...timing, client, ownsClient: false }
  throw optionError('client', 'an iovalkey or ioredis client, or left out in favour of "connection": { url }')
}

function resolveBreaker(breaker: Partial<BreakerOptions>): BreakerOptions {
  checkObject('breaker', breaker)
  checkKnown(breaker, ['failures', 'halfOpenAfterMs'], '"breaker"')
  const { failures, halfOpenAfterMs } = { ...DEFAULT_BREAKER, ...breaker }
  return {
    failures: checkInteger('breaker.failures', failures, { min: 1, max: 1000 }),
    halfOpenAfterMs: checkInteger('breaker.halfOpenAfterMs', halfOpenAfterMs, {
      min: 1,
      max: MAX_TIMEOUT_MS,
    }),
  }
}
