import { defineConfig } from 'tsdown'

export default defineConfig({
  entry: { index: 'lib/index.ts', auth: 'lib/auth/index.ts' },
  format: ['esm', 'cjs'],
  platform: 'node',
  target: 'node20.19',
  fixedExtension: false,
  dts: true,
  // No maps: they would point into lib/, which is not published, and the bundle is readable as it is.
  sourcemap: false,
  clean: true,
  logLevel: 'error',
  // In CI a warning fails the build. CommonJS is meant, and how long plugins take depends on the machine.
  checks: { legacyCjs: false, pluginTimings: false },
})
