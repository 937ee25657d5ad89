/** How often each outcome occurred. */
export class Tally<Outcome extends string> {
  readonly #counts = new Map<Outcome, number>()

  count(outcome: Outcome): void {
    this.#counts.set(outcome, (this.#counts.get(outcome) ?? 0) + 1)
  }

  of(...outcomes: readonly Outcome[]): number {
    return outcomes.reduce((sum, outcome) => sum + (this.#counts.get(outcome) ?? 0), 0)
  }

  get counts(): Readonly<Record<string, number>> {
    return Object.fromEntries([...this.#counts].sort())
  }

  /** One line for each outcome. */
  text(): string {
    const lines = Object.entries(this.counts).map(([outcome, count]) => `${outcome}: ${count}`)
    return lines.length === 0 ? 'nothing found' : lines.join('\n')
  }
}
