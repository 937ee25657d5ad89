/** A clock that moves only when it is told to. Fits wherever the package takes a `clock`. */
export class TestClock {
  #nowMs: number

  constructor(nowMs = Date.now()) {
    this.#nowMs = nowMs
  }

  now(): number {
    return this.#nowMs
  }

  advance(ms: number): void {
    this.#nowMs += ms
  }

  set(nowMs: number): void {
    this.#nowMs = nowMs
  }
}
