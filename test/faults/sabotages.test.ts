import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { ROOT } from '../package/library.ts'
import { type Patch, patched } from './broken-build.ts'
import { probedSabotages } from './probes.ts'
import { sabotages } from './sabotages.ts'

// That each is found out is for the long suite; that each still is a change of lib/ is told here, with the change that moved it.
describe('each of the sabotages under faults', () => {
  const all = [...sabotages, ...probedSabotages]

  it.each(all.map(({ name, patches }) => [name, patches] as const))(
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
    expect(new Set(all.map(({ name }) => name)).size).toBeGreaterThanOrEqual(40)
  })
})
