import { setImmediate as nextTurn } from 'node:timers/promises'

export interface BatchTerms<Key> {
  /** How many keys go together at most. */
  readonly size: number
  /** How many batches are under way at most. */
  readonly lanes: number
  /** Must not reject. */
  readonly work: (keys: readonly Key[]) => Promise<void>
}

/** Works through keys in batches, so that any number of them burdens a server no more than a few. */
export class Batches<Key> {
  readonly #terms: BatchTerms<Key>
  readonly #waiting = new Set<Key>()
  #underWay = 0

  constructor(terms: BatchTerms<Key>) {
    this.#terms = terms
  }

  /** Does nothing for a key that waits already. */
  add(key: Key): void {
    this.#waiting.add(key)
    if (this.#underWay < this.#terms.lanes) void this.#run()
  }

  /** Forgets those that wait. */
  clear(): void {
    this.#waiting.clear()
  }

  async #run(): Promise<void> {
    this.#underWay += 1
    // What is added in one turn of the event loop goes together.
    await nextTurn()
    while (this.#waiting.size > 0) await this.#terms.work(this.#take())
    this.#underWay -= 1
  }

  #take(): readonly Key[] {
    const keys: Key[] = []
    for (const key of this.#waiting) {
      if (keys.length === this.#terms.size) break
      keys.push(key)
      this.#waiting.delete(key)
    }
    return keys
  }
}
