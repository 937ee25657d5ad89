import { type BreakerOptions, DEFAULT_BREAKER } from '../backend/valkey/breaker.ts'
import type { ValkeyClient } from '../backend/valkey/client.ts'
import { createValkeyClient, type ValkeyConnection } from '../backend/valkey/connection.ts'
import { ValkeyBackend } from '../backend/valkey/valkey-backend.ts'
import { checkInteger, checkKnown, checkObject, optionError } from '../option.ts'
import { Sealer } from '../seal/sealer.ts'
import type { Secrets } from '../seal/secret.ts'
import { resolveOptions, type SessionStoreOptions, STORE_OPTIONS } from './options.ts'
import { maxBlobBytes } from './session-records.ts'
import { SessionStore } from './session-store.ts'

/** Options of {@link ValkeyStore}: those of every store, and how Valkey is reached. Either `client` or `connection` is required. */
export interface ValkeyStoreOptions extends SessionStoreOptions {
  /** Required: what seals the sessions. See {@link SessionStoreOptions.secrets}. */
  readonly secrets: Secrets
  /** An iovalkey `Redis` or `Cluster`; ioredis fits too. It stays yours: `close()` leaves it open. */
  readonly client?: ValkeyClient | undefined
  /** Or where Valkey is, from which a rightly configured client is made. */
  readonly connection?: ValkeyConnection | undefined
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

const VALKEY_OPTIONS = [
  'client',
  'connection',
  'connectTimeoutMs',
  'commandTimeoutMs',
  'retries',
  'breaker',
] as const
const MAX_TIMEOUT_MS = 60_000

/**
 * Keeps sessions on Valkey 7.2 or later, or Redis 7.0 or later; one server, Sentinel or Cluster.
 *
 * Throws a `TypeError` that names the option if one is wrong.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import session from 'express-session'
 * import { ValkeyStore } from 'express-session-valkey'
 *
 * const store = new ValkeyStore({ connection: { url: 'valkey://127.0.0.1:6379' }, secrets: [process.env['SESSION_KEY'] ?? ''] })
 * const app = express()
 * app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false }))
 * ```
 */
export class ValkeyStore extends SessionStore {
  constructor(options: ValkeyStoreOptions) {
    const resolved = resolveOptions(options, [...STORE_OPTIONS, ...VALKEY_OPTIONS])
    const timing = resolveTiming(options)
    const sealer = new Sealer({ secrets: options.secrets, encrypt: resolved.encrypt })
    const { connectTimeoutMs, commandTimeoutMs, retries } = timing
    super({
      backend: new ValkeyBackend({
        ...timing,
        ...clientOf(options, timing),
        prefix: resolved.prefix,
        maxBlobBytes: maxBlobBytes(resolved.maxBytes),
      }),
      sealer,
      options: resolved,
      deadlineMs: connectTimeoutMs + 2 * commandTimeoutMs * (retries + 1),
    })
  }
}

interface Timing {
  readonly connectTimeoutMs: number
  readonly commandTimeoutMs: number
  readonly retries: number
  readonly breaker: BreakerOptions | false
}

function resolveTiming({
  connectTimeoutMs = 250,
  commandTimeoutMs = 500,
  retries = 1,
  breaker = {},
}: ValkeyStoreOptions): Timing {
  checkInteger('connectTimeoutMs', connectTimeoutMs, { min: 1, max: MAX_TIMEOUT_MS })
  checkInteger('commandTimeoutMs', commandTimeoutMs, { min: 1, max: MAX_TIMEOUT_MS })
  checkInteger('retries', retries, { min: 0, max: 5 })
  return { connectTimeoutMs, commandTimeoutMs, retries, breaker: breaker && resolveBreaker(breaker) }
}

function resolveBreaker(breaker: Partial<BreakerOptions>): BreakerOptions {
  checkObject('breaker', breaker)
  checkKnown(breaker, ['failures', 'halfOpenAfterMs'], '"breaker"')
  const { failures, halfOpenAfterMs } = { ...DEFAULT_BREAKER, ...breaker }
  checkInteger('breaker.failures', failures, { min: 1, max: 1000 })
  checkInteger('breaker.halfOpenAfterMs', halfOpenAfterMs, { min: 1, max: MAX_TIMEOUT_MS })
  return { failures, halfOpenAfterMs }
}

function clientOf(
  { client, connection }: ValkeyStoreOptions,
  timing: Timing,
): { client: ValkeyClient; ownsClient: boolean } {
  if (client !== undefined && connection !== undefined)
    throw optionError('connection', 'left out when "client" is given')
  if (connection !== undefined) return { client: createValkeyClient(connection, timing), ownsClient: true }
  if (typeof client?.callBuffer !== 'function') {
    throw optionError(
      'client',
      'an iovalkey or ioredis client, or left out in favour of "connection": { url }',
    )
  }
  if (autoPipelines(client)) {
    // iovalkey 0.4.0 then throws outside of every promise when `call` is used, which ends the process.
    throw optionError('client', 'made without "enableAutoPipelining"')
  }
  return { client, ownsClient: false }
}

function autoPipelines(client: object): boolean {
  const { options } = client as { readonly options?: ClientOptions }
  return options?.enableAutoPipelining === true || options?.redisOptions?.enableAutoPipelining === true
}

interface ClientOptions {
  readonly enableAutoPipelining?: unknown
  readonly redisOptions?: { readonly enableAutoPipelining?: unknown }
}
