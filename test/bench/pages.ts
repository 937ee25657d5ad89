// Writes what results/ has into docs/BENCHMARKS.md, between `<!-- bench: name -->` and `<!-- /bench -->`, and into charts.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type Bar, barChart, lineChart } from './charts.ts'
import { type Result, type Results, ratioOf, type Spread, samplesOf, spreadOf, storeCase } from './result.ts'
import { captionOf, figureRange, markdown, sheetOf, tableOf } from './tables.ts'
import { figureOf, targetsOf, verdictOf } from './targets.ts'

export const ROOT = join(import.meta.dirname, '../..')
export const RESULTS = join(import.meta.dirname, 'results')
const PAGE = join(ROOT, 'docs/BENCHMARKS.md')
const IMAGES = join(ROOT, 'docs/images')

export function readResults(folder: string = RESULTS): Results {
  const files = existsSync(folder) ? readdirSync(folder).filter((file) => file.endsWith('.json')) : []
  const results = files.map((file) => JSON.parse(readFileSync(join(folder, file), 'utf8')) as Result)
  return Object.fromEntries(results.map((result) => [result.workload, result]))
}

export function writePages(): void {
  const results = readResults()
  mkdirSync(IMAGES, { recursive: true })
  for (const [name, chart] of chartsOf(results)) writeFileSync(join(IMAGES, name), chart)
  writeFileSync(PAGE, withBlocks(readFileSync(PAGE, 'utf8'), blocksOf(results)))
}

/** The page with each block as the results have it. What no result has yet stays empty. */
export function withBlocks(page: string, blocks: ReadonlyMap<string, string>): string {
  return page.replace(
    /(<!-- bench: (\w+) -->\n).*?(<!-- \/bench -->)/gs,
    (_, begin: string, name: string, end: string) =>
      `${begin}${blocks.get(name) ?? 'Not measured yet.'}\n${end}`,
  )
}

const IN_FLIGHT = [1, 16, 64]
const CALLS = ['get', 'set', 'touch', 'touch that is due', 'destroy', 'login at cap']
const REQUESTS = [
  'read-only',
  'writing',
  'login',
  'mixed 95/5',
  'read-only, one session',
  'writing, one session',
]

export function blocksOf(results: Results): ReadonlyMap<string, string> {
  const { store, http, proxy, server, growth, shards, auth, parts, soak } = results
  const blocks = new Map<string, string>([['targets', targetTable(results)]])
  const add = (name: string, result: Result | undefined, tables: (result: Result) => readonly string[]) => {
    if (result) blocks.set(name, [...tables(result), captionOf(result)].join('\n\n'))
  }
  add('store', store, (result) => [
    cpuTable(
      result,
      CALLS.map((call) => storeCase(call, 560, 64)),
    ),
    'The same by calls in flight and by size, `get` and `set`:',
    cpuTable(
      result,
      ['get', 'set'].flatMap((call) => IN_FLIGHT.map((count) => storeCase(call, 560, count))),
    ),
    cpuTable(
      result,
      ['get', 'set'].flatMap((call) => [4096, 32_768].map((bytes) => storeCase(call, bytes, 64))),
    ),
  ])
  add('http', http, (result) => [
    cpuTable(result, REQUESTS),
    'Requests a second, and the time that 50 % and 99 % of them take at the most, with all 16 clients:',
    sheetOf(
      result.measurements.filter(({ what }) => ['read-only', 'writing'].includes(what)),
      ['perSecond', 'p50Ms', 'p99Ms'],
    ),
  ])
  add('guard', http, (result) => [guardTable(result)])
  add('proxy', proxy, (result) => [sheetOf(result.measurements, ['p50Ms', 'p99Ms', 'perSecond'])])
  add('server', server, (result) => [
    sheetOf(
      result.measurements.filter(({ samples }) => samples['commands']),
      ['commands', 'roundTrips', 'serverMicros', 'scriptMicros', 'replicatedBytes'],
    ),
  ])
  add('memory', server, (result) => [
    sheetOf(
      result.measurements.filter(({ samples }) => samples['storedBytes']),
      ['storedBytes', 'endedBytes'],
    ),
  ])
  add('growth', growth, (result) => [
    sheetOf(
      result.measurements.filter(({ what }) => / stored$/.test(what) && !isWalk(what)),
      ['cpuMicros', 'p50Micros', 'p99Micros'],
    ),
    sheetOf(
      result.measurements.filter(({ what }) => isWalk(what)),
      ['tookMs', 'cpuMicros', 'heapMB', 'rssMB'],
      ['case'],
    ),
    sheetOf(
      result.measurements.filter(({ what }) => / of the user$/.test(what)),
      ['p50Micros', 'cpuMicros'],
      ['case'],
    ),
  ])
  add('shards', shards, (result) => [
    sheetOf(result.measurements, ['cpuMicros', 'perSecond', 'busiestPercent', 'allServersMicros']),
  ])
  add('auth', auth, (result) => [
    cpuTable(result, ['sign-in', 'refresh', 'requireAuth', 'requireAuth, live']),
  ])
  add('parts', parts, (result) => [sheetOf(result.measurements, ['micros'], ['part'])])
  add('soak', soak, (result) => [soakTable(result)])
  return blocks
}

function isWalk(what: string): boolean {
  return /^(length|all|all, iterated), \d+ stored$/.test(what)
}

function cpuTable(result: Result, cases: readonly string[]): string {
  return tableOf(result, { metric: 'cpuMicros', cases, first: 'CPU, µs' })
}

function targetTable(results: Results): string {
  return markdown(
    ['what', 'target', 'moonshot', 'measured', ''],
    targetsOf(results).map((target) => {
      const { what, limit, moonshot } = target
      return [
        what,
        `${limit.is} ${limit.than}`,
        moonshot === undefined ? '' : String(moonshot),
        figureOf(target),
        verdictOf(target),
      ]
    }),
  )
}

function guardTable(result: Result): string {
  const extra = (what: string): readonly string[] => {
    const [guarded, bare] = ['ours guarded', 'ours signed'].map((candidate) =>
      samplesOf(result, { what, candidate, metric: 'cpuMicros' }),
    )
    const more = guarded?.map((micros, round) => micros - (bare?.[round] ?? Number.NaN)) ?? []
    return [what, ...[bare, guarded, more].map((samples) => figureRange(spreadOf(samples ?? [])))]
  }
  return markdown(
    ['request', 'without the guard, µs', 'with it, µs', 'more, round by round'],
    REQUESTS.slice(0, 4).map(extra),
  )
}

function soakTable({ measurements }: Result): string {
  const { samples = {} } = measurements[0] ?? {}
  const quarter = Math.max(1, Math.floor((samples['minute']?.length ?? 0) / 4))
  const rows = ['heapMB', 'rssMB', 'handles', 'valkeyMB'].map((metric) => {
    const all = samples[metric] ?? []
    // The first look finds compilers at work and caches empty.
    const early = spreadOf(all.slice(quarter, 2 * quarter))
    return [metric, figureRange(early), figureRange(spreadOf(all.slice(-quarter)))]
  })
  const minutes = Math.round(10 * (samples['minute']?.at(-1) ?? 0)) / 10
  const requests = (samples['requests'] ?? []).reduce((sum, count) => sum + count, 0)
  const head = [
    `${minutes} minutes, ${requests.toLocaleString('en')} requests`,
    'second quarter',
    'last quarter',
  ]
  return markdown(head, rows)
}

export function chartsOf(results: Results): ReadonlyMap<string, string> {
  const { store, http, proxy, growth, auth } = results
  const charts = new Map<string, string>()
  if (store && http) charts.set('bench-summary.svg', summaryChart(store, http))
  if (store)
    charts.set(
      'bench-store.svg',
      barChart({
        title: 'CPU of a call, 560 bytes, 64 in flight',
        unit: 'µs',
        groups: ['get', 'set', 'login at cap'].map((call) => ({
          name: call,
          bars: barsOf(store, storeCase(call, 560, 64), 'cpuMicros'),
        })),
      }),
    )
  if (http)
    charts.set(
      'bench-http.svg',
      barChart({
        title: 'CPU of the app for a request, Express 5',
        unit: 'µs',
        groups: REQUESTS.slice(0, 4).map((name) => ({ name, bars: barsOf(http, name, 'cpuMicros') })),
      }),
    )
  if (proxy)
    charts.set(
      'bench-proxy.svg',
      barChart({
        title: 'p50 of a request where Valkey is 1 ms away, one client',
        unit: 'ms',
        groups: ['read-only', 'writing', 'login'].map((name) => ({
          name,
          bars: barsOf(proxy, `${name}, 1 client`, 'p50Ms'),
        })),
      }),
    )
  if (auth)
    charts.set(
      'bench-auth.svg',
      barChart({
        title: 'CPU of the app for a request with tokens',
        unit: 'µs',
        groups: ['sign-in', 'refresh', 'requireAuth', 'requireAuth, live'].map((name) => ({
          name,
          bars: barsOf(auth, name, 'cpuMicros'),
        })),
      }),
    )
  if (growth) for (const [name, chart] of growthCharts(growth)) charts.set(name, chart)
  return charts
}

/** What README shows: CPU as a share of connect-redis's, in one picture. */
function summaryChart(store: Result, http: Result): string {
  const share = (result: Result, what: string, candidate: string): Bar => {
    const of = (name: string) => samplesOf(result, { what, candidate: name, metric: 'cpuMicros' })
    return { name: candidate, value: ratioOf(of(candidate), of('connect-redis')) }
  }
  const one: Bar = { name: 'connect-redis', value: { median: 1, least: 1, most: 1 } }
  const call = (name: string) => ({
    name: `${name}, one call`,
    bars: [
      one,
      ...['ours signed', 'ours encrypted'].map((each) => share(store, storeCase(name, 560, 64), each)),
    ],
  })
  const request = (name: string) => ({
    name: `${name} request, the whole app`,
    bars: [one, ...['ours signed', 'ours encrypted', 'ours guarded'].map((each) => share(http, name, each))],
  })
  return barChart({
    title: 'CPU of the Node process',
    unit: 'connect-redis = 1; less is cheaper',
    groups: [request('read-only'), request('writing'), call('get'), call('set')],
  })
}

function barsOf(result: Result, what: string, metric: string): Bar[] {
  const named = result.measurements.filter((one) => one.what === what && one.samples[metric])
  return named.map(({ candidate, samples }) => ({ name: candidate, value: spreadOf(samples[metric] ?? []) }))
}

interface Growth {
  readonly name: string
  readonly title: string
  readonly unit: string
  readonly metric: string
  readonly lines: readonly (readonly [
    name: string,
    call: string,
    of: 'stored' | 'of the user',
    candidate?: string,
  ])[]
}

const GROWTHS: readonly Growth[] = [
  {
    name: 'get',
    title: '`get`',
    unit: 'CPU, µs',
    metric: 'cpuMicros',
    lines: [
      ['ours signed', 'get', 'stored'],
      ['connect-redis', 'get', 'stored', 'connect-redis'],
    ],
  },
  {
    name: 'login',
    title: 'A login',
    unit: 'CPU, µs',
    metric: 'cpuMicros',
    lines: [
      ['at the cap, by all stored', 'login at cap', 'stored'],
      ['no cap, by the user’s', 'login', 'of the user'],
    ],
  },
  {
    name: 'touch',
    title: 'A touch that is due',
    unit: 'CPU, µs',
    metric: 'cpuMicros',
    lines: [['ours signed', 'touch that is due', 'stored']],
  },
  {
    name: 'list',
    title: '`registry.list`, at most 1,000',
    unit: 'p50, µs',
    metric: 'p50Micros',
    lines: [
      ['list', 'list', 'of the user'],
      ['count', 'count', 'of the user'],
    ],
  },
  {
    name: 'end-all',
    title: '`registry.endAll`',
    unit: 'µs',
    metric: 'p50Micros',
    lines: [['end all', 'end all', 'of the user']],
  },
  {
    name: 'all',
    title: 'All sessions',
    unit: 'ms',
    metric: 'tookMs',
    lines: [
      ['length()', 'length', 'stored'],
      ['all()', 'all', 'stored'],
      ['all(), iterated', 'all, iterated', 'stored'],
    ],
  },
  {
    name: 'memory',
    title: 'Heap that all sessions take',
    unit: 'MB',
    metric: 'heapMB',
    lines: [
      ['length()', 'length', 'stored'],
      ['all()', 'all', 'stored'],
      ['all(), iterated', 'all, iterated', 'stored'],
    ],
  },
]

function growthCharts(growth: Result): [string, string][] {
  return GROWTHS.map(({ name, title, unit, metric, lines }) => {
    const drawn = lines.map(([line, call, of, candidate = 'ours signed']) => ({
      name: line,
      points: pointsOf(growth, { call, of, candidate, metric }),
    }))
    const along = lines.some(([, , of]) => of === 'stored') ? 'sessions' : 'sessions of the user'
    const chart = lineChart({
      title: title.replaceAll('`', ''),
      unit,
      along,
      lines: drawn.filter(({ points }) => points.length > 0),
    })
    return [`bench-growth-${name}.svg`, chart]
  })
}

function pointsOf(
  growth: Result,
  {
    call,
    of,
    candidate,
    metric,
  }: { readonly call: string; readonly of: string; readonly candidate: string; readonly metric: string },
): (readonly [number, number])[] {
  return growth.measurements.flatMap((one) => {
    const [, name, size] = /^(.*), (\d+) (?:stored|of the user)$/.exec(one.what) ?? []
    if (name !== call || !one.what.endsWith(of) || one.candidate !== candidate) return []
    const value: Spread = spreadOf(one.samples[metric] ?? [])
    return [[Number(size), value.median] as const]
  })
}
