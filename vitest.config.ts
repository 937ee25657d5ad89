import { defineConfig } from 'vitest/config'
import { SlowFirst } from './test/support/slow-first.ts'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/package/consumers/**'],
    globalSetup: ['test/support/global-setup.ts'],
    provide: { suite: 'short' },
    // Processes, not threads: a test's servers end with the process that started them.
    pool: 'forks',
    // One more than two cores: tests often wait for a server, a timer or a process.
    maxWorkers: 3,
    sequence: { sequencer: SlowFirst },
    // Ends a test that hangs, and no slow one: runs under faults take a minute beside loops that keep every core busy.
    testTimeout: 240_000,
    hookTimeout: 240_000,
  },
})
