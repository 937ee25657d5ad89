const PARTS = 4
/** How often a part may be waited for again because this process was busy in it. */
const MAX_REPEATS = 4
/** What a timer may be off without anybody being busy, in ms. */
const USUAL_ERROR_MS = 20

/**
 * Waits for what somebody else does, and calls `onOver` when it took longer than `ms`. Time in which this process was
 * too busy to look does not count: on waking, timers run before the sockets are read, and an answer that has been there
 * all along would pass for none. Therefore the time passes in parts, one that came late is waited for again, and the
 * sockets are read once more before the last word.
 */
export class Patience {
  readonly #partMs: number
  readonly #onOver: () => void
  #partsLeft = PARTS
  #repeatsLeft = MAX_REPEATS
  #busyMs = 0
  #lookedAtMs = performance.now()
  #timer: NodeJS.Timeout
  #lastWord: NodeJS.Immediate | undefined

  constructor(ms: number, onOver: () => void) {
    this.#partMs = Math.max(ms, 0) / PARTS
    this.#onOver = onOver
    this.#timer = setTimeout(() => this.#look(), this.#partMs)
  }

  /** For how long this process did not look when it should have, in ms. */
  get busyMs(): number {
    return this.#busyMs + this.#latenessMs()
  }

  end(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#lastWord)
  }

  #look(): void {
    const busyMs = this.#latenessMs() + this.#earlinessMs()
    this.#busyMs += busyMs
    this.#lookedAtMs = performance.now()
    if (busyMs > 0 && this.#repeatsLeft > 0) this.#repeatsLeft -= 1
    else this.#partsLeft -= 1
    if (this.#partsLeft > 0) this.#timer = setTimeout(() => this.#look(), this.#partMs)
    else this.#lastWord = setImmediate(this.#onOver)
  }

  #latenessMs(): number {
    const lateMs = performance.now() - this.#lookedAtMs - this.#partMs
    return lateMs > Math.max(this.#partMs, USUAL_ERROR_MS) ? lateMs : 0
  }

  // A timer set after long work counts from when the loop last looked at the clock, before that work.
  #earlinessMs(): number {
    const earlyMs = this.#lookedAtMs + this.#partMs - performance.now()
    return earlyMs > USUAL_ERROR_MS ? earlyMs : 0
  }
}
