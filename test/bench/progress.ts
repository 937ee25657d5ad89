const EVERY_MS = 5000

/** Prints how far a workload is and how long it will still take, at most every five seconds. */
export class Progress {
  #name = ''
  #startMs = 0
  #firstMs = 0
  #expected = 0
  #done = 0
  #printedMs = 0

  begin(name: string): void {
    this.#name = name
    this.#startMs = performance.now()
    this.#expected = 0
    this.#done = 0
    this.#printedMs = this.#startMs
    console.error(`${name} …`)
  }

  /** Adds steps that are about to be taken. */
  expect(steps: number): void {
    this.#expected += steps
  }

  step(what: string): void {
    const now = performance.now()
    if (this.#done === 0) this.#firstMs = now
    if (now - this.#printedMs > EVERY_MS && this.#done > 0) {
      const leftS = ((now - this.#firstMs) / this.#done) * ((this.#expected - this.#done) / 1000)
      console.error(
        `${this.#name}: ${this.#done} of ${this.#expected}, about ${minutes(leftS)} left; ${what}`,
      )
      this.#printedMs = now
    }
    this.#done += 1
  }

  end(): void {
    console.error(`${this.#name} took ${minutes((performance.now() - this.#startMs) / 1000)}`)
  }
}

function minutes(seconds: number): string {
  return seconds < 90 ? `${Math.round(seconds)} s` : `${(seconds / 60).toFixed(1)} min`
}
