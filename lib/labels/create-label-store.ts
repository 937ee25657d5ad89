import {
  resolveValkeyOptions,
  VALKEY_OPTIONS,
  type ValkeyOptions,
} from '../backend/valkey/connection/valkey-options.ts'
import { checkFunction, checkMemoryMeant, checkObject, optionError } from '../option.ts'
import { InProcessLabelSets } from './in-process-label-sets.ts'
import { KeyedLabelStore } from './keyed-label-store.ts'
import type { LabelStore } from './label-store.ts'
import { LABEL_STORE_OPTIONS, type LabelStoreOptions, resolveLabelOptions } from './label-store-options.ts'
import { ValkeyLabelSets } from './valkey-label-sets.ts'

/** Options of the kind `valkey`: those of every kind, and how Valkey is reached. Either `client` or `connection` is required. */
export interface ValkeyLabelStoreOptions extends LabelStoreOptions, ValkeyOptions {}

/** What configures a label store: its kind, and the options of that kind. `memory` ignores options that only `valkey` knows; without a kind they are an error. */
export type LabelStoreConfig =
  | ({ readonly kind?: 'memory' | undefined } & LabelStoreOptions)
  | ({ readonly kind: 'valkey' } & ValkeyLabelStoreOptions)
  | ({ readonly kind: string } & LabelStoreOptions)

/** Makes the label store of a kind that the host adds. */
export type LabelStoreFactory = (options: LabelStoreOptions) => LabelStore

/**
 * Makes the label store that a configuration asks for: for {@link taintLabels}, or on its own in any process that
 * knows session ids. Without a `kind` it is `memory`, with one warning in production. A host adds kinds of its own
 * as `factories`.
 *
 * Throws a `TypeError` that names the option if one is wrong.
 *
 * @example
 * ```ts
 * import { createLabelStore } from 'express-session-valkey'
 *
 * const url = process.env['VALKEY_URL']
 * const labels = createLabelStore(url ? { kind: 'valkey', connection: { url } } : { kind: 'memory' })
 *
 * export async function mayExport(sid: string): Promise<boolean> {
 *   const { state, labels: held } = await labels.load(sid)
 *   return state !== 'lost' && !held.has('pii')
 * }
 * ```
 */
export function createLabelStore(
  config: LabelStoreConfig = {},
  factories: Readonly<Record<string, LabelStoreFactory>> = {},
): LabelStore {
  checkObject('config', config)
  checkObject('factories', factories)
  const { kind, ...options } = config
  if (kind !== undefined && Object.hasOwn(factories, kind)) {
    checkFunction(`factories.${kind}`, factories[kind])
    return factories[kind]?.(options) ?? unknownKind(kind, factories)
  }
  if (kind === 'valkey') return valkeyLabelStore(options)
  if (kind !== undefined && kind !== 'memory') return unknownKind(kind, factories)
  if (kind === undefined) {
    checkMemoryMeant(options, VALKEY_OPTIONS)
    warnInProduction()
  }
  return inProcessLabelStore(options)
}

const IN_PROCESS_WINDOW_MS = 1000

function inProcessLabelStore(config: object): LabelStore {
  const valkeyOnly = new Set<string>(VALKEY_OPTIONS)
  const options = resolveLabelOptions(
    Object.fromEntries(Object.entries(config).filter(([name]) => !valkeyOnly.has(name))),
  )
  const sets = new InProcessLabelSets(() => options.clock.now())
  return new KeyedLabelStore({ sets, options, releaseWindowMs: IN_PROCESS_WINDOW_MS })
}

function valkeyLabelStore(config: ValkeyLabelStoreOptions): LabelStore {
  const options = resolveLabelOptions(config, [...LABEL_STORE_OPTIONS, ...VALKEY_OPTIONS])
  const valkey = resolveValkeyOptions(config)
  return new KeyedLabelStore({
    sets: new ValkeyLabelSets(valkey),
    options,
    releaseWindowMs: valkey.commandTimeoutMs,
  })
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
    'No label store is configured: labels are kept in this process and end with it. Set "kind" to "valkey", or to "memory" if that is meant.',
    {
      code: 'ESV_MEMORY_LABELS',
    },
  )
}
