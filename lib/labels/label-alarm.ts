import { type FailureCause, OutcomeUnknownError, StoreUnavailableError } from '../errors.ts'

/** An alarm for operators. It carries no id, key or client error. */
export interface LabelAlarm {
  /**
   * - `load-failed`, `append-failed`: labels could not be read or added; the call was rejected.
   * - `refresh-failed`: they were read, but could not be kept longer.
   * - `labels-lost`: a session remembers labels, and none are stored. Gates deny.
   * - `labels-shrunk`: a session remembers labels that are not in the stored set. They were put back.
   * - `ttl-too-short`: `ttl` is shorter than `longestSessionTtl`, so labels can vanish before their session.
   * - `eviction-policy`: the server may evict labels when memory is full.
   * - `server-unknown`: the server user may not read the eviction policy.
   * - `audit-failed`: `onAudit` rejected after labels had been removed.
   */
  readonly code:
    | 'load-failed'
    | 'append-failed'
    | 'refresh-failed'
    | 'labels-lost'
    | 'labels-shrunk'
    | 'ttl-too-short'
    | 'eviction-policy'
    | 'server-unknown'
    | 'audit-failed'
  /** What happened and what to do, in a sentence. */
  readonly message: string
  /** SHA-256 of the holder's id, hex, as in the name of its key; absent if no single holder is concerned. */
  readonly holder?: string | undefined
  /** The `code` of the error, if there was one. */
  readonly error?: string | undefined
  /** The `reason` of the error, as docs/ERRORS.md lists them. */
  readonly reason?: string | undefined
  /** The root cause of the error, if it came from the server. */
  readonly failure?: FailureCause | undefined
  /** The labels concerned, if they are known. */
  readonly labels?: readonly string[] | undefined
}

export type LabelAlarmCode = LabelAlarm['code']

const warned = new Set<LabelAlarmCode>()

/** Emits a process warning, once per code: the default of `onAlarm`. */
export function warnOnce({ code, message }: LabelAlarm): void {
  if (warned.has(code)) return
  warned.add(code)
  emitAlarmWarning({ code, message })
}

export function emitAlarmWarning({ code, message }: Pick<LabelAlarm, 'code' | 'message'>): void {
  process.emitWarning(message, { code: `ESV_${code.toUpperCase().replaceAll('-', '_')}` })
}

/** Returns `code`, `reason` and root cause of an error of this package. */
export function causeOf(error: unknown): Pick<LabelAlarm, 'error' | 'reason' | 'failure'> {
  if (!(error instanceof Error)) return {}
  const isOfServer = error instanceof StoreUnavailableError || error instanceof OutcomeUnknownError
  const { code, reason } = error as { readonly code?: unknown; readonly reason?: unknown }
  return {
    ...(typeof code === 'string' && { error: code }),
    ...(typeof reason === 'string' && { reason }),
    ...(isOfServer && { failure: error.failure }),
  }
}
