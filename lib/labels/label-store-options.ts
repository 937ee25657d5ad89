import { parsePrefix } from '../backend/valkey/keys.ts'
import {
  checkBoolean,
  checkFunction,
  checkNumber,
  checkUnpadded,
  clockOf,
  MAX_TTL_S,
  type OptionTable,
  optionError,
  type Read,
  secretError,
} from '../option.ts'
import type { LabelAudit } from './declassification.ts'
import type { LabelAlarm } from './label-alarm.ts'

/** Options of every label store, wherever it keeps its sets. */
export interface LabelStoreOptions {
  /** Prefix of all keys, `[A-Za-z0-9:_-]{1,64}`. @defaultValue 'taint:v1' */
  readonly prefix?: string | undefined
  /**
   * Lifetime of a session's labels after the last add, in seconds; at least that of the longest session. Without it labels do
   * not expire, except those that `taintLabels` adds: they live as long as the session.
   * @defaultValue none
   */
  readonly ttl?: number | undefined
  /** Whether a load, too, restarts `ttl`. @defaultValue false */
  readonly slidingTtl?: boolean | undefined
  /** The longest lifetime of a session, in seconds; a shorter `ttl` raises an alarm at start. @defaultValue none */
  readonly longestSessionTtl?: number | undefined
  /**
   * Signs the marks of declassified labels: at least 32 bytes, the same in all processes that use these labels. Without it,
   * write access to Valkey and a session's id are enough to declassify the session's labels. @defaultValue none
   */
  readonly declassifySecret?: string | Buffer | undefined
  /** Receives alarms for operators. @defaultValue a process warning, once per code */
  readonly onAlarm?: ((alarm: LabelAlarm) => void) | undefined
  /**
   * Receives each declassification twice, before and after; `declassify` rejects without it. Labels are removed only after the
   * promise for `intended` has resolved.
   * @defaultValue none
   */
  readonly onAudit?: ((entry: LabelAudit) => void | Promise<void>) | undefined
  /** Returns the time of audits and, in process, of expiry, in ms since the epoch. @defaultValue `Date` */
  readonly clock?: { now(): number } | undefined
}

const MIN_SECRET_BYTES = 32

/** The options of every label store; a kind with options of its own adds theirs. */
export const LABEL_STORE_OPTIONS = {
  prefix: (value = 'taint:v1') => parsePrefix(value),
  ttl: (value, name) => millisecondsOf(name, value),
  slidingTtl: (value = false, name) => checkBoolean(name, value),
  longestSessionTtl: (value, name) => millisecondsOf(name, value),
  declassifySecret: (value = '', name) => secretOf(name, value),
  onAlarm: (value, name) => (value === undefined ? undefined : checkFunction(name, value)),
  onAudit: (value, name) => (value === undefined ? undefined : checkFunction(name, value)),
  clock: (value = { now: () => Date.now() }, name) => clockOf(name, value),
} satisfies OptionTable<LabelStoreOptions>

export type ResolvedLabelOptions = ReturnType<typeof checkLabelOptions>

/** Checks options against one another. Throws a `TypeError` that names the wrong one. */
export function checkLabelOptions({
  ttl: ttlMs,
  longestSessionTtl: longestSessionTtlMs,
  ...resolved
}: Read<typeof LABEL_STORE_OPTIONS>) {
  if (resolved.slidingTtl && ttlMs === 0)
    throw optionError('slidingTtl', 'left out, or given with "ttl", which is what slides', true)
  return { ...resolved, ttlMs, longestSessionTtlMs }
}

function millisecondsOf(name: string, seconds: number | undefined): number {
  if (seconds === undefined) return 0
  return Math.max(1, Math.round(checkNumber(name, seconds, { min: 0.001, max: MAX_TTL_S }) * 1000))
}

function secretOf(name: string, secret: string | Buffer): string | Buffer {
  const isBytes = typeof secret === 'string' || Buffer.isBuffer(secret)
  if (isBytes) checkUnpadded(secret, name)
  const bytes = isBytes ? Buffer.byteLength(secret) : 0
  if (secret === '' || bytes >= MIN_SECRET_BYTES) return secret
  throw secretError(name, `a string or Buffer of at least ${MIN_SECRET_BYTES} bytes`)
}
