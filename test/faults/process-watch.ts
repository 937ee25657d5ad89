import type { Violation } from './checks/evidence.ts'

// Told of a server that was demoted or is away, which is done to some on purpose.
const DESERVED: readonly string[] = ['UnsafeServerWarning', 'StoreUnavailableWarning']

/** Sees what no promise's owner caught, and what Node warns of. */
export class ProcessWatch {
  readonly violations: Violation[] = []
  readonly #onRejection = (reason: unknown) => this.#note('unhandled rejection', reason)
  readonly #onWarning = (warning: Error) => {
    if (!DESERVED.includes(warning.name)) this.#note('process warning', warning)
  }

  constructor() {
    process.on('unhandledRejection', this.#onRejection)
    process.on('warning', this.#onWarning)
  }

  stop(): void {
    process.off('unhandledRejection', this.#onRejection)
    process.off('warning', this.#onWarning)
  }

  #note(check: 'unhandled rejection' | 'process warning', what: unknown): void {
    this.violations.push({
      check,
      detail: what instanceof Error ? `${what.name}: ${what.message}` : typeof what,
    })
  }
}
