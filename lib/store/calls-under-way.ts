import { type TracedOperation, traced } from '../diagnostics.ts'
import { withDeadline } from './deadline.ts'

/** Does one step of a call, which rejects when that takes too long. */
export type Step = <Value>(work: () => Promise<Value>) => Promise<Value>

/** The calls of one store, its registry's among them: each is traced, most have a deadline, and closing waits for all. */
export class CallsUnderWay {
  /** How long a call may take, in ms. */
  readonly deadlineMs: number
  readonly #calls = new Set<Promise<unknown>>()

  constructor(deadlineMs: number) {
    this.deadlineMs = deadlineMs
  }

  /** Does the work; if that takes too long, rejects with `tooLate()`. */
  add<Value>(operation: TracedOperation, work: () => Promise<Value>, tooLate: () => Error): Promise<Value> {
    return this.#track(traced(operation, () => withDeadline(work(), this.deadlineMs, tooLate)))
  }

  /**
   * Does work of any number of steps, one after the other: each has the deadline of a call of its own, and none begins
   * once `longestMs` have passed.
   */
  addSteps<Value>(
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

  /** Does work that takes as long as there are sessions. */
  addLong<Value>(operation: TracedOperation, work: () => Promise<Value>): Promise<Value> {
    return this.#track(traced(operation, work))
  }

  #track<Value>(call: Promise<Value>): Promise<Value> {
    const settled = () => this.#calls.delete(call)
    this.#calls.add(call)
    call.then(settled, settled)
    return call
  }

  /** Resolves once those that are under way have settled. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#calls)
  }
}
