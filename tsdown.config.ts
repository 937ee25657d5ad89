import { defineConfig, type UserConfig } from 'tsdown'

const shared: UserConfig = {
  platform: 'node',
  target: 'node20.19',
  fixedExtension: false,
  // No maps: they would point into lib/, which is not published, and the bundle is readable as it is.
  sourcemap: false,
  logLevel: 'error',
  // In CI a warning fails the build. CommonJS is meant, and how long plugins take depends on the machine.
  checks: { legacyCjs: false, pluginTimings: false },
}

export default defineConfig([
  {
    ...shared,
    entry: { index: 'lib/index.ts', auth: 'lib/auth/index.ts' },
    format: ['esm', 'cjs'],
    dts: true,
    clean: true,
    // What both entries use is in chunks of its own: else index.cjs would export, and auth.cjs load, what it does not mean to.
    outputOptions: {
      codeSplitting: {
        groups: [
          { name: 'runtime', test: /rolldown.runtime/ },
          // Not the declarations, which have chunks of their own.
          { name: 'shared', test: /(?<!\.d)\.[cm]?[jt]s$/, minShareCount: 2 },
        ],
      },
    },
  },
  // A program of its own: nobody who imports the package loads it.
  { ...shared, entry: { cli: 'lib/cli/cli.ts' }, format: ['esm'], dts: false, clean: false },
])
