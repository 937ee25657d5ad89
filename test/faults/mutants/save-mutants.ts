import type { WorkloadMutant } from './mutant.ts'

const REFUSING = ['no replica', 'failed snapshot', 'demotion to replica']
const SAVER = 'store/session-saver.ts'

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
        from: `if (answer === 'stored') { copy.stored(record)`,
        to: `if (answer === 'stored' || answer === 'conflict') { copy.stored(record)`,
      },
    ],
    found: ['write lost'],
  },
  {
    name: 'what a failed save changed is forgotten',
    patches: [
      {
        file: 'store/session-copy.ts',
        from: 'this.#unsavedSince ??= { base: draft.base } if (this.#view === draft.ours) this.#view = this.#unsavedSince.base',
        to: 'void draft',
      },
    ],
    found: ['write lost'],
    faults: REFUSING,
    lastingMs: 30,
  },
]
