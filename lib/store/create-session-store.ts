import { checkMemoryMeant, checkObject, optionError } from '../option.ts'
import { InProcessStore } from './in-process-store.ts'
import type { SessionStoreOptions } from './options.ts'
import type { SessionStore } from './store.ts'
import { VALKEY_ONLY_OPTIONS, ValkeyStore, type ValkeyStoreOptions } from './valkey-store.ts'

/**
 * The kind of a store, and the options of that kind. `in-process` ignores options of `valkey`, so that changing the kind is
 * enough to switch; without a kind they are an error.
 */
export type SessionStoreConfig =
  | ({ readonly kind: 'valkey' } & ValkeyStoreOptions)
  | ({ readonly kind: 'in-process' } & Partial<ValkeyStoreOptions>)
  | ({
      readonly kind?: undefined
      readonly client?: undefined
      readonly connection?: undefined
    } & SessionStoreOptions)

/**
 * Makes the store that a configuration names, so that one program runs in one process or on Valkey. Without a `kind` it makes
 * an {@link InProcessStore}, and warns once in production.
 *
 * @throws TypeError that names the option, if one is wrong.
 *
 * @example
 * ```ts
 * import { createSessionStore } from 'express-session-valkey'
 *
 * const secrets = [process.env['SESSION_KEY'] ?? '']
 * const url = process.env['VALKEY_URL']
 * const store = createSessionStore(url ? { kind: 'valkey', connection: { url }, secrets } : { kind: 'in-process' })
 * ```
 */
export function createSessionStore(config: SessionStoreConfig = {}): SessionStore {
  checkObject('config', config)
  switch (config.kind) {
    case 'valkey': {
      const { kind, ...options } = config
      return new ValkeyStore(options)
    }
    case 'in-process': {
      const { kind, ...options } = config
      return new InProcessStore(withoutValkeyOptions(options))
    }
    case undefined: {
      const { kind, ...options } = config
      checkMemoryMeant(options, VALKEY_ONLY_OPTIONS)
      warnInProduction()
      return new InProcessStore(options)
    }
    default:
      throw optionError('kind', `'in-process' or 'valkey'`, Object(config).kind)
  }
}

function withoutValkeyOptions(options: object): SessionStoreOptions {
  return Object.fromEntries(
    Object.entries(options).filter(([name]) => !Object.hasOwn(VALKEY_ONLY_OPTIONS, name)),
  )
}

let hasWarned = false

function warnInProduction(): void {
  if (process.env['NODE_ENV'] !== 'production' || hasWarned) return
  hasWarned = true
  process.emitWarning(
    'No session store is configured: sessions are kept in this process and end with it. Set "kind" to "valkey", or to "in-process" if that is meant.',
    { code: 'ESV_MEMORY_STORE' },
  )
}
