import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { barChart, lineChart } from './charts.ts'
import { blocksOf, chartsOf, ROOT, readResults, withBlocks } from './pages.ts'
import { type Result, ratioOf, type Samples, spreadOf, storeCase, stringify } from './result.ts'
import { isMet, targetsOf, verdictOf } from './targets.ts'

const NO_RUN = {
  commit: 'abc1234',
  date: '2026-12-01',
  machine: { cpus: '2 × one', load: [1, 2], versions: {} },
  settings: {},
} as const

function storeResult(samples: Readonly<Record<string, Samples>>): Result {
  const what = storeCase('get', 560, 64)
  const measurements = Object.entries(samples).map(([candidate, each]) => ({
    what,
    candidate,
    samples: each,
  }))
  return { workload: 'store', ...NO_RUN, measurements }
}

describe('docs/BENCHMARKS.md', () => {
  const results = readResults()
  const page = readFileSync(join(ROOT, 'docs/BENCHMARKS.md'), 'utf8')

  it('says what the kept results say; `npm run bench -- docs` writes it', () => {
    expect(withBlocks(page, blocksOf(results))).toBe(page)
  })

  it('has a place for every result', () => {
    for (const name of blocksOf(results).keys()) expect(page).toContain(`<!-- bench: ${name} -->`)
  })

  it('shows charts as the kept results have them, and no others', () => {
    const charts = chartsOf(results)
    const folder = join(ROOT, 'docs/images')
    const kept = readdirSync(folder).filter((name) => name.startsWith('bench-'))

    expect(kept.sort()).toEqual([...charts.keys()].sort())
    for (const [name, chart] of charts) expect(readFileSync(join(folder, name), 'utf8')).toBe(chart)
    const shown = [...page.matchAll(/\(images\/(bench-[\w-]+\.svg)\)/g)].map(([, name]) => name)
    expect([...shown, 'bench-summary.svg'].sort()).toEqual([...charts.keys()].sort())
  })
})

describe('What was measured', () => {
  it('is shown as the median of the rounds, and what they lie between', () => {
    expect(spreadOf([3, 1, 2])).toEqual({ median: 2, least: 1, most: 3 })
    expect(spreadOf([4, 1, 2, 3])).toEqual({ median: 2.5, least: 1, most: 4 })
  })

  it('is compared round by round, so that a slow round is slow for both', () => {
    expect(ratioOf([10, 40, 12], [20, 80, 24])).toEqual({ median: 0.5, least: 0.5, most: 0.5 })
  })

  it('is kept with a line for each measurement', () => {
    const result = storeResult({ 'ours signed': { cpuMicros: [1, 2] }, 'connect-redis': { cpuMicros: [3] } })

    expect(JSON.parse(stringify(result))).toEqual(result)
    expect(
      stringify(result)
        .split('\n')
        .filter((line) => line.includes('"what"')),
    ).toHaveLength(2)
  })
})

describe('A target', () => {
  const get = (ours: number[], peer: number[]) =>
    targetsOf({
      store: storeResult({ 'ours signed': { cpuMicros: ours }, 'connect-redis': { cpuMicros: peer } }),
    })[0]

  it('is met, not met or not measured, by the median', () => {
    const met = get([10, 10, 40], [12, 12, 12])
    const missed = get([12, 12, 2], [12, 12, 12])
    const [unmeasured] = targetsOf({})

    expect([met, missed, unmeasured].map((target) => target && isMet(target))).toEqual([
      true,
      false,
      undefined,
    ])
    expect(unmeasured && verdictOf(unmeasured)).toBe('not measured')
  })
})

describe('A chart', () => {
  it('has a bar as long as its figure, for each candidate', () => {
    const value = (median: number) => ({ median, least: median, most: median })
    const bars = [
      { name: 'ours signed', value: value(10) },
      { name: 'connect-redis', value: value(20) },
    ]
    const chart = barChart({ title: 'CPU & time', unit: 'µs', groups: [{ name: 'get', bars }] })
    const widths = [...chart.matchAll(/<rect x="170".*? width="([\d.]+)"/g)].map(([, width]) => Number(width))

    expect(widths[1]).toBeCloseTo(2 * (widths[0] ?? 0), 0)
    expect(chart).toContain('CPU &amp; time')
  })

  it('has a line through all points, in order', () => {
    const lines = [
      {
        name: 'get',
        points: [
          [1000, 5],
          [10_000, 10],
        ] as const,
      },
    ]
    const chart = lineChart({ title: 'get', unit: 'µs', along: 'sessions', lines })

    expect(chart.match(/<circle/g)).toHaveLength(2)
    expect(chart).toContain('>10,000</text>')
  })
})
