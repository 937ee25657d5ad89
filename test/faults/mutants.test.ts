import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../package/library.ts'
import { mutants } from './mutants/mutants.ts'
import { type Patch, patched } from './mutants/mutated-build.ts'

// The long suite shows that the checker finds each; here a change of lib/ that moves the pinned text fails at once.
describe('each of the mutants under faults', () => {
  it.each(mutants.map(({ name, patches }) => [name, patches] as const))(
    '%s',
    (_name, patches: readonly Patch[]) => {
      const sources = new Map<string, string>()
      for (const patch of patches) {
        const source = sources.get(patch.file) ?? readFileSync(join(ROOT, 'lib', patch.file), 'utf8')
        sources.set(patch.file, patched(source, patch))
      }

      expect(sources.size).toBeGreaterThan(0)
    },
  )

  it('are at least 40', () => {
    expect(new Set(mutants.map(({ name }) => name)).size).toBeGreaterThanOrEqual(40)
  })
})
