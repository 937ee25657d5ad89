import { checkInteger, optionError } from '../option.ts'

export interface ResolvedReplicaTerms {
  readonly replicas: number
  readonly timeoutMs: number
}

/** How far an ending has got. It stands on the primary in any case. */
export interface Durability {
  /**
   * How many replicas certainly have it; of several primaries of a cluster the least. 0 also if that could not be
   * found out.
   */
  readonly acknowledgedBy: number
  /** Whether these are as many as were asked for: then no failover to one of them brings a session back. */
  readonly isDurable: boolean
}

const DEFAULT_TIMEOUT_MS = 1000

/** Applies the default and checks both; `undefined` if no replicas are asked. Throws a `TypeError` that names the wrong one. */
export function resolveReplicaTerms(
  replicas: number | undefined,
  timeoutMs: number | undefined,
): ResolvedReplicaTerms | undefined {
  if (replicas === undefined && timeoutMs === undefined) return undefined
  if (replicas === undefined) throw optionError('replicas', 'given with "timeoutMs": how many to wait for')
  return {
    replicas: checkInteger('replicas', replicas, { min: 1, max: 100 }),
    timeoutMs: checkInteger('timeoutMs', timeoutMs ?? DEFAULT_TIMEOUT_MS, { min: 1, max: 60_000 }),
  }
}
