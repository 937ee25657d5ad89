import { defineConfig } from 'vitest/config'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    exclude: ['test/package/consumers/**'],
    globalSetup: ['test/support/global-setup.ts'],
    provide: { suite: 'short' },
    // Processes, not threads: a test's servers end with the process that started them.
    pool: 'forks',
    maxWorkers: 2,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
