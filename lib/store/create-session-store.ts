import { checkFunction, checkMemoryMeant, checkObject, optionError } from '../option.ts'
import { InProcessStore } from './in-process-store.ts'
import type { SessionStoreOptions } from './options.ts'
import type { SessionStore } from './session-store.ts'
import { VALKEY_ONLY_OPTIONS, ValkeyStore, type ValkeyStoreOptions } from './valkey-store.ts'

/** What configures a store: its kind, and the options of that kind. `memory` ignores options that only `valkey` knows; without a kind they are an error. */
export type SessionStoreConfig =
  | ({ readonly kind?: 'memory' | undefined } & SessionStoreOptions)
  | ({ readonly kind: 'valkey' } & ValkeyStoreOptions)
  | ({ readonly kind: string } & SessionStoreOptions)

/** Makes the store of a kind that the host adds. */
export type SessionStoreFactory = (options: SessionStoreOptions) => SessionStore

/**
 * Makes the store that a configuration asks for, so that switching from one process to Valkey recompiles nothing.
 * Without a `kind` it is `memory`, with one warning in production. A host adds kinds of its own as `factories`.
 *
 * Throws a `TypeError` that names the option if one is wrong.
 *
 * @example
 * ```ts
 * import { createSessionStore } from 'express-session-valkey'
 *
 * const secrets = [process.env['SESSION_KEY'] ?? '']
 * const url = process.env['VALKEY_URL']
 * const store = createSessionStore(url ? { kind: 'valkey', connection: { url }, secrets } : { kind: 'memory' })
 * ```
 */
export function createSessionStore(
  config: SessionStoreConfig = {},
  factories: Readonly<Record<string, SessionStoreFactory>> = {},
): SessionStore {
  checkObject('config', config)
  checkObject('factories', factories)
  const { kind, ...options } = config
  if (kind !== undefined && Object.hasOwn(factories, kind)) {
    checkFunction(`factories.${kind}`, factories[kind])
    return factories[kind]?.(options) ?? unknownKind(kind, factories)
  }
  if (kind === 'valkey') return new ValkeyStore(options as ValkeyStoreOptions)
  if (kind !== undefined && kind !== 'memory') return unknownKind(kind, factories)
  if (kind === undefined) {
    checkMemoryMeant(options, VALKEY_ONLY_OPTIONS)
    warnInProduction()
  }
  return new InProcessStore(withoutValkeyOptions(options))
}

const VALKEY_ONLY = new Set<string>(VALKEY_ONLY_OPTIONS)

function withoutValkeyOptions(options: object): SessionStoreOptions {
  return Object.fromEntries(Object.entries(options).filter(([name]) => !VALKEY_ONLY.has(name)))
}

function unknownKind(kind: unknown, factories: object): never {
  const kinds = ['memory', 'valkey', ...Object.keys(factories)].map((word) => `'${word}'`)
  throw optionError('kind', `one of ${kinds.join(', ')}`, kind)
}

let hasWarned = false

function warnInProduction(): void {
  if (process.env['NODE_ENV'] !== 'production' || hasWarned) return
  hasWarned = true
  process.emitWarning(
    'No session store is configured: sessions are kept in this process and end with it. Set "kind" to "valkey", or to "memory" if that is meant.',
    {
      code: 'ESV_MEMORY_STORE',
    },
  )
}
