import { setTimeout as delay } from 'node:timers/promises'
import { decide } from '../../../diagnostics.ts'
import {
  type FailureCause,
  OutcomeUnknownError,
  SessionInvalidError,
  type SessionStoreError,
  StoreClosedError,
  StoreUnavailableError,
} from '../../../errors.ts'
import { Patience } from '../../../patience.ts'
import type { Condition, LastFailure } from '../../backend.ts'
import { changeOf, type Usage, usageOf } from '../checks/client-inspection.ts'
import type { ValkeyClient } from '../connection/client.ts'
import { troubleOf } from '../connection/connection-trouble.ts'
import { type BreakerOptions, Breakers, DEFAULT_BREAKER } from './breaker.ts'
import { causeOf, parseAddress, placeOf } from './failure-cause.ts'
import {
  classifyFailure,
  clientChanged,
  type Failure,
  notConnected,
  timedOut,
  UNREADABLE,
  unexpectedReply,
} from './failures.ts'
import { addressFor, primaryAddresses } from './key-slot.ts'
import { type Readiness, readinessOf } from './readiness.ts'

/** Full jitter, so that callers which failed together do not come back together. */
const RETRY_JITTER_MS = 50
const QUEUED = Buffer.from('QUEUED')

/** Reasons that an event tells of, or what connects. */
const TOLD_ELSEWHERE: ReadonlySet<string> = new Set(['connection', 'unsafe-server', UNREADABLE])

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
  readonly admission?: ServerGate | undefined
  /** Whether the client is nobody else's, and so connected again when it has given up. Default false. */
  readonly ownsClient?: boolean | undefined
}

/** Decides whether a server may be used. */
export interface ServerGate {
  /** Why nothing may be sent, if so: to the primary at an address, where there are several, or else to any. */
  refusal(address?: string): Promise<Failure | undefined>
}

/** The one server; or of a cluster the primary that serves a key, or the one at an address. */
export type Destination = { readonly key: string | undefined } | { readonly address: string | undefined }

/** One call: where it goes, how to send it, and how to read its reply. */
export interface Exchange<Value> {
  /** `undefined` only if nothing is sent. */
  readonly to: Destination | undefined
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

type Attempt<Value> =
  | { readonly value: Value; readonly failure?: undefined }
  | { readonly failure: Failure; readonly isDoubtful?: boolean | undefined }

type ExplainedFailure = Failure & { readonly cause: FailureCause }

interface AttemptTerms {
  readonly timeLeft: TimeLeft
  /** Whether the attempt before failed by this process's own making. */
  readonly isAfterStall: boolean
}

/** How long a call has left, this process's own business not counted. */
type TimeLeft = () => number

/**
 * The only way to the server. Every call settles within
 * `(retries + 1) × commandTimeoutMs + retries × 50 ms`, the wait for a connection included, whatever client and
 * server do; and every failure is one of our errors, without the client's, which carries the command's arguments.
 *
 * Repeats are safe because every command sent here is idempotent: see the scripts. Time in which this process is too
 * busy to look does not count, and what fails right after it is repeated once more and held against no server.
 */
export class ValkeyLink {
  readonly #options: ValkeyLinkOptions
  readonly #readiness: Readiness
  readonly #inFlight = new Set<Promise<unknown>>()
  readonly #breakers: Breakers | undefined
  readonly #usage: Usage
  /** Why the last attempt that failed did so, by the address of the primary. */
  readonly #causes = new Map<string | undefined, FailureCause>()
  #lastFailure: LastFailure | undefined
  #isClosed = false

  constructor(options: ValkeyLinkOptions) {
    this.#options = options
    const { breaker = DEFAULT_BREAKER } = options
    this.#breakers = breaker ? new Breakers(breaker) : undefined
    this.#readiness = readinessOf(options.client)
    this.#usage = usageOf(options.client)
  }

  /** A read: as nothing is applied, every failure is a `StoreUnavailableError`. */
  async read<Value>(exchange: Exchange<Value>): Promise<Value> {
    const { value } = await this.#track(
      exchange,
      ({ reason, cause }) => new StoreUnavailableError(reason, cause),
    )
    return value
  }

  /** A write: rejects with `OutcomeUnknownError` if any attempt may have been applied. */
  write<Value>(exchange: Exchange<Value>): Promise<Answer<Value>> {
    return this.#track(exchange, ({ reason, mayBeApplied, cause }) =>
      mayBeApplied ? new OutcomeUnknownError(reason, cause) : new StoreUnavailableError(reason, cause),
    )
  }

  get condition(): Condition {
    const { client } = this.#options
    if (client.slots) this.#forgetAllBut(primaryAddresses(client))
    return {
      ...(this.#breakers && { breaker: this.#breakers.state }),
      ...(this.#breakers && client.slots && { primaries: this.#breakers.states }),
      ...(this.#lastFailure && { lastFailure: this.#told(this.#lastFailure) }),
    }
  }

  #forgetAllBut(primaries: ReadonlySet<string>): void {
    this.#breakers?.keepOnly(primaries)
    for (const address of this.#causes.keys())
      if (address !== undefined && !primaries.has(address)) this.#causes.delete(address)
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
    toError: (failure: ExplainedFailure) => SessionStoreError,
  ): Promise<Answer<Value>> {
    this.checkOpen()
    const { commandTimeoutMs, retries } = this.#options
    const deadlineMs = (retries + 1) * commandTimeoutMs + retries * RETRY_JITTER_MS
    const startMs = performance.now()
    const patience = new Patience(deadlineMs, () => {})
    const timeLeft = () => startMs + deadlineMs + patience.busyMs - performance.now()
    const call = this.#call(exchange, toError, timeLeft)
    this.#inFlight.add(call)
    try {
      return await call
    } finally {
      patience.end()
      this.#inFlight.delete(call)
    }
  }

  async #call<Value>(
    exchange: Exchange<Value>,
    toError: (failure: ExplainedFailure) => SessionStoreError,
    timeLeft: TimeLeft,
  ): Promise<Answer<Value>> {
    const { retries } = this.#options
    let mayBeRepeated = false
    // A call that must not be repeated is not forgiven either.
    let isForgiven = retries === 0
    let isAfterStall = false
    for (let left = retries; ; left -= 1) {
      const attempt: Attempt<Value> = await this.#guardedAttempt(exchange, { timeLeft, isAfterStall })
      if (attempt.failure === undefined) return { value: attempt.value, mayBeRepeated }
      const failure = this.#explained(attempt.failure, this.#addressOf(exchange))
      this.#note(failure)
      mayBeRepeated ||= failure.mayBeApplied
      if (failure.reason === UNREADABLE) throw new SessionInvalidError()
      isAfterStall = attempt.isDoubtful === true && !isForgiven
      if (isAfterStall) {
        isForgiven = true
        left += 1
      }
      if (left === 0 || !failure.isWorthRepeating || this.#isClosed) {
        throw toError({ ...failure, mayBeApplied: mayBeRepeated })
      }
      this.#relearnSlots(failure)
      await delay(Math.random() * RETRY_JITTER_MS)
    }
  }

  #guardedAttempt<Value>(exchange: Exchange<Value>, terms: AttemptTerms): Promise<Attempt<Value>> {
    const attempt = () => this.#attempt(exchange, terms)
    return this.#breakers ? this.#breakers.of(this.#addressOf(exchange)).run(attempt) : attempt()
  }

  /** The address of the primary it goes to, as it is known now: after a failover it is another. */
  #addressOf({ to }: Exchange<unknown>): string | undefined {
    if (to === undefined) return undefined
    if ('address' in to) return to.address
    return to.key === undefined ? undefined : addressFor(this.#options.client, to.key)
  }

  async #attempt<Value>(
    exchange: Exchange<Value>,
    { timeLeft, isAfterStall }: AttemptTerms,
  ): Promise<Attempt<Value>> {
    const { client, commandTimeoutMs, connectTimeoutMs, ownsClient: mayRevive } = this.#options
    if (!this.#readiness.isReady) {
      const unready = await this.#readiness.wait(Math.min(connectTimeoutMs, timeLeft()), { mayRevive })
      // A client that gave its connection up in a stall needs its own delay to come back.
      if (unready) return { ...unready, isDoubtful: unready.isDoubtful || isAfterStall }
    }
    const isChanged = () => changeOf(client, this.#usage) !== undefined
    const refusal = isChanged() ? clientChanged : await this.#refusal(exchange, timeLeft())
    if (refusal) return { failure: refusal }
    // Again, as nothing can come between this and what is sent.
    if (isChanged()) return { failure: clientChanged }
    return this.#exchange(exchange, Math.min(commandTimeoutMs, timeLeft()))
  }

  /** Why nothing may be sent on this connection, if so. */
  #refusal(exchange: Exchange<unknown>, waitMs: number): Promise<Failure | undefined> | undefined {
    const { admission } = this.#options
    const setUp = this.#readiness.setUp(this.#addressOf(exchange))
    if (setUp === undefined && admission === undefined) return undefined
    return new Promise((resolve) => {
      const settle = (failure: Failure | undefined) => {
        patience.end()
        resolve(failure)
      }
      const patience = new Patience(waitMs, () => settle({ ...notConnected, reason: timedOut.reason }))
      const ask = async () => (await setUp) ?? admission?.refusal(this.#addressOf(exchange))
      void ask().then(settle)
    })
  }

  /** Never rejects. The time limit is ours because no option of the client bounds every way it can fail to answer. */
  #exchange<Value>(exchange: Exchange<Value>, timeoutMs: number): Promise<Attempt<Value>> {
    return new Promise((resolve) => {
      let isAwaited = true
      const settle = (attempt: Attempt<Value>) => {
        isAwaited = false
        patience.end()
        resolve(attempt)
      }
      const patience = new Patience(timeoutMs, () => settle({ failure: timedOut }))
      const send = async () => decoded(exchange, await exchange.send(this.#options.client, () => isAwaited))
      send().then(settle, (error: unknown) => {
        const failure = { ...classifyFailure(error), cause: causeOf(error) }
        // The client has time limits of its own, which know nothing of a process that was busy.
        settle({ failure, isDoubtful: patience.wasBusy && isLoss(failure) })
      })
    })
  }

  #told(last: LastFailure): LastFailure {
    const cause = this.#unreadiness()
    return cause === undefined ? last : { kind: last.kind, at: last.at, ...cause }
  }

  /** Why there is no connection, which may have been found out after the calls had failed. */
  #unreadiness(): FailureCause | undefined {
    return this.#readiness.isReady ? undefined : troubleOf(this.#options.client).cause
  }

  /** The failure with its root cause: of a call that was not sent, why those before it to the same server failed. */
  #explained(failure: Failure, address: string | undefined): ExplainedFailure {
    const { reason } = failure
    if (reason === 'breaker-open') {
      const cause = this.#unreadiness() ?? this.#causes.get(address) ?? { reason }
      return { ...failure, cause }
    }
    const place = address === undefined ? placeOf(this.#options.client) : parseAddress(address)
    const cause = { ...place, ...(failure.cause ?? { reason }) }
    this.#causes.set(address, cause)
    return { ...failure, cause }
  }

  #note({ reason, mayBeApplied, isWorthRepeating, cause }: ExplainedFailure): void {
    const kind = mayBeApplied ? 'unknown' : 'refused'
    decide({ decision: 'attempt-failed', kind, reason })
    if (reason === 'breaker-open') return
    this.#lastFailure = { kind, ...cause, at: new Date() }
    // What a repeat may mend is no news.
    if (!isWorthRepeating && !TOLD_ELSEWHERE.has(reason)) troubleOf(this.#options.client).warn(cause)
  }

  // A cluster client told not to repeat by itself does not notice a failover by itself either.
  #relearnSlots(failure: Failure): void {
    const isStale = failure.reason === 'connection' || failure.reason === 'read-only'
    if (isStale && this.#readiness.isReady) this.#options.client.refreshSlotsCache?.()
  }
}

function decoded<Value>(exchange: Exchange<Value>, reply: unknown): Attempt<Value> {
  // Within a transaction that the app has begun on the same client every command is answered this.
  if (reply instanceof Buffer && reply.equals(QUEUED)) return { failure: unexpectedReply }
  const value = exchange.decode(reply)
  return value === undefined ? { failure: unexpectedReply } : { value }
}

function isLoss({ reason }: Failure): boolean {
  return reason === 'timeout' || reason === 'connection'
}
