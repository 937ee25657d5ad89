const MAX_AGE_MS = 60_000

interface Anchor {
  /** The server's time at the local monotonic time `atMs`. */
  readonly serverMs: number
  readonly atMs: number
  /** How far off it may be: half the round trip that brought it. */
  readonly errorMs: number
}

/**
 * The server's clock, read here without a round trip: the last good reading, carried on by this process's
 * monotonic clock. The wall clock of this machine is never asked, so it may be wrong, or jump.
 */
export class ServerClock {
  #anchor: Anchor | undefined

  /** Notes the server's time as a reply gave it; `sentAtMs` is {@link ServerClock.stamp} before it was asked. */
  observe(serverMs: number, sentAtMs: number): void {
    const receivedAtMs = performance.now()
    const reading = { serverMs, atMs: (sentAtMs + receivedAtMs) / 2, errorMs: (receivedAtMs - sentAtMs) / 2 }
    if (
      !this.#anchor ||
      this.#isStale() ||
      reading.errorMs <= this.#anchor.errorMs ||
      this.#contradicts(reading)
    ) {
      this.#anchor = reading
    }
  }

  stamp(): number {
    return performance.now()
  }

  /** The server's time in whole ms, `undefined` if it was not observed for a minute. */
  read(): number | undefined {
    if (!this.#anchor || this.#isStale()) return undefined
    return Math.floor(timeAt(this.#anchor, performance.now()))
  }

  #isStale(): boolean {
    return this.#anchor !== undefined && performance.now() - this.#anchor.atMs > MAX_AGE_MS
  }

  // Another primary, or a server whose clock was set: the newest reading counts, however slow it came.
  #contradicts(reading: Anchor): boolean {
    if (!this.#anchor) return false
    const offMs = Math.abs(timeAt(this.#anchor, reading.atMs) - reading.serverMs)
    return offMs > reading.errorMs + this.#anchor.errorMs + 1
  }
}

function timeAt(anchor: Anchor, atMs: number): number {
  return anchor.serverMs + (atMs - anchor.atMs)
}
