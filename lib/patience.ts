const PARTS = 4
/** How late a timer may be in an idle process, in ms; also how long a busy process waits once more at the end. */
const USUAL_ERROR_MS = 20

/**
 * Calls `onOver` when a reply takes longer than `ms`. Time in which this process was too busy to read it does not count: after a
 * block, timers run before the sockets are read, and a reply that has already arrived would count as missing. So the time passes
 * in parts, of which a block takes one at most, and the sockets are read once more at the end.
 *
 * One timer serves all calls, as most of them end long before its first tick.
 */
export class Patience {
  static readonly #waiting = new Set<Patience>()
  static #timer: NodeJS.Timeout | undefined
  static #timerDueMs = Number.POSITIVE_INFINITY

  readonly #partMs: number
  readonly #onOver: () => void
  #leftMs: number
  #lookedAtMs = performance.now()
  #dueMs: number
  #busyMs = 0
  #wasBusy = false
  #isLast = false
  #lastWord: NodeJS.Immediate | undefined

  constructor(ms: number, onOver: () => void) {
    this.#leftMs = Math.max(ms, 0)
    this.#partMs = this.#leftMs / PARTS
    this.#dueMs = this.#lookedAtMs + this.#partMs
    this.#onOver = onOver
    Patience.#waiting.add(this)
    if (this.#dueMs < Patience.#timerDueMs) Patience.#lookNextAt(this.#dueMs)
  }

  /** The time so far that does not count, in ms. */
  get busyMs(): number {
    return this.#busyMs + this.#latenessMs(performance.now())
  }

  /** Whether this process has been too busy to check at any time so far. */
  get wasBusy(): boolean {
    const nowMs = performance.now()
    return this.#wasBusy || this.#latenessMs(nowMs) > 0 || this.#isLong(nowMs - Patience.#timerDueMs)
  }

  end(): void {
    clearImmediate(this.#lastWord)
    if (!Patience.#waiting.delete(this) || Patience.#waiting.size > 0) return
    clearTimeout(Patience.#timer)
    Patience.#timerDueMs = Number.POSITIVE_INFINITY
  }

  static #lookNextAt(dueMs: number): void {
    clearTimeout(Patience.#timer)
    Patience.#timerDueMs = dueMs
    Patience.#timer = setTimeout(Patience.#lookAtAll, Math.max(dueMs - performance.now(), 0))
  }

  static readonly #lookAtAll = () => {
    const nowMs = performance.now()
    const offMs = nowMs - Patience.#timerDueMs
    Patience.#timerDueMs = Number.POSITIVE_INFINITY
    let nextMs = Number.POSITIVE_INFINITY
    for (const patience of Patience.#waiting) {
      // Node counts a timer that is set after long work from before that work.
      patience.#wasBusy ||= patience.#isLong(offMs) || -offMs > USUAL_ERROR_MS
      if (patience.#dueMs <= nowMs + 1) patience.#look(nowMs)
      nextMs = Math.min(nextMs, patience.#dueMs)
    }
    if (Patience.#waiting.size > 0) Patience.#lookNextAt(nextMs)
  }

  #look(nowMs: number): void {
    const lateMs = this.#latenessMs(nowMs)
    this.#wasBusy ||= lateMs > 0
    this.#busyMs += lateMs
    this.#leftMs -= nowMs - this.#lookedAtMs - lateMs
    this.#lookedAtMs = nowMs
    const isOver = this.#leftMs < 1
    if (isOver && (lateMs === 0 || this.#isLast)) {
      Patience.#waiting.delete(this)
      this.#lastWord = setImmediate(this.#onOver)
    }
    this.#isLast = isOver
    this.#dueMs = nowMs + (isOver ? USUAL_ERROR_MS : Math.min(this.#partMs, this.#leftMs))
  }

  #latenessMs(nowMs: number): number {
    const lateMs = nowMs - this.#dueMs
    return this.#isLong(lateMs) ? lateMs : 0
  }

  #isLong(lateMs: number): boolean {
    return lateMs > Math.max(this.#partMs, USUAL_ERROR_MS)
  }
}
