import { type TracedOperation, traced, traces } from './diagnostics.ts'
import { OutcomeUnknownError, SessionConflictError, StoreUnavailableError } from './errors.ts'
import { Patience } from './patience.ts'

/** Node's callback form of an outcome. */
export type Callback<Value> = (error: unknown, value?: Value) => void

/**
 * Passes an outcome to a callback: exactly once, never before this returns, and outside of our promise chain, so that an
 * exception of the callback is uncaught instead of calling it again.
 */
export function deliver<Value>(outcome: Promise<Value>, callback: Callback<Value>): void {
  outcome.then(
    (value) => process.nextTick(callback, null, value),
    (error: unknown) => process.nextTick(callback, error),
  )
}

/** Returns the promise, or nothing if there is a callback, which then receives the outcome. */
export function answer<Value>(
  outcome: Promise<Value>,
  callback?: Callback<Value> | null,
): Promise<Value> | undefined {
  if (typeof callback === 'function') {
    deliver(outcome, callback)
    return undefined
  }
  // express-session drops the promise when it passes no callback; a rejection must not end the process.
  outcome.catch(() => {})
  return outcome
}

/** The error of a call that took too long. A write may have happened. */
export const late = {
  read: () => new StoreUnavailableError('timeout'),
  write: () => new OutcomeUnknownError('timeout'),
}

/** Returns the error for a failure after a part of the work may have been done: not one that says "nothing was applied". */
export function inDoubt(error: unknown): unknown {
  if (error instanceof StoreUnavailableError) return new OutcomeUnknownError(error.reason)
  return error instanceof SessionConflictError ? new OutcomeUnknownError('conflict') : error
}

/** Throws the error that {@link inDoubt} returns. */
export function failInDoubt(error: unknown): never {
  throw inDoubt(error)
}

/**
 * Settles as `work` does, or rejects with `late()` once `ms` have passed in which this process was not busy itself.
 * The work is not cancelled. It is one of `flight` until then.
 */
export function withDeadline<Value>(
  work: Promise<Value>,
  ms: number,
  late: () => Error,
  flight?: Flight,
): Promise<Value> {
  return new Promise((resolve, reject) => {
    let isOver = false
    const end = () => {
      if (isOver) return
      isOver = true
      patience.end()
      if (flight) landOne(flight)
    }
    const fail = (error: unknown) => {
      end()
      reject(error)
    }
    const patience = new Patience(ms, () => fail(late()))
    work.then((value) => {
      end()
      resolve(value)
    }, fail)
  })
}

/** Operations that are waited for together. */
interface Flight {
  /** How many have not settled. */
  count: number
  onLanded: (() => void) | undefined
}

function landOne(flight: Flight): void {
  flight.count -= 1
  if (flight.count === 0) flight.onLanded?.()
}

/** Does one step of an operation. Rejects when the step takes too long. */
export type Step = <Value>(work: () => Promise<Value>) => Promise<Value>

/** The operations of one store, its registry's among them: each is traced, most have a deadline, and `settle` waits for all. */
export class Operations {
  /** How long an operation may take, in ms. */
  readonly deadlineMs: number
  #begun: Flight = { count: 0, onLanded: undefined }
  #landed: Promise<unknown> = Promise.resolve()

  constructor(deadlineMs: number) {
    this.deadlineMs = deadlineMs
  }

  /** Runs an operation. Rejects with `tooLate()` if it takes too long. */
  run<Value>(operation: TracedOperation, work: () => Promise<Value>, tooLate: () => Error): Promise<Value> {
    return traces[operation].hasSubscribers
      ? traced(operation, () => this.#run(work, tooLate))
      : this.#run(work, tooLate)
  }

  /**
   * Runs an operation of any number of steps, one after the other: each step has a deadline of its own, and none begins
   * once `longestMs` have passed.
   */
  runSteps<Value>(
    operation: TracedOperation,
    work: (step: Step) => Promise<Value>,
    { tooLate, longestMs }: { readonly tooLate: () => Error; readonly longestMs: number },
  ): Promise<Value> {
    const lastBeginMs = performance.now() + longestMs
    const step: Step = async (part) => {
      if (performance.now() > lastBeginMs) throw tooLate()
      return withDeadline(part(), this.deadlineMs, tooLate)
    }
    return this.#track(traced(operation, () => work(step)))
  }

  /** Runs an operation that takes as long as there are sessions. */
  runLong<Value>(operation: TracedOperation, work: () => Promise<Value>): Promise<Value> {
    return this.#track(traced(operation, work))
  }

  /** Resolves once the operations in flight have settled; not those that begin later. */
  async settle(): Promise<void> {
    const flight = this.#begun
    this.#begun = { count: 0, onLanded: undefined }
    const landed = new Promise<void>((resolve) => {
      if (flight.count === 0) resolve()
      else flight.onLanded = resolve
    })
    this.#landed = Promise.all([this.#landed, landed])
    await this.#landed
  }

  #run<Value>(work: () => Promise<Value>, tooLate: () => Error): Promise<Value> {
    return withDeadline(work(), this.deadlineMs, tooLate, this.#begin())
  }

  #track<Value>(call: Promise<Value>): Promise<Value> {
    const flight = this.#begin()
    const land = () => landOne(flight)
    call.then(land, land)
    return call
  }

  #begin(): Flight {
    this.#begun.count += 1
    return this.#begun
  }
}
