import { defineConfig } from 'vitest/config'

/** The long suites: under faults, and with many rounds. `npm test` runs short ones of them. */
export default defineConfig({
  test: {
    include: [
      'test/**/*.faults.ts',
      // These ask which suite it is, and run more rounds in this one.
      'test/backend/valkey/replica-confirmation.test.ts',
      'test/cli/scans.test.ts',
      'test/http/taint-moves.test.ts',
      'test/registry/concurrent-sign-ins.test.ts',
      'test/registry/interleavings.test.ts',
      'test/store/lost-update.test.ts',
    ],
    globalSetup: ['test/support/global-setup.ts'],
    provide: { suite: 'long' },
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 300_000,
    hookTimeout: 120_000,
  },
})
