import {
  BrokenCircuitError,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhenResult,
} from 'cockatiel'
import { decide } from '../../diagnostics.ts'
import type { Failure } from './failures.ts'

export interface BreakerOptions {
  /** How many attempts in a row must find the server unavailable. */
  readonly failures: number
  /** How long it then stays open before one attempt may find out. */
  readonly halfOpenAfterMs: number
}

export const DEFAULT_BREAKER: BreakerOptions = { failures: 5, halfOpenAfterMs: 1000 }

export type BreakerState = 'closed' | 'open' | 'half-open'

/** What an attempt came to; a success has no failure. */
interface Outcome {
  readonly failure?: Failure | undefined
}

const broken: Outcome & { readonly failure: Failure } = {
  failure: { reason: 'breaker-open', mayBeApplied: false, isWorthRepeating: false },
}

// Reasons of a server that does not serve at all. One that refuses writes still answers reads and ends records.
const OUTAGES: ReadonlySet<string> = new Set([
  'timeout',
  'connection',
  'tls',
  'loading',
  'busy',
  'cluster-down',
  'primary-down',
])

/** Answers at once while a server is known to be away, instead of letting every call wait for its own timeout. */
export class Breaker {
  readonly #policy

  constructor({ failures, halfOpenAfterMs }: BreakerOptions) {
    this.#policy = circuitBreaker(handleWhenResult(isOutage), {
      halfOpenAfter: halfOpenAfterMs,
      breaker: new ConsecutiveBreaker(failures),
    })
    this.#policy.onStateChange(() => decide({ decision: 'breaker', state: this.state }))
  }

  get state(): BreakerState {
    if (this.#policy.state === CircuitState.Closed) return 'closed'
    return this.#policy.state === CircuitState.HalfOpen ? 'half-open' : 'open'
  }

  /** Makes the attempt, or answers without it. `attempt` must not reject. */
  async run<Result extends Outcome>(attempt: () => Promise<Result>): Promise<Result | typeof broken> {
    // The policy lets others wait for the probe of a half-open circuit; here they are answered at once too.
    if (this.#policy.state === CircuitState.HalfOpen) return broken
    try {
      return await this.#policy.execute(attempt)
    } catch (error) {
      if (error instanceof BrokenCircuitError) return broken
      throw error
    }
  }
}

function isOutage(result: unknown): boolean {
  const failure = (result as Outcome).failure
  return failure !== undefined && OUTAGES.has(failure.reason)
}
