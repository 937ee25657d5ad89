import { randomBytes } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { describe, expect, it, onTestFinished } from 'vitest'
import { type ValkeyConnection, ValkeyStore } from '../../lib/index.ts'
import { until } from '../support/until.ts'
import { startCluster, startSentinels, startValkey } from '../support/valkey.ts'
import { type Ran, startCli } from './cli.ts'
import { fill } from './keyspace.ts'

const COUNT = Number(process.env['SCAN_SESSIONS'] ?? 100_000)
const TIMEOUT_MS = 30 * 60_000
const MAX_GROWTH_BYTES = 2 * 1024 * 1024
const SAMPLES = fileURLToPath(new URL('heap-samples.mjs', import.meta.url))
const [OLD, NEW] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]

interface Place {
  readonly name: string
  readonly words: readonly string[]
  readonly connection: ValkeyConnection
}

interface Scan {
  readonly words: readonly string[]
  /** How many sessions a run has handled, by what it printed. */
  readonly handled: (ran: Ran) => number
  /** How many the next run handles, given what an interrupted one did. */
  readonly next: (handled: number) => number
}

const jsonIn = ({ stdout }: Ran) => JSON.parse(stdout) as Record<string, number | boolean>
const counted = (name: string) => (ran: Ran) => Number(jsonIn(ran)[name] ?? 0)
const all = () => COUNT
const rest = (handled: number) => COUNT - handled

/** In this order: each finds what those before it have left. */
const SCANS: readonly Scan[] = [
  { words: ['sessions', 'list'], handled: ({ stdout }) => stdout.split('\n').length - 1, next: all },
  { words: ['sessions', 'count'], handled: counted('sessions'), next: all },
  { words: ['stats'], handled: counted('sessions'), next: all },
  { words: ['rewrap'], handled: counted('rewrapped'), next: rest },
  {
    words: ['export', 'connect-redis', '--to-prefix', 'old:', '--apply'],
    handled: counted('exported'),
    next: all,
  },
  {
    words: ['import', 'connect-redis', '--from-prefix', 'old:', '--prefix', 'anew', '--apply', '--delete'],
    handled: counted('adopted'),
    next: rest,
  },
]

async function startAt(kind: string): Promise<Place> {
  if (kind === 'one server') {
    const valkey = await startValkey()
    onTestFinished(() => valkey.stop())
    return { name: kind, words: ['--url', valkey.url], connection: { url: valkey.url } }
  }
  if (kind === 'sentinels') {
    const sentinels = await startSentinels({ downAfterMs: 20_000 })
    onTestFinished(() => sentinels.stop())
    const addresses = joined(sentinels.addresses)
    const connection = { sentinels: sentinels.addresses, sentinelName: sentinels.name }
    return {
      name: kind,
      words: ['--sentinels', addresses, '--sentinel-name', sentinels.name],
      connection,
    }
  }
  const cluster = await startCluster()
  onTestFinished(() => cluster.stop())
  const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }))
  return { name: kind, words: ['--nodes', joined(nodes)], connection: { nodes } }
}

const joined = (addresses: readonly { readonly host: string; readonly port: number }[]) =>
  addresses.map(({ host, port }) => `${host}:${port}`).join(',')

/** How much more memory is in use near the end than near the beginning. */
function growthOf({ stderr }: Ran): number {
  const samples = [...stderr.matchAll(/^heap (\d+)$/gm)].map(([, bytes]) => Number(bytes))
  const quarter = Math.ceil(samples.length / 4)
  // The first samples are of a program that is still loading.
  const [early, late] = [samples.slice(quarter, 2 * quarter), samples.slice(-quarter)]
  if (early.length === 0) throw new Error(`Too few samples: ${samples.length}`)
  return Math.min(...late) - Math.min(...early)
}

/** Interrupts a run on its way, and lets the next one come to its end. */
async function interrupted({ words, handled, next }: Scan, place: Place): Promise<void> {
  const env = { SESSION_KEYS: `${NEW},${OLD}` }
  const line = [...words, ...place.words, '--json', '--rate']
  const slow = startCli([...line, String(COUNT / 20)], env)
  await until(() => /^\d+ %, \d+ keys, \d+\/s, .* left$/m.test(slow.stderr()), { withinMs: 120_000 })
  slow.kill('SIGINT')
  const first = await slow.finished
  const watched = ['--expose-gc', '--import', SAMPLES]
  const second = await startCli([...line, String(COUNT / 4)], env, watched).finished

  const done = handled(first)
  expect([first.code, done > 0, done < COUNT]).toEqual([130, true, true])
  expect([second.code, handled(second)]).toEqual([0, next(done)])
  expect(second.stderr).toMatch(/^100 %, \d+ keys, \d+\/s/m)
  expect(growthOf(second)).toBeLessThan(MAX_GROWTH_BYTES)
}

describe.each(['one server', 'a cluster', 'sentinels'])(`With ${COUNT} sessions on %s`, (kind) => {
  it('every scanning command shows how far it is, is interrupted and resumed, and takes no more memory', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const place = await startAt(kind)
    const store = new ValkeyStore({
      connection: place.connection,
      secrets: [OLD],
      connectTimeoutMs: 10_000,
      commandTimeoutMs: 20_000,
    })
    onTestFinished(() => store.close())
    await fill(store, COUNT)

    for (const scan of SCANS) {
      const began = performance.now()
      await interrupted(scan, place)
      console.log(`${kind}: ${scan.words.join(' ')}: ${Math.round((performance.now() - began) / 1000)} s`)
    }
  })
})
