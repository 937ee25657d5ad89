import { setTimeout as delay } from 'node:timers/promises'
import { decide } from '../../diagnostics.ts'
import {
  OutcomeUnknownError,
  SessionInvalidError,
  type SessionStoreError,
  StoreClosedError,
  StoreUnavailableError,
} from '../../errors.ts'
import type { Condition, LastFailure } from '../backend.ts'
import type { Admission } from './admission.ts'
import { Breaker, type BreakerOptions, DEFAULT_BREAKER } from './breaker.ts'
import type { ValkeyClient } from './client.ts'
import {
  classifyFailure,
  type Failure,
  notConnected,
  timedOut,
  UNREADABLE,
  unexpectedReply,
} from './failures.ts'
import { type Readiness, readinessOf } from './readiness.ts'

/** Full jitter, so that callers which failed together do not come back together. */
const RETRY_JITTER_MS = 50

export interface ValkeyLinkOptions {
  readonly client: ValkeyClient
  /** How long one attempt may take. */
  readonly commandTimeoutMs: number
  /** How long a call waits for a client that is not connected yet. */
  readonly connectTimeoutMs: number
  /** How often a failed attempt is repeated. */
  readonly retries: number
  /** When to answer without asking a server that is away; `false` always asks. Default {@link DEFAULT_BREAKER}. */
  readonly breaker?: BreakerOptions | false | undefined
  /** Asked before anything is sent. Default: everything is. */
  readonly admission?: Admission | undefined
  /** Whether the client is nobody else's, and so connected again when it has given up. Default false. */
  readonly ownsClient?: boolean | undefined
}

/** One call: how to send it, and how to read its reply. */
export interface Exchange<Value> {
  /** Sends one attempt. `isAwaited` tells whether the attempt still counts. */
  send(client: ValkeyClient, isAwaited: () => boolean): Promise<unknown>
  /** `undefined` for a reply that should not exist. */
  decode(reply: unknown): Value | undefined
}

export interface Answer<Value> {
  readonly value: Value
  /** Whether an earlier attempt of the same call may have been applied. */
  readonly mayBeRepeated: boolean
}

type Attempt<Value> = { readonly value: Value; readonly failure?: undefined } | { readonly failure: Failure }

/**
 * The only way to the server. Every call settles within
 * `(retries + 1) × commandTimeoutMs + retries × 50 ms`, the wait for a connection included, whatever client and
 * server do; and every failure is one of our errors, without the client's, which carries the command's arguments.
 *
 * Repeats are safe because every command sent here is idempotent: see the scripts.
 */
export class ValkeyLink {
  readonly #options: ValkeyLinkOptions
  readonly #readiness: Readiness
  readonly #inFlight = new Set<Promise<unknown>>()
  readonly #breaker: Breaker | undefined
  #lastFailure: LastFailure | undefined
  #isClosed = false

  constructor(options: ValkeyLinkOptions) {
    this.#options = options
    const { breaker = DEFAULT_BREAKER } = options
    this.#breaker = breaker ? new Breaker(breaker) : undefined
    this.#readiness = readinessOf(options.client)
  }

  /** A read: as nothing is applied, every failure is a `StoreUnavailableError`. */
  async read<Value>(exchange: Exchange<Value>): Promise<Value> {
    const { value } = await this.#track(exchange, (failure) => unavailable(failure.reason))
    return value
  }

  /** A write: rejects with `OutcomeUnknownError` if any attempt may have been applied. */
  write<Value>(exchange: Exchange<Value>): Promise<Answer<Value>> {
    return this.#track(exchange, ({ reason, mayBeApplied }) =>
      mayBeApplied ? new OutcomeUnknownError(reason) : unavailable(reason),
    )
  }

  get condition(): Condition {
    return {
      ...(this.#breaker && { breaker: this.#breaker.state }),
      ...(this.#lastFailure && { lastFailure: this.#lastFailure }),
    }
  }

  /** Throws `StoreClosedError` once `close` was called. */
  checkOpen(): void {
    if (this.#isClosed) throw new StoreClosedError()
  }

  /** Refuses new calls and lets those in flight settle; the client stays as it is. */
  async close(): Promise<void> {
    this.#isClosed = true
    await Promise.allSettled(this.#inFlight)
  }

  async #track<Value>(
    exchange: Exchange<Value>,
    toError: (failure: Failure) => SessionStoreError,
  ): Promise<Answer<Value>> {
    this.checkOpen()
    const call = this.#call(exchange, toError)
    this.#inFlight.add(call)
    try {
      return await call
    } finally {
      this.#inFlight.delete(call)
    }
  }

  async #call<Value>(
    exchange: Exchange<Value>,
    toError: (failure: Failure) => SessionStoreError,
  ): Promise<Answer<Value>> {
    const { commandTimeoutMs, retries } = this.#options
    const deadline = performance.now() + (retries + 1) * commandTimeoutMs + retries * RETRY_JITTER_MS
    let mayBeRepeated = false
    for (let left = retries; ; left -= 1) {
      const attempt = await this.#guardedAttempt(exchange, deadline)
      const { failure } = attempt
      if (failure === undefined) return { value: attempt.value, mayBeRepeated }
      this.#note(failure)
      mayBeRepeated ||= failure.mayBeApplied
      if (failure.reason === UNREADABLE) throw new SessionInvalidError()
      if (left === 0 || !failure.isWorthRepeating || this.#isClosed) {
        throw toError({ ...failure, mayBeApplied: mayBeRepeated })
      }
      this.#relearnSlots(failure)
      await delay(Math.random() * RETRY_JITTER_MS)
    }
  }

  #guardedAttempt<Value>(exchange: Exchange<Value>, deadline: number): Promise<Attempt<Value>> {
    const attempt = () => this.#attempt(exchange, deadline)
    return this.#breaker ? this.#breaker.run(attempt) : attempt()
  }

  async #attempt<Value>(exchange: Exchange<Value>, deadline: number): Promise<Attempt<Value>> {
    const { commandTimeoutMs, connectTimeoutMs, ownsClient: mayRevive } = this.#options
    const leftMs = () => deadline - performance.now()
    if (!this.#readiness.isReady) {
      const failure = await this.#readiness.wait(Math.min(connectTimeoutMs, leftMs()), { mayRevive })
      if (failure) return { failure }
    }
    const refusal = await this.#refusal(leftMs())
    return refusal ? { failure: refusal } : this.#exchange(exchange, Math.min(commandTimeoutMs, leftMs()))
  }

  async #refusal(waitMs: number): Promise<Failure | undefined> {
    const { admission } = this.#options
    if (admission === undefined) return undefined
    const tooLate = new AbortController()
    const { reason } = timedOut
    const late = delay(waitMs, { ...notConnected, reason }, { signal: tooLate.signal }).catch(() => undefined)
    try {
      return await Promise.race([admission.refusal(), late])
    } finally {
      tooLate.abort()
    }
  }

  /** Never rejects. The timer is ours because no option of the client bounds every way it can fail to answer. */
  #exchange<Value>(exchange: Exchange<Value>, timeoutMs: number): Promise<Attempt<Value>> {
    return new Promise((resolve) => {
      let isAwaited = true
      const settle = (attempt: Attempt<Value>) => {
        isAwaited = false
        clearTimeout(timer)
        resolve(attempt)
      }
      const timer = setTimeout(() => settle({ failure: timedOut }), timeoutMs)
      const send = async () => decoded(exchange, await exchange.send(this.#options.client, () => isAwaited))
      send().then(settle, (error: unknown) => settle({ failure: classifyFailure(error) }))
    })
  }

  #note({ reason, mayBeApplied }: Failure): void {
    const kind = mayBeApplied ? 'unknown' : 'refused'
    this.#lastFailure = { kind, reason, at: new Date() }
    decide({ decision: 'attempt-failed', kind, reason })
  }

  // A cluster client told not to repeat by itself does not notice a failover by itself either.
  #relearnSlots(failure: Failure): void {
    if (failure.reason === 'connection' || failure.reason === 'read-only')
      this.#options.client.refreshSlotsCache?.()
  }
}

function decoded<Value>(exchange: Exchange<Value>, reply: unknown): Attempt<Value> {
  const value = exchange.decode(reply)
  return value === undefined ? { failure: unexpectedReply } : { value }
}

function unavailable(reason: string): StoreUnavailableError {
  return new StoreUnavailableError(reason)
}
