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
import { addressFor, primaryAddresses, sendTogether, type ValkeyClient } from '../connection/client.ts'
import {
  type ConnectionState,
  changeOf,
  connectionStateOf,
  type Usage,
  usageOf,
} from '../connection/connection-state.ts'
import { troubleOf } from '../connection/connection-trouble.ts'
import { type Breaker, type BreakerOptions, Breakers, DEFAULT_BREAKER } from './breaker.ts'
import {
  causeOf,
  classifyFailure,
  clientChanged,
  type Failure,
  notConnected,
  parseAddress,
  placeOf,
  timedOut,
  UNREADABLE,
  unexpectedReply,
} from './failures.ts'
import { ServerClock } from './server-clock.ts'

/** Full jitter, so that callers which failed together do not come back together. */
const RETRY_JITTER_MS = 50
const QUEUED = Buffer.from('QUEUED')

/** Reasons that an event reports, or what connects. */
const REPORTED_ELSEWHERE: ReadonlySet<string> = new Set(['connection', 'unsafe-server', UNREADABLE])

export interface CommandRunnerOptions {
  readonly client: ValkeyClient
  /** How long one attempt may take. */
  readonly commandTimeoutMs: number
  /** How long a call waits for a client that is not connected yet. */
  readonly connectTimeoutMs: number
  /** How often a failed attempt is repeated. */
  readonly retries: number
  /** When to refuse without asking a server that is away; `false` always asks. Default {@link DEFAULT_BREAKER}. */
  readonly breaker?: BreakerOptions | false | undefined
  /** Asked before anything is sent. Default: everything is. */
  readonly gate?: Gate | undefined
  /** Whether the client is the store's own: then it is connected again when it has given up. Default false. */
  readonly ownsClient?: boolean | undefined
  /** Is set by the times that come with replies. Default: one of its own. */
  readonly clock?: ServerClock | undefined
}

/** Decides whether a server may be used. */
export interface Gate {
  /**
   * Why nothing may be sent, if so: to the primary at an address, where there are several, or else to any. `undefined`
   * if it is known already that nothing speaks against it.
   */
  refusal(address?: string): Promise<Failure | undefined> | undefined
}

/** The one server; or of a cluster the primary that serves a key, or the one at an address. */
export type Destination = { readonly key: string | undefined } | { readonly address: string | undefined }

/** Where a command goes, how to send it, and how to read its reply. */
export interface Command<Value> {
  /** `undefined` only if nothing is sent. */
  readonly to: Destination | undefined
  send(client: ValkeyClient, attempt: Attempt): Promise<unknown>
  /** `undefined` for a reply that should not exist. */
  decode(reply: unknown, attempt: Attempt): Value | undefined
  /** Returned where what the key holds is not ours. Without it the call rejects with `SessionInvalidError`. */
  readonly unreadable?: Value
}

/** One attempt to run a command. */
export interface Attempt {
  /** Whether somebody still waits for its reply. */
  readonly isAwaited: boolean
  /** Whether an earlier attempt of the same call may have been applied. */
  readonly wasRetried: boolean
  /** Notes the server's time that came with the reply. */
  observe(serverMs: number): void
}

type Outcome<Value> =
  | { readonly value: Value; readonly failure?: undefined }
  | { readonly failure: Failure; readonly isDoubtful?: boolean | undefined }

type ExplainedFailure = Failure & { readonly cause: FailureCause }

/**
 * The only way to the server. Every call settles within
 * `(retries + 1) × commandTimeoutMs + retries × 50 ms`, the wait for a connection included, whatever client and
 * server do; and every failure is one of our errors, without the client's, which carries the command's arguments.
 *
 * Repeats are safe because every command sent here is idempotent: see the scripts. Time in which this process is too
 * busy to look does not count, and what fails right after it is repeated once more and held against no server.
 */
export class CommandRunner {
  readonly #options: CommandRunnerOptions
  readonly #client: ValkeyClient
  readonly #connection: ConnectionState
  readonly #breakers: Breakers | undefined
  readonly #usage: Usage
  readonly #clock: ServerClock
  readonly #deadlineMs: number
  /** Why the last attempt that failed did so, by the address of the primary. */
  readonly #causes = new Map<string | undefined, FailureCause>()
  #lastFailure: LastFailure | undefined
  #inFlight = 0
  #onIdle = () => {}
  #isClosed = false

  constructor(options: CommandRunnerOptions) {
    const {
      client,
      breaker = DEFAULT_BREAKER,
      clock = new ServerClock(),
      retries,
      commandTimeoutMs,
    } = options
    this.#options = options
    this.#client = client
    this.#breakers = breaker ? new Breakers(breaker) : undefined
    this.#connection = connectionStateOf(client)
    this.#usage = usageOf(client)
    this.#clock = clock
    this.#deadlineMs = (retries + 1) * commandTimeoutMs + retries * RETRY_JITTER_MS
  }

  /** A read: as nothing is applied, every failure is a `StoreUnavailableError`. */
  read<Value>(command: Command<Value>): Promise<Value> {
    return this.#run(command, unavailable)
  }

  /** A write: rejects with `OutcomeUnknownError` if any attempt may have been applied. */
  write<Value>(command: Command<Value>): Promise<Value> {
    return this.#run(command, unknownIfApplied)
  }

  get condition(): Condition {
    const isCluster = this.#client.slots !== undefined
    if (isCluster) this.#forgetAllBut(primaryAddresses(this.#client))
    return {
      ...(this.#breakers && { breaker: this.#breakers.state }),
      ...(this.#breakers && isCluster && { primaries: this.#breakers.states }),
      ...(this.#lastFailure && { lastFailure: this.#told(this.#lastFailure) }),
    }
  }

  /** Throws `StoreClosedError` once `close` was called. */
  checkOpen(): void {
    if (this.#isClosed) throw new StoreClosedError()
  }

  /** Refuses new calls and lets those in flight settle; the client stays as it is. */
  async close(): Promise<void> {
    this.#isClosed = true
    if (this.#inFlight === 0) return
    await new Promise<void>((resolve) => {
      const before = this.#onIdle
      this.#onIdle = () => {
        before()
        resolve()
      }
    })
  }

  #run<Value>(command: Command<Value>, toError: ToError): Promise<Value> {
    if (this.#isClosed) return Promise.reject(new StoreClosedError())
    this.#inFlight += 1
    return new Promise((resolve, reject) => {
      const call = new Call(this.#deadlineMs, this.#options.retries)
      const address = this.#addressOf(command)
      const end = () => {
        this.#inFlight -= 1
        if (this.#inFlight === 0) this.#onIdle()
      }
      const repeat = (first: Promise<Outcome<Value>>) => {
        this.#repeat(first, command, { call, toError }).then(resolve, reject).finally(end)
      }
      if (this.#breakers?.isTroubled(address) || !this.#isUsable(address))
        return repeat(this.#attempt(command, call))
      // The common case: nothing has to be waited for but the reply, and it comes.
      this.#send(command, call, (outcome) => {
        if (outcome.failure || this.#breakers?.isTroubled(address))
          return repeat(noted(this.#breakers?.of(address), outcome))
        end()
        resolve(outcome.value)
      })
    })
  }

  /** Returns what the first attempt came to, or else what the next ones do. */
  async #repeat<Value>(
    first: Promise<Outcome<Value>>,
    command: Command<Value>,
    { call, toError }: { readonly call: Call; readonly toError: ToError },
  ): Promise<Value> {
    for (let attempt = first; ; attempt = this.#attempt(command, call)) {
      const outcome = await attempt
      if (outcome.failure === undefined) return outcome.value
      const failure = this.#explained(outcome.failure, this.#addressOf(command))
      this.#note(failure)
      if (failure.reason === UNREADABLE) return unreadable(command)
      call.wasRetried ||= failure.mayBeApplied
      if (!call.mayRepeat(outcome) || !failure.isWorthRepeating || this.#isClosed) {
        throw toError({ ...failure, mayBeApplied: call.wasRetried })
      }
      this.#relearnSlots(failure)
      await call.pause(Math.random() * RETRY_JITTER_MS)
    }
  }

  async #attempt<Value>(command: Command<Value>, call: Call): Promise<Outcome<Value>> {
    const address = this.#addressOf(command)
    const breaker = this.#breakers?.of(address)
    if (breaker?.isTroubled) return breaker.run(() => this.#sendOnceUsable(command, call, address))
    return noted(breaker, await this.#sendOnceUsable(command, call, address))
  }

  /** The address of the primary it goes to, as it is known now: after a failover it is another. */
  #addressOf({ to }: Command<unknown>): string | undefined {
    if (to === undefined || this.#client.slots === undefined) return undefined
    if ('address' in to) return to.address
    return to.key === undefined ? undefined : addressFor(this.#client, to.key)
  }

  /** Whether a command can be sent at once, to the primary at an address or the only one. */
  #isUsable(address: string | undefined): boolean {
    const { gate } = this.#options
    const isConnected = this.#connection.isReady && !this.#isChanged()
    return (
      isConnected && this.#connection.setUp(address) === undefined && gate?.refusal(address) === undefined
    )
  }

  async #sendOnceUsable<Value>(
    command: Command<Value>,
    call: Call,
    address: string | undefined,
  ): Promise<Outcome<Value>> {
    const { connectTimeoutMs, ownsClient: mayRevive } = this.#options
    if (!this.#connection.isReady) {
      const waitMs = Math.min(connectTimeoutMs, call.leftMs)
      const unready = await this.#connection.wait(waitMs, { mayRevive })
      // A client that gave its connection up in a stall needs its own delay to come back.
      if (unready) return { ...unready, isDoubtful: unready.isDoubtful || call.isAfterStall }
    }
    const refusal = this.#isChanged() ? clientChanged : await call.inTime(this.#refusal(address))
    if (refusal) return { failure: refusal }
    // Again, as nothing can come between this and what is sent.
    if (this.#isChanged()) return { failure: clientChanged }
    return new Promise((resolve) => this.#send(command, call, resolve))
  }

  #isChanged(): boolean {
    return changeOf(this.#client, this.#usage) !== undefined
  }

  /** Why nothing may be sent on the connection to an address, if so; `undefined` if it is known to be usable. */
  #refusal(address: string | undefined): Promise<Failure | undefined> | undefined {
    const { gate } = this.#options
    const setUp = this.#connection.setUp(address)
    if (setUp === undefined) return gate?.refusal(address)
    return setUp.then((failure) => failure ?? gate?.refusal(address))
  }

  /**
   * Sends a command, and calls `onOutcome` once, later. Has its own time limit, because no option of the client bounds every
   * way in which a reply can fail to come.
   */
  #send<Value>(command: Command<Value>, call: Call, onOutcome: (outcome: Outcome<Value>) => void): void {
    const attempt = new SentAttempt(this.#clock, call.wasRetried)
    const settle = (outcome: Outcome<Value>) => {
      if (!attempt.isAwaited) return
      attempt.isAwaited = false
      patience.end()
      if (outcome.failure) call.forgive(patience)
      onOutcome(outcome)
    }
    const waitMs = Math.min(this.#options.commandTimeoutMs, call.leftMs)
    const patience = new Patience(waitMs, () => settle({ failure: timedOut }))
    sent(command, this.#client, attempt).then(
      (reply) => {
        if (attempt.isAwaited) settle(decoded(command, reply, attempt))
      },
      (error: unknown) => {
        const failure = { ...classifyFailure(error), cause: causeOf(error) }
        // The client has time limits of its own, which know nothing of a process that was busy.
        settle({ failure, isDoubtful: patience.wasBusy && isLoss(failure) })
      },
    )
  }

  #forgetAllBut(primaries: ReadonlySet<string>): void {
    this.#breakers?.keepOnly(primaries)
    for (const address of this.#causes.keys())
      if (address !== undefined && !primaries.has(address)) this.#causes.delete(address)
  }

  #told(last: LastFailure): LastFailure {
    const cause = this.#unreadiness()
    return cause === undefined ? last : { kind: last.kind, at: last.at, ...cause }
  }

  /** Why there is no connection, which may have been found out after the calls had failed. */
  #unreadiness(): FailureCause | undefined {
    return this.#connection.isReady ? undefined : troubleOf(this.#client).cause
  }

  /** The failure with its root cause: of a call that was not sent, why those before it to the same server failed. */
  #explained(failure: Failure, address: string | undefined): ExplainedFailure {
    const { reason } = failure
    if (reason === 'breaker-open') {
      const cause = this.#unreadiness() ?? this.#causes.get(address) ?? { reason }
      return { ...failure, cause }
    }
    const place = address === undefined ? placeOf(this.#client) : parseAddress(address)
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
    if (!isWorthRepeating && !REPORTED_ELSEWHERE.has(reason)) troubleOf(this.#client).warn(cause)
  }

  // A cluster client told not to repeat by itself does not notice a failover by itself either.
  #relearnSlots(failure: Failure): void {
    const isStale = failure.reason === 'connection' || failure.reason === 'read-only'
    if (isStale && this.#connection.isReady) this.#client.refreshSlotsCache?.()
  }
}

type ToError = (failure: ExplainedFailure) => SessionStoreError

const unavailable: ToError = ({ reason, cause }) => new StoreUnavailableError(reason, cause)
const unknownIfApplied: ToError = ({ reason, mayBeApplied, cause }) =>
  mayBeApplied ? new OutcomeUnknownError(reason, cause) : new StoreUnavailableError(reason, cause)

/** What one call has left: its time, this process's own business not counted, and its repeats. */
class Call {
  wasRetried = false
  /** Whether the attempt before failed by this process's own making. */
  isAfterStall = false
  #endMs: number
  #retries: number
  // A call that must not be repeated is not forgiven either.
  #isForgiven: boolean

  constructor(deadlineMs: number, retries: number) {
    this.#endMs = performance.now() + deadlineMs
    this.#retries = retries
    this.#isForgiven = retries === 0
  }

  get leftMs(): number {
    return this.#endMs - performance.now()
  }

  /** Gives back the time of a wait in which this process was busy. */
  forgive({ busyMs }: Patience): void {
    this.#endMs += busyMs
  }

  /** Whether the call may be repeated after this failure. */
  mayRepeat({ isDoubtful = false }: { readonly isDoubtful?: boolean | undefined }): boolean {
    this.isAfterStall = isDoubtful && !this.#isForgiven
    if (this.isAfterStall) this.#isForgiven = true
    else this.#retries -= 1
    return this.#retries >= 0
  }

  async pause(ms: number): Promise<void> {
    await this.#wait(ms, () => undefined)
  }

  /** What a question about the server comes to, or that there was no time for it. */
  inTime(question: Promise<Failure | undefined> | undefined): Promise<Failure | undefined> {
    if (question === undefined) return Promise.resolve(undefined)
    return this.#wait(this.leftMs, () => ({ ...notConnected, reason: timedOut.reason }), question)
  }

  #wait(
    ms: number,
    whenOver: () => Failure | undefined,
    question?: Promise<Failure | undefined>,
  ): Promise<Failure | undefined> {
    return new Promise((resolve) => {
      const settle = (failure: Failure | undefined) => {
        patience.end()
        this.forgive(patience)
        resolve(failure)
      }
      const patience = new Patience(ms, () => settle(whenOver()))
      void question?.then(settle)
    })
  }
}

class SentAttempt implements Attempt {
  isAwaited = true
  readonly wasRetried: boolean
  readonly #clock: ServerClock
  readonly #sentAtMs: number

  constructor(clock: ServerClock, wasRetried: boolean) {
    this.wasRetried = wasRetried
    this.#clock = clock
    this.#sentAtMs = performance.now()
  }

  observe(serverMs: number): void {
    this.#clock.observe(serverMs, this.#sentAtMs)
  }
}

/** Lets the breaker count an attempt that it did not make. */
async function noted<Value>(breaker: Breaker | undefined, outcome: Outcome<Value>): Promise<Outcome<Value>> {
  if (breaker && (outcome.failure || breaker.isTroubled)) await breaker.note(outcome)
  return outcome
}

function unreadable<Value>({ unreadable }: Command<Value>): Value {
  if (unreadable === undefined) throw new SessionInvalidError()
  return unreadable
}

function sent(command: Command<unknown>, client: ValkeyClient, attempt: Attempt): Promise<unknown> {
  try {
    sendTogether(client)
    return command.send(client, attempt)
  } catch (error) {
    return Promise.reject(error)
  }
}

function decoded<Value>(command: Command<Value>, reply: unknown, attempt: Attempt): Outcome<Value> {
  // The reply to every command within a transaction that the app has begun on the same client.
  if (reply instanceof Buffer && reply.length === QUEUED.length && reply.equals(QUEUED))
    return { failure: unexpectedReply }
  const value = command.decode(reply, attempt)
  return value === undefined ? { failure: unexpectedReply } : { value }
}

function isLoss({ reason }: Failure): boolean {
  return reason === 'timeout' || reason === 'connection'
}
