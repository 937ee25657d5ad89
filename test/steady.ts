// Runs the whole suite several times in a row while busy loops take every core: `npm run test:steady -- [runs]`.
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdirSync, readFileSync, rmSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'

const RUNS = Number(process.argv[2] ?? 5)
const FOLDER = join(import.meta.dirname, '../.cache/steady')

interface Report {
  readonly numPassedTests: number
  readonly numPendingTests: number
  readonly success: boolean
  readonly testResults: readonly {
    readonly name: string
    readonly status: string
    readonly message: string
    readonly assertionResults: readonly { readonly status: string; readonly fullName: string }[]
  }[]
}

if (!Number.isInteger(RUNS) || RUNS < 1)
  throw new TypeError('test:steady takes the number of runs, such as 5')
rmSync(FOLDER, { recursive: true, force: true })
mkdirSync(FOLDER, { recursive: true })

const loops = Array.from({ length: availableParallelism() }, busyLoop)
const outcomes: boolean[] = []
try {
  console.log(`${RUNS} runs of npm test beside ${loops.length} busy loops`)
  for (let run = 1; run <= RUNS; run += 1) outcomes.push(await isGreen(run))
} finally {
  for (const loop of loops) loop.kill('SIGKILL')
}
const green = outcomes.filter(Boolean).length
console.log(`${green} of ${RUNS} runs green`)
process.exitCode = green === RUNS ? 0 : 1

// Ends by itself when this process is gone: its pipe closes, and it looks at it now and then.
function busyLoop(): ChildProcess {
  const script = `
    process.stdin.on('close', () => process.exit()).resume()
    setInterval(() => { for (const end = Date.now() + 500; Date.now() < end; ); }, 1)`
  return spawn(process.execPath, ['-e', script], { stdio: ['pipe', 'ignore', 'ignore'] })
}

async function isGreen(run: number): Promise<boolean> {
  const file = join(FOLDER, `run-${run}.json`)
  const began = performance.now()
  const args = ['test', '--', '--reporter=json', `--outputFile=${file}`]
  const suite = spawn('npm', args, { stdio: ['ignore', 'ignore', 'ignore'] })
  await once(suite, 'exit')
  const report = readReport(file)
  const seconds = Math.round((performance.now() - began) / 1000)
  const failed = report?.testResults.flatMap(failuresOf) ?? ['the suite did not run to its end']
  const passed = report?.numPassedTests ?? 0
  const skipped = report?.numPendingTests ?? 0
  console.log(
    `run ${run}: ${passed} passed, ${failed.length} failed, ${skipped} skipped in ${seconds} s; ${file}`,
  )
  for (const name of failed) console.log(`  ${name}`)
  return report?.success === true && failed.length === 0 && passed > 0
}

function readReport(file: string): Report | undefined {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as Report
  } catch {
    return undefined
  }
}

/** A file that cannot be loaded, or whose `beforeAll` fails, has no failed test of its own. */
function failuresOf({ name, status, message, assertionResults }: Report['testResults'][number]): string[] {
  const names = assertionResults
    .filter((test) => test.status === 'failed')
    .map(({ fullName }) => `${name}: ${fullName}`)
  return names.length === 0 && status === 'failed' ? [`${name}: ${message}`] : names
}
