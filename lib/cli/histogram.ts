const BAR_CELLS = 40

/** Counts values between bounds. */
export class Histogram {
  readonly #bounds: readonly number[]
  readonly #name: (bound: number) => string
  readonly #counts: number[]

  /** `bounds` rise; the last bucket takes what is beyond them. */
  constructor(bounds: readonly number[], name: (bound: number) => string) {
    this.#bounds = bounds
    this.#name = name
    this.#counts = Array.from({ length: bounds.length + 1 }, () => 0)
  }

  add(value: number): void {
    const found = this.#bounds.findIndex((bound) => value < bound)
    const at = found < 0 ? this.#bounds.length : found
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
  }

  /** Each bucket by what its values are less than; `null` for the last. */
  counts(): readonly { readonly below: number | null; readonly count: number }[] {
    return this.#counts.map((count, at) => ({ below: this.#bounds[at] ?? null, count }))
  }

  /** One bar for each bucket, the fullest of 40 cells. */
  draw(): string {
    const most = Math.max(1, ...this.#counts)
    const names = this.#counts.map((_, at) => this.#label(at))
    const width = Math.max(...names.map(({ length }) => length))
    const line = (count: number, at: number) =>
      `  ${(names[at] ?? '').padStart(width)}  ${'█'.repeat(Math.ceil((count / most) * BAR_CELLS))} ${count}`
    return this.#counts.map(line).join('\n')
  }

  #label(at: number): string {
    const bound = this.#bounds[at]
    return bound === undefined ? `≥ ${this.#name(this.#bounds[at - 1] ?? 0)}` : `< ${this.#name(bound)}`
  }
}

/** Bytes in a form for people. */
export function sizeOf(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`
  const unit = bytes < 1024 ** 2 ? 'KiB' : bytes < 1024 ** 3 ? 'MiB' : 'GiB'
  const scaled = bytes / 1024 ** { KiB: 1, MiB: 2, GiB: 3 }[unit]
  return `${Number(scaled.toFixed(1))} ${unit}`
}
