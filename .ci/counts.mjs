// Prints the closing line of a test run from Vitest's JSON report; exits non-zero unless tests ran and none failed.
import { existsSync, readFileSync } from 'node:fs'

const [, , file] = process.argv
if (!existsSync(file)) {
  console.log('The tests did not run to their end: there is no report')
  process.exit(1)
}
const report = JSON.parse(readFileSync(file, 'utf8'))

// A file that cannot be loaded, or whose beforeAll fails, has no failed test of its own.
const brokenFiles = report.testResults.filter(
  ({ status, assertionResults }) =>
    status === 'failed' && !assertionResults.some((test) => test.status === 'failed'),
)
const passed = report.numPassedTests
const failed = report.numFailedTests + brokenFiles.length
const skipped = report.numPendingTests + report.numTodoTests

console.log(`${passed} passed, ${failed} failed, ${skipped} skipped`)
process.exitCode = report.success && failed === 0 && passed > 0 ? 0 : 1
