// npm run bench [-- names of workloads] [--quick] [--scale 1] [--rounds 5] [--minutes 10] [--sessions 1000000]
// Runs the workloads, keeps what they measured in results/, and prints which targets are met. `npm run bench -- docs`
// writes docs/BENCHMARKS.md and its charts from what is kept.
import { execFileSync } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { serverBinary } from '../support/valkey-binary.ts'
import { RESULTS, ROOT, readResults, writePages } from './pages.ts'
import { Progress } from './progress.ts'
import { type Measurement, type Result, stringify } from './result.ts'
import type { Bench } from './rounds.ts'
import { summaryOf } from './tables.ts'
import { targetLines } from './targets.ts'

const WORKLOADS = ['store', 'http', 'proxy', 'server', 'growth', 'shards', 'auth', 'parts', 'soak']
/** Run only when they are named. */
const EXTRA = ['watches']
const QUICK = '.cache/bench'

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    quick: { type: 'boolean', default: false },
    scale: { type: 'string' },
    rounds: { type: 'string' },
    minutes: { type: 'string' },
    sessions: { type: 'string' },
  },
})

const unknown = positionals.filter((name) => ![...WORKLOADS, ...EXTRA, 'docs'].includes(name))
if (unknown.length > 0)
  throw new TypeError(
    `There is no ${unknown.join(', ')}, but ${[...WORKLOADS, ...EXTRA].join(', ')} and docs`,
  )

if (positionals.includes('docs')) writePages()
else await runAll(positionals.length > 0 ? positionals : WORKLOADS)

async function runAll(names: readonly string[]): Promise<void> {
  const { quick: isQuick } = values
  const bench: Bench = {
    scale: Number(values.scale ?? (isQuick ? 0.1 : 1)),
    rounds: Number(values.rounds ?? (isQuick ? 1 : 5)),
    minutes: Number(values.minutes ?? (isQuick ? 0.2 : 10)),
    sessions: Number(values.sessions ?? (isQuick ? 1000 : 1_000_000)),
    progress: new Progress(),
  }
  const folder = isQuick ? QUICK : RESULTS
  mkdirSync(folder, { recursive: true })
  for (const name of names) {
    bench.progress.begin(name)
    const before = loadavg()[0] ?? Number.NaN
    const { run } = (await import(`./${name}.ts`)) as {
      readonly run: (bench: Bench) => Promise<Measurement[]>
    }
    const result = await resultOf(name, await run(bench), { bench, before })
    writeFileSync(join(folder, `${name}.json`), stringify(result))
    bench.progress.end()
    console.log(summaryOf(result))
  }
  console.log(['', ...targetLines(readResults(folder))].join('\n'))
}

async function resultOf(
  workload: string,
  measurements: readonly Measurement[],
  { bench, before }: { readonly bench: Bench; readonly before: number },
): Promise<Result> {
  const [cpu] = cpus()
  const names = [
    'iovalkey',
    'express',
    'express-session',
    'connect-redis',
    'redis6',
    'connect-valkey',
    '@valkey/valkey-glide',
  ]
  const versions = Object.fromEntries(names.map((name) => [name, versionOf(name)]))
  const { version } = await serverBinary()
  const round = (load: number | undefined) => Number((load ?? Number.NaN).toFixed(1))
  return {
    workload,
    commit: execFileSync('git', ['rev-parse', '--short', 'HEAD'], { encoding: 'utf8' }).trim(),
    date: new Date().toISOString().slice(0, 10),
    machine: {
      cpus: `${cpus().length} × ${cpu?.model.trim()}`,
      load: [round(before), round(loadavg()[0])],
      versions: { Node: process.versions.node, Valkey: version, ...versions },
    },
    settings: { scale: bench.scale, rounds: bench.rounds, minutes: bench.minutes, sessions: bench.sessions },
    measurements,
  }
}

function versionOf(name: string): string {
  const text = readFileSync(join(ROOT, `node_modules/${name}/package.json`), 'utf8')
  return (JSON.parse(text) as { readonly version: string }).version
}
