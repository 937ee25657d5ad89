import { inspect } from 'node:util'
import type { Violation } from './checks/evidence.ts'
import type { PlantedSecret } from './planted-secret.ts'
import type { StoreUnderTest } from './store-under-test.ts'

// At the first two express-session changes its ways; the last ends a process that does not listen.
const FORBIDDEN: readonly unknown[] = ['connect', 'disconnect', 'error']

/** Sees every event of some stores. */
export class EventWatch {
  readonly violations: Violation[] = []
  readonly counts = new Map<string, number>()
  readonly #planted: PlantedSecret

  constructor(stores: readonly StoreUnderTest[], planted: PlantedSecret) {
    this.#planted = planted
    for (const store of stores) {
      const emit = store.emit.bind(store)
      store.emit = (name, ...facts: unknown[]) => {
        this.#note(name, facts)
        return emit(name, ...facts)
      }
    }
  }

  #note(name: string | symbol, facts: readonly unknown[]): void {
    const label = String(name)
    this.counts.set(label, (this.counts.get(label) ?? 0) + 1)
    if (FORBIDDEN.includes(name)) this.violations.push({ check: 'forbidden event', detail: label })
    if (this.#planted.isIn(inspect(facts, { showHidden: true, depth: 8 }))) {
      this.violations.push({ check: 'secret leaked', detail: `in the event ${label}` })
    }
  }
}
