import type { WorkloadMutant } from './mutant.ts'

const REFUSING = ['no replica', 'failed snapshot', 'demotion to replica']
const SAVER = 'store/save-session.ts'

/** Mutants of how concurrent saves come together. */
export const saveMutants: readonly WorkloadMutant[] = [
  {
    name: 'the last save takes all',
    patches: [
      {
        file: 'session/merge.ts',
        from: `return overlay(theirs, ours, changesBetween(base, ours))`,
        to: 'return ours',
      },
    ],
    found: ['write lost'],
  },
  {
    name: 'a conflict counts as stored',
    patches: [
      {
        file: SAVER,
        from: `if (result.outcome === 'stored') { tracked.stored(result.record)`,
        to: `if (result.outcome === 'conflict') return
          if (result.outcome === 'stored') { tracked.stored(result.record)`,
      },
    ],
    found: ['write lost'],
  },
  {
    name: 'what a failed save changed is forgotten',
    patches: [
      {
        file: 'store/tracked-session.ts',
        from: 'this.#unsavedSince ??= { base: pending.base } if (this.#view === pending.ours) this.#view = this.#unsavedSince.base',
        to: 'void pending',
      },
    ],
    found: ['write lost'],
    faults: REFUSING,
    lastingMs: 30,
  },
]
