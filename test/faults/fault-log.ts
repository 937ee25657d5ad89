export interface FaultEntry {
  readonly kind: string
  readonly where: string
  readonly fromMs: number
  toMs: number
}

/** Every fault of a run. */
export class FaultLog {
  readonly entries: FaultEntry[] = []
  readonly #startMs = performance.now()

  begin(kind: string, where: string): FaultEntry {
    const entry = { kind, where, fromMs: performance.now(), toMs: Number.POSITIVE_INFINITY }
    this.entries.push(entry)
    return entry
  }

  get kinds(): ReadonlySet<string> {
    return new Set(this.entries.map(({ kind }) => kind))
  }

  /** For people, when something went wrong: one line per fault, times in ms since the log began. */
  print(): string {
    return this.entries
      .map(({ kind, where, fromMs, toMs }) => `${this.#since(fromMs)}–${this.#since(toMs)} ${where}: ${kind}`)
      .join('\n')
  }

  #since(ms: number): string {
    return ms === Number.POSITIVE_INFINITY ? '…' : (ms - this.#startMs).toFixed(0)
  }
}
