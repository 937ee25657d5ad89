/** The options of the registry's calls: names, defaults and checks. */

import {
  checkBoolean,
  checkInteger,
  checkOneOf,
  hasMethods,
  type OptionTable,
  optionError,
  type Read,
} from '../option.ts'
import { ENDING_OPTIONS } from '../session/ending.ts'
import type { EndAllOptions, EndOptions, ListOptions } from './registry.ts'
import { handleOfTarget, type SessionTarget } from './targets.ts'
import type { WatchOptions } from './watch.ts'

export const MAX_LISTED = 10_000
const DEFAULT_TIMEOUT_MS = 1000

const current = (value: SessionTarget | undefined, name: string) =>
  value === undefined ? undefined : handleOfTarget(name, value)
const kind = (value: 'session' | 'token' | undefined, name: string) =>
  value === undefined ? undefined : checkOneOf(name, value, ['session', 'token'])

export const LIST_OPTIONS = {
  includeEnded: (value = false, name) => checkBoolean(name, value),
  limit: (value = 1000, name) => checkInteger(name, value, { min: 1, max: MAX_LISTED }),
  current,
  kind,
} satisfies OptionTable<ListOptions>

export const EACH_OPTIONS = { current } satisfies OptionTable<Pick<ListOptions, 'current'>>

export const COUNT_OPTIONS = { kind } satisfies OptionTable<Pick<ListOptions, 'kind'>>

export const END_OPTIONS = {
  ...ENDING_OPTIONS,
  replicas: (value, name) =>
    value === undefined ? undefined : checkInteger(name, value, { min: 1, max: 100 }),
  timeoutMs: (value, name) =>
    value === undefined ? undefined : checkInteger(name, value, { min: 1, max: 60_000 }),
} satisfies OptionTable<EndOptions>

export const END_ALL_OPTIONS = { except: current, kind, ...END_OPTIONS } satisfies OptionTable<EndAllOptions>

export const WATCH_OPTIONS = {
  signal: (value, name) => signalOf(name, value),
  kind,
} satisfies OptionTable<WatchOptions>

export interface ReplicaTerms {
  readonly replicas: number
  readonly timeoutMs: number
}

/** Returns how many replicas to wait for and how long; `undefined` if none are asked. */
export function replicaTermsOf({
  replicas,
  timeoutMs,
}: Pick<Read<typeof END_OPTIONS>, 'replicas' | 'timeoutMs'>): ReplicaTerms | undefined {
  if (replicas !== undefined) return { replicas, timeoutMs: timeoutMs ?? DEFAULT_TIMEOUT_MS }
  if (timeoutMs === undefined) return undefined
  throw optionError('replicas', 'given with "timeoutMs": how many to wait for')
}

function signalOf(name: string, signal: AbortSignal | undefined): AbortSignal | undefined {
  // By the methods that are called: test runners have an AbortSignal class of their own.
  if (signal === undefined || hasMethods(signal, ['addEventListener', 'removeEventListener'])) return signal
  throw optionError(name, 'an AbortSignal', signal)
}
