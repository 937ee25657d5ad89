import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../support/random.ts'

/** Does one step after the other, as a Jepsen worker does. */
export interface Worker {
  /** Answers whether it went well. */
  step(): Promise<boolean>
}

const LONGEST_PAUSE_MS = 100

/** Runs workers side by side until they are stopped. */
export class Workers {
  readonly #work: Promise<unknown>
  readonly #random: Random
  #isStopped = false

  constructor(workers: readonly Worker[], random: Random) {
    this.#random = random
    this.#work = Promise.all(workers.map((worker) => this.#run(worker)))
    // `stop` rejects with it; until then it must not count as unhandled.
    this.#work.catch(() => undefined)
  }

  /** Resolves when the steps under way are done. Rejects if one threw, which none of the store's failures makes it do. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#work
  }

  async #run(worker: Worker): Promise<void> {
    while (!this.#isStopped) {
      const isWell = await worker.step()
      // A client that fails at once lets a loop without a timer starve all else in the process.
      if (!isWell) await delay(1 + this.#random.below(LONGEST_PAUSE_MS))
    }
  }
}
