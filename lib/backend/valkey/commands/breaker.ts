import {
  BrokenCircuitError,
  CircuitState,
  ConsecutiveBreaker,
  circuitBreaker,
  handleWhenResult,
} from 'cockatiel'
import { decide } from '../../../diagnostics.ts'
import type { BreakerState } from '../../backend.ts'
import type { Failure } from './failures.ts'

export interface BreakerOptions {
  /** How many attempts in a row must fail before it opens. */
  readonly failures: number
  /** How long it stays open before one attempt probes the server. */
  readonly halfOpenAfterMs: number
}

export const DEFAULT_BREAKER: BreakerOptions = { failures: 5, halfOpenAfterMs: 1000 }

/** What an attempt came to; a success has no failure. */
interface Outcome {
  readonly failure?: Failure | undefined
  /** Whether the failure may be of this process's own making, which is no word against a server. */
  readonly isDoubtful?: boolean | undefined
}

const broken: { readonly failure: Failure; readonly isDoubtful?: undefined } = {
  failure: { reason: 'breaker-open', mayBeApplied: false, isWorthRepeating: false },
}

// Reasons of a server that does not serve at all. One that refuses writes still serves reads and ends records.
const OUTAGES: ReadonlySet<string> = new Set([
  'timeout',
  'connection',
  'tls',
  'loading',
  'busy',
  'cluster-down',
  'primary-down',
])

/** Refuses at once while a server is known to be away, instead of letting every call wait for its own timeout. */
export class Breaker {
  readonly #policy
  #hasFailed = false

  /** `primary` is the address of one of several. */
  constructor({ failures, halfOpenAfterMs }: BreakerOptions, primary?: string) {
    this.#policy = circuitBreaker(handleWhenResult(isOutage), {
      halfOpenAfter: halfOpenAfterMs,
      breaker: new ConsecutiveBreaker(failures),
    })
    this.#policy.onStateChange(() =>
      decide({ decision: 'breaker', state: this.state, ...(primary && { primary }) }),
    )
  }

  get state(): BreakerState {
    if (this.#policy.state === CircuitState.Closed) return 'closed'
    return this.#policy.state === CircuitState.HalfOpen ? 'half-open' : 'open'
  }

  /**
   * Whether attempts are to be made by {@link run}. As long as none fails they need not be, and only what follows a
   * failure is noted.
   */
  get isTroubled(): boolean {
    return this.#hasFailed || this.#policy.state !== CircuitState.Closed
  }

  /** Counts an attempt that was made without {@link run}. */
  async note(outcome: Outcome): Promise<void> {
    // An attempt that began before it opened proves nothing new.
    if (this.#policy.state !== CircuitState.Closed) return
    this.#hasFailed = isOutage(outcome)
    await this.run(async () => outcome)
  }

  /** Makes the attempt, or refuses it. `attempt` must not reject. */
  async run<Result extends Outcome>(attempt: () => Promise<Result>): Promise<Result | typeof broken> {
    // The policy lets others wait for the probe of a half-open circuit; here they are refused at once too.
    if (this.#policy.state === CircuitState.HalfOpen) return broken
    try {
      const result = await this.#policy.execute(attempt)
      this.#hasFailed = isOutage(result)
      return result
    } catch (error) {
      if (error instanceof BrokenCircuitError) return broken
      throw error
    }
  }
}

function isOutage(result: unknown): boolean {
  const { failure, isDoubtful = false } = result as Outcome
  return failure !== undefined && !isDoubtful && OUTAGES.has(failure.reason)
}

const SEVERITY: readonly BreakerState[] = ['closed', 'half-open', 'open']

/** A breaker for each primary, so that one which is away takes no other with it. */
export class Breakers {
  readonly #options: BreakerOptions
  readonly #byPrimary = new Map<string | undefined, Breaker>()

  constructor(options: BreakerOptions) {
    this.#options = options
  }

  /** The breaker of the primary at an address, or of the only one, or of one that is not known. */
  of(primary: string | undefined): Breaker {
    const known = this.#byPrimary.get(primary)
    if (known !== undefined) return known
    const breaker = new Breaker(this.#options, primary)
    this.#byPrimary.set(primary, breaker)
    return breaker
  }

  /** Whether the breaker of a primary is troubled; one that has not been asked for is not. */
  isTroubled(primary: string | undefined): boolean {
    return this.#byPrimary.get(primary)?.isTroubled ?? false
  }

  /** Forgets the primaries that are none any more, to which no call goes that could close their breakers. */
  keepOnly(primaries: ReadonlySet<string>): void {
    for (const primary of this.#byPrimary.keys())
      if (primary !== undefined && !primaries.has(primary)) this.#byPrimary.delete(primary)
  }

  /** The worst state of all. */
  get state(): BreakerState {
    const states = [...this.#byPrimary.values()].map(({ state }) => state)
    return SEVERITY.findLast((state) => states.includes(state)) ?? 'closed'
  }

  /** The state for each of several primaries, by its address. */
  get states(): Readonly<Record<string, BreakerState>> {
    const named = [...this.#byPrimary].filter(([primary]) => primary !== undefined)
    return Object.fromEntries(named.map(([primary, { state }]) => [primary, state]))
  }
}
