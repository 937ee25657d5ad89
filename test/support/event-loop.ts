interface Stall {
  readonly fromMs: number
  readonly toMs: number
}

const EVERY_MS = 5
// A tick that comes later than this after the one before shows that nothing ran in between.
const STALL_MS = 20

/** Notes when this process's event loop stood still, so that lateness of its own making can be told apart. */
export class EventLoopWatch {
  readonly #stalls: Stall[] = []
  #lastMs = performance.now()
  #timer: NodeJS.Timeout

  constructor() {
    this.#timer = setInterval(() => this.#tick(), EVERY_MS)
  }

  stop(): void {
    this.#tick()
    clearInterval(this.#timer)
  }

  /** For how long of a span the loop stood still, in ms. */
  stalledMs(fromMs: number, toMs: number): number {
    const overlaps = this.#stalls.map((stall) => Math.min(stall.toMs, toMs) - Math.max(stall.fromMs, fromMs))
    return overlaps.reduce((sum, overlap) => sum + Math.max(0, overlap), 0)
  }

  get longestStallMs(): number {
    return this.#stalls.reduce((longest, { fromMs, toMs }) => Math.max(longest, toMs - fromMs), 0)
  }

  #tick(): void {
    const nowMs = performance.now()
    if (nowMs - this.#lastMs > STALL_MS) this.#stalls.push({ fromMs: this.#lastMs + EVERY_MS, toMs: nowMs })
    this.#lastMs = nowMs
  }
}
