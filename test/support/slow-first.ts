import { BaseSequencer, type TestSpecification } from 'vitest/node'

// Small files that take long. Vitest begins with large ones where no earlier run has left its times, as in CI.
const SLOW = [
  'test/faults/short.test.ts',
  'test/package/consumers.test.ts',
  'test/e2e/program.test.ts',
  'test/e2e/labs.test.ts',
  'test/http/node-versions.test.ts',
  'test/package/examples.test.ts',
  'test/registry/concurrent-sign-ins.test.ts',
]

/** Starts the slowest files first, so that no worker is left with one of them at the end. */
export class SlowFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const isSlow = ({ moduleId }: TestSpecification) => SLOW.some((file) => moduleId.endsWith(file))
    return [...sorted.filter(isSlow), ...sorted.filter((file) => !isSlow(file))]
  }
}
