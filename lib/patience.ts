const PARTS = 4
/** What a timer may be off without anybody being busy, in ms; and how long a busy process looks once more at the end. */
const USUAL_ERROR_MS = 20

/**
 * Waits for what somebody else does, and calls `onOver` when it took longer than `ms`. Time in which this process was
 * too busy to look does not count: on waking, timers run before the sockets are read, and an answer that has been there
 * all along would pass for none. Therefore the time passes in parts, of which a stretch without a look takes one at
 * most, and the sockets are read once more before the last word.
 */
export class Patience {
  readonly #partMs: number
  readonly #onOver: () => void
  #leftMs: number
  #waitMs: number
  #lookedAtMs = performance.now()
  #busyMs = 0
  #wasBusy = false
  #isLast = false
  #timer: NodeJS.Timeout
  #lastWord: NodeJS.Immediate | undefined

  constructor(ms: number, onOver: () => void) {
    this.#leftMs = Math.max(ms, 0)
    this.#partMs = this.#leftMs / PARTS
    this.#waitMs = this.#partMs
    this.#onOver = onOver
    this.#timer = setTimeout(() => this.#look(), this.#waitMs)
  }

  /** The time that does not count so far, in ms. */
  get busyMs(): number {
    return this.#busyMs + this.#latenessMs()
  }

  /** Whether this process did not look for a while, now or before. */
  get wasBusy(): boolean {
    return this.#wasBusy || this.#latenessMs() > 0
  }

  end(): void {
    clearTimeout(this.#timer)
    clearImmediate(this.#lastWord)
  }

  #look(): void {
    const passedMs = performance.now() - this.#lookedAtMs
    const lateMs = this.#latenessMs()
    // A timer set after long work counts from when the loop last looked at the clock, before that work.
    const isEarly = this.#waitMs - passedMs > USUAL_ERROR_MS
    this.#wasBusy ||= lateMs > 0 || isEarly
    this.#busyMs += lateMs
    this.#leftMs -= passedMs - lateMs
    this.#lookedAtMs = performance.now()
    if (this.#leftMs >= 1) this.#lookAfter(Math.min(this.#partMs, this.#leftMs))
    else if (lateMs > 0 && !this.#isLast) this.#lookAfter(USUAL_ERROR_MS, { isLast: true })
    else this.#lastWord = setImmediate(this.#onOver)
  }

  #lookAfter(ms: number, { isLast = false } = {}): void {
    this.#isLast = isLast
    this.#waitMs = ms
    this.#timer = setTimeout(() => this.#look(), ms)
  }

  #latenessMs(): number {
    const lateMs = performance.now() - this.#lookedAtMs - this.#waitMs
    return lateMs > Math.max(this.#partMs, USUAL_ERROR_MS) ? lateMs : 0
  }
}
