import {
  connectValkey,
  VALKEY_OPTIONS,
  type ValkeyOptions,
} from '../backend/valkey/connection/valkey-options.ts'
import { checkMemoryMeant, checkObject, optionError, readOptions } from '../option.ts'
import { InProcessLabelSets } from './in-process-label-sets.ts'
import { KeyedLabelStore } from './keyed-label-store.ts'
import type { LabelStore } from './label-store.ts'
import { checkLabelOptions, LABEL_STORE_OPTIONS, type LabelStoreOptions } from './label-store-options.ts'
import { ValkeyLabelSets } from './valkey-label-sets.ts'

/**
 * The kind of a label store, and the options of that kind. `in-process` ignores options of `valkey`, so that changing the kind is
 * enough to switch; without a kind they are an error.
 */
export type LabelStoreConfig =
  | ({ readonly kind: 'valkey' } & LabelStoreOptions & ValkeyOptions)
  | ({ readonly kind: 'in-process' } & LabelStoreOptions & Partial<ValkeyOptions>)
  | ({
      readonly kind?: undefined
      readonly client?: undefined
      readonly connection?: undefined
    } & LabelStoreOptions)

/**
 * Makes the label store that a configuration names: for {@link taintLabels}, or for any process that has session ids. Without
 * a `kind` it keeps labels in this process, and warns once in production.
 *
 * @throws TypeError that names the option, if one is wrong.
 *
 * @example
 * ```ts
 * import { createLabelStore } from 'express-session-valkey'
 *
 * const url = process.env['VALKEY_URL']
 * const labels = createLabelStore(url ? { kind: 'valkey', connection: { url } } : { kind: 'in-process' })
 *
 * export async function mayExport(sid: string): Promise<boolean> {
 *   const { state, labels: held } = await labels.load(sid)
 *   return state !== 'lost' && !held.has('pii')
 * }
 * ```
 */
export function createLabelStore(config: LabelStoreConfig = {}): LabelStore {
  checkObject('config', config)
  switch (config.kind) {
    case 'valkey': {
      const { kind, ...options } = config
      return valkeyLabelStore(options)
    }
    case 'in-process': {
      const { kind, ...options } = config
      return inProcessLabelStore(options)
    }
    case undefined: {
      const { kind, ...options } = config
      checkMemoryMeant(options, VALKEY_OPTIONS)
      warnInProduction()
      return inProcessLabelStore(options)
    }
    default:
      throw optionError('kind', `'in-process' or 'valkey'`, Object(config).kind)
  }
}

const OWNER = 'the label store'
const IN_PROCESS_WINDOW_MS = 1000

function inProcessLabelStore(config: object): LabelStore {
  const own = Object.fromEntries(
    Object.entries(config).filter(([name]) => !Object.hasOwn(VALKEY_OPTIONS, name)),
  )
  const options = checkLabelOptions(readOptions(own, LABEL_STORE_OPTIONS, OWNER))
  const sets = new InProcessLabelSets(() => options.clock.now())
  return new KeyedLabelStore({ sets, options, releaseWindowMs: IN_PROCESS_WINDOW_MS })
}

function valkeyLabelStore(config: LabelStoreOptions & ValkeyOptions): LabelStore {
  const read = readOptions(config, { ...LABEL_STORE_OPTIONS, ...VALKEY_OPTIONS }, OWNER)
  const options = checkLabelOptions(read)
  const valkey = connectValkey(read)
  return new KeyedLabelStore({
    sets: new ValkeyLabelSets(valkey),
    options,
    releaseWindowMs: valkey.commandTimeoutMs,
  })
}

let hasWarned = false

function warnInProduction(): void {
  if (process.env['NODE_ENV'] !== 'production' || hasWarned) return
  hasWarned = true
  process.emitWarning(
    'No label store is configured: labels are kept in this process and end with it. Set "kind" to "valkey", or to "in-process" if that is meant.',
    { code: 'ESV_MEMORY_LABELS' },
  )
}
