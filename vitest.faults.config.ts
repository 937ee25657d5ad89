import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { defineConfig } from 'vitest/config'

// These ask which suite runs, and do more rounds in this one.
const ASKS_FOR_SUITE = /inject\('suite'\)|registryContract\(/

const asking = readdirSync('test', { recursive: true, encoding: 'utf8' })
  .filter((path) => path.endsWith('.test.ts'))
  .map((path) => join('test', path))
  .filter((file) => ASKS_FOR_SUITE.test(readFileSync(file, 'utf8')))

/** The long suites: under faults, and with many rounds. `npm test` runs short ones of them. */
export default defineConfig({
  test: {
    include: ['test/**/*.faults.ts', ...asking],
    globalSetup: ['test/support/global-setup.ts'],
    provide: { suite: 'long' },
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 300_000,
    hookTimeout: 120_000,
  },
})
