import { parsePrefix } from '../backend/valkey/keys.ts'
import {
  checkBoolean,
  checkFunction,
  checkKnown,
  checkNumber,
  checkObject,
  checkUnpadded,
  optionError,
  secretError,
} from '../option.ts'
import type { LabelAudit } from './declassification.ts'
import type { LabelAlarm } from './label-alarm.ts'

/** Options of every label store, wherever it keeps its sets. */
export interface LabelStoreOptions {
  /** Before every key, `[A-Za-z0-9:_-]{1,64}`. @defaultValue 'taint:v1' */
  readonly prefix?: string | undefined
  /**
   * How long the labels of a session live after the last add, in seconds; at least as long as the longest session.
   * Without it they never expire by themselves, unless `taintLabels` adds them: it keeps them as long as the session.
   * @defaultValue none
   */
  readonly ttl?: number | undefined
  /** Whether a load, too, makes the labels live for another `ttl`. @defaultValue false */
  readonly slidingTtl?: boolean | undefined
  /** The longest life a session can have, in seconds; a shorter `ttl` raises an alarm at start. @defaultValue none */
  readonly longestSessionTtl?: number | undefined
  /**
   * At least 32 bytes, the same in all processes that use these labels: without it, somebody who can write to Valkey
   * and also knows a session's id could pretend that its labels were declassified. @defaultValue none
   */
  readonly declassifySecret?: string | Buffer | undefined
  /** Gets what an operator should look at. @defaultValue a process warning, once per code */
  readonly onAlarm?: ((alarm: LabelAlarm) => void) | undefined
  /**
   * Gets each declassification twice, before and after; without it there can be none. The labels stay unless the promise for
   * `intended` resolves.
   * @defaultValue none
   */
  readonly onAudit?: ((entry: LabelAudit) => void | Promise<void>) | undefined
  /** Tells the time of audits and, in process, of expiry, in ms. @defaultValue `Date` */
  readonly clock?: { now(): number } | undefined
}

export interface ResolvedLabelOptions {
  readonly prefix: string
  readonly ttlMs: number
  readonly slidingTtl: boolean
  readonly longestSessionTtlMs: number
  readonly declassifySecret: string | Buffer
  readonly onAlarm: LabelStoreOptions['onAlarm']
  readonly onAudit: LabelStoreOptions['onAudit']
  readonly clock: { now(): number }
}

/** The names of {@link LabelStoreOptions}; a kind with options of its own adds theirs. */
export const LABEL_STORE_OPTIONS = [
  'prefix',
  'ttl',
  'slidingTtl',
  'longestSessionTtl',
  'declassifySecret',
  'onAlarm',
  'onAudit',
  'clock',
] as const

const MAX_TTL_S = 100 * 365 * 86_400
const MIN_SECRET_BYTES = 32

/** Applies defaults and checks every option once. Throws a `TypeError` that names the wrong one. */
export function resolveLabelOptions(
  options: LabelStoreOptions,
  known: readonly string[] = LABEL_STORE_OPTIONS,
): ResolvedLabelOptions {
  checkObject('options', options)
  checkKnown(options, known, 'the label store')
  const { prefix = 'taint:v1', clock = { now: () => Date.now() }, onAlarm, onAudit } = options
  checkObject('clock', clock)
  checkFunction('clock.now', clock.now)
  if (onAlarm !== undefined) checkFunction('onAlarm', onAlarm)
  if (onAudit !== undefined) checkFunction('onAudit', onAudit)
  return {
    prefix: parsePrefix(prefix),
    ...lifetimes(options),
    declassifySecret: secretOf(options),
    onAlarm,
    onAudit,
    clock,
  }
}

function lifetimes({ ttl, slidingTtl = false, longestSessionTtl }: LabelStoreOptions) {
  checkBoolean('slidingTtl', slidingTtl)
  if (slidingTtl && ttl === undefined)
    throw optionError('slidingTtl', 'left out, or given with "ttl", which is what slides', slidingTtl)
  return {
    ttlMs: milliseconds('ttl', ttl),
    slidingTtl,
    longestSessionTtlMs: milliseconds('longestSessionTtl', longestSessionTtl),
  }
}

function milliseconds(name: string, seconds: number | undefined): number {
  if (seconds === undefined) return 0
  return Math.max(1, Math.round(checkNumber(name, seconds, { min: 0.001, max: MAX_TTL_S }) * 1000))
}

function secretOf({ declassifySecret = '' }: LabelStoreOptions): string | Buffer {
  const isBytes = typeof declassifySecret === 'string' || Buffer.isBuffer(declassifySecret)
  if (isBytes) checkUnpadded(declassifySecret, 'declassifySecret')
  const bytes = isBytes ? Buffer.byteLength(declassifySecret) : 0
  if (declassifySecret === '' || bytes >= MIN_SECRET_BYTES) return declassifySecret
  throw secretError('declassifySecret', `a string or Buffer of at least ${MIN_SECRET_BYTES} bytes`)
}
