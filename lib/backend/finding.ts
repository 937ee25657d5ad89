import type { FailureCause } from '../errors.ts'

/** A problem that `check()` found. docs/OPERATIONS.md has a line for each code. */
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
   * `error`: a promise does not hold. `warning`: it may stop to hold. `unknown`: it could not be checked. `info`: an option
   * accepts the risk by name.
   */
  readonly severity: 'error' | 'warning' | 'unknown' | 'info'
  /** The problem. */
  readonly message: string
  /** The remedy. */
  readonly action: string
  /** Why and where a call to the server failed, if one did. */
  readonly failure?: FailureCause
}
