import { randomBytes } from 'node:crypto'
import type { ValkeyConnection } from '../../lib/backend/valkey/connection/connection.ts'
import type { ValkeyOptions } from '../../lib/backend/valkey/connection/valkey-options.ts'
import { createLabelStore } from '../../lib/labels/create-label-store.ts'
import type { LabelAudit } from '../../lib/labels/declassification.ts'
import type { LabelAlarm } from '../../lib/labels/label-alarm.ts'
import type { LabelStore } from '../../lib/labels/label-store.ts'
import type { LabelStoreOptions } from '../../lib/labels/label-store-options.ts'

/** Time limits that a busy machine keeps. */
export const patient = { connectTimeoutMs: 2000, commandTimeoutMs: 3000 }

export function newSid(): string {
  return randomBytes(24).toString('base64url')
}

/** A label store and what it has told the operator. */
export interface Observed {
  readonly store: LabelStore
  readonly alarms: LabelAlarm[]
  readonly audits: LabelAudit[]
  codes(): string[]
}

/** The options of a label store, without what only a `client` has. */
export interface LabelOptions extends LabelStoreOptions, Partial<CallOptions> {
  readonly connection?: ValkeyConnection
}

type CallOptions = Omit<ValkeyOptions, 'client' | 'connection'>

function observe(open: (hooks: Pick<LabelStoreOptions, 'onAlarm' | 'onAudit'>) => LabelStore): Observed {
  const alarms: LabelAlarm[] = []
  const audits: LabelAudit[] = []
  const store = open({ onAlarm: (alarm) => alarms.push(alarm), onAudit: (entry) => void audits.push(entry) })
  return { store, alarms, audits, codes: () => alarms.map(({ code }) => code) }
}

export function openValkey(url: string, options: LabelOptions = {}): Observed {
  return observe((hooks) =>
    createLabelStore({
      kind: 'valkey',
      ...patient,
      ...hooks,
      ...options,
      connection: options.connection ?? { url },
    }),
  )
}

export function openMemory(options: LabelOptions = {}): Observed {
  return observe((hooks) => createLabelStore({ kind: 'in-process', ...hooks, ...options }))
}
