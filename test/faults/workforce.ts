import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from './random.ts'

/** Somebody who does one thing after the other. */
export interface Stepper {
  /** Answers whether it went well. */
  step(): Promise<boolean>
}

const LONGEST_PAUSE_MS = 100

/** Steppers at work, side by side, until they are told to stop. */
export class Workforce {
  readonly #work: Promise<unknown>
  readonly #random: Random
  #isStopped = false

  constructor(steppers: readonly Stepper[], random: Random) {
    this.#random = random
    this.#work = Promise.all(steppers.map((stepper) => this.#employ(stepper)))
    // Told by `stop`; until then it must not count as unhandled.
    this.#work.catch(() => undefined)
  }

  /** Resolves when the steps under way are done. Rejects if one threw, which none of the store's failures makes it do. */
  async stop(): Promise<void> {
    this.#isStopped = true
    await this.#work
  }

  async #employ(stepper: Stepper): Promise<void> {
    while (!this.#isStopped) {
      const isWell = await stepper.step()
      // A client that fails at once lets a loop without a timer starve all else in the process.
      if (!isWell) await delay(1 + this.#random.below(LONGEST_PAUSE_MS))
    }
  }
}
