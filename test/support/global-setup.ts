import { serverBinary } from './valkey-binary.ts'

declare module 'vitest' {
  interface ProvidedContext {
    /** Which suite runs: `npm test` the short one, `npm run test:faults` the long one. */
    readonly suite: 'short' | 'long'
  }
}

/** Finds or fetches the server once, before any test needs it. Without one no test runs at all. */
export async function setup(): Promise<void> {
  await serverBinary()
}
