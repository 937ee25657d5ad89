import type { FailureCause } from '../errors.ts'

/** Something an operator should know of what a store runs on. docs/OPERATIONS.md has a line for each code. */
export interface Finding {
  readonly code:
    | 'append-only-off'
    | 'endings-unheard'
    | 'eviction-policy'
    | 'fsync-off'
    | 'fsync-unknown'
    | 'memory-low'
    | 'memory-unlimited'
    | 'missing-right'
    | 'plaintext'
    | 'replica'
    | 'replicas-unasked'
    | 'rights-too-broad'
    | 'rights-unknown'
    | 'server-too-old'
    | 'server-unknown'
    | 'shared-prefix'
    | 'touch-too-rare'
    | 'ttl-too-long'
    | 'ttl-too-short'
    | 'unreachable'
    | 'unsafe-client-setting'
  /**
   * `error`: a promise does not hold. `warning`: it may not, one day. `unknown`: it could not be looked at. `info`: a risk
   * that an option accepts by name.
   */
  readonly severity: 'error' | 'warning' | 'unknown' | 'info'
  /** What is so. */
  readonly message: string
  /** What to do. */
  readonly action: string
  /** Why and where a call to the server failed, if that is what was found. */
  readonly failure?: FailureCause
}

export type FindingCode = Finding['code']
