import { randomBytes } from 'node:crypto'
import type { ValkeyLabelStoreOptions } from '../../lib/labels/create-label-store.ts'
import { createLabelStore } from '../../lib/labels/create-label-store.ts'
import type { LabelAudit } from '../../lib/labels/declassification.ts'
import type { LabelAlarm } from '../../lib/labels/label-alarm.ts'
import type { LabelStore } from '../../lib/labels/label-store.ts'

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

function observe(
  open: (hooks: Pick<ValkeyLabelStoreOptions, 'onAlarm' | 'onAudit'>) => LabelStore,
): Observed {
  const alarms: LabelAlarm[] = []
  const audits: LabelAudit[] = []
  const store = open({ onAlarm: (alarm) => alarms.push(alarm), onAudit: (entry) => void audits.push(entry) })
  return { store, alarms, audits, codes: () => alarms.map(({ code }) => code) }
}

export function openValkey(url: string, options: ValkeyLabelStoreOptions = {}): Observed {
  return observe((hooks) =>
    createLabelStore({ kind: 'valkey', connection: { url }, ...patient, ...hooks, ...options }),
  )
}

export function openMemory(options: ValkeyLabelStoreOptions = {}): Observed {
  return observe((hooks) => createLabelStore({ kind: 'memory', ...hooks, ...options }))
}
