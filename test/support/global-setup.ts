import { serverBinary } from './valkey-binary.ts'

/** Finds or fetches the server once, before any test needs it. Without one no test runs at all. */
export async function setup(): Promise<void> {
  await serverBinary()
}
