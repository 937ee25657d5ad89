import { type TracedOperation, traced } from '../diagnostics.ts'
import { withDeadline } from './deadline.ts'

/** The calls of one store, its registry's among them: each is traced and has a deadline, and closing waits for all. */
export class CallsUnderWay {
  readonly #deadlineMs: number
  readonly #calls = new Set<Promise<unknown>>()

  constructor(deadlineMs: number) {
    this.#deadlineMs = deadlineMs
  }

  /** Does the work; if that takes too long, rejects with `tooLate()`. */
  add<Value>(operation: TracedOperation, work: () => Promise<Value>, tooLate: () => Error): Promise<Value> {
    const call = traced(operation, () => withDeadline(work(), this.#deadlineMs, tooLate))
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
