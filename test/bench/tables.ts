import { figure } from './charts.ts'
import { type Measurement, type Result, type Spread, spreadOf } from './result.ts'

/** How a metric is called where it is shown, and in which unit. */
export const METRICS: Readonly<Record<string, string>> = {
  cpuMicros: 'CPU, µs',
  perSecond: 'a second',
  p50Micros: 'p50, µs',
  p99Micros: 'p99, µs',
  p50Ms: 'p50, ms',
  p99Ms: 'p99, ms',
  commands: 'commands',
  roundTrips: 'round trips',
  serverMicros: 'Valkey, µs',
  scriptMicros: 'of it scripts, µs',
  replicatedBytes: 'replicated, bytes',
  storedBytes: 'stored, bytes',
  endedBytes: 'once ended, bytes',
  busiestPercent: 'busiest server, % of commands',
  allServersMicros: 'all servers, µs',
  micros: 'µs',
  tookMs: 'ms',
  heapMB: 'heap, MB',
  rssMB: 'resident, MB',
}

export function named(metric: string): string {
  return METRICS[metric] ?? metric
}

/** A figure as a table shows it: the median of the rounds, and what all of them lie between. */
export function figureRange({ median, least, most }: Spread): string {
  if (Number.isNaN(median)) return '–'
  return least === most ? figure(median) : `${figure(median)} (${figure(least)} to ${figure(most)})`
}

/** Cases down, candidates across, one metric. */
export function tableOf(
  result: Result,
  {
    metric,
    cases,
    first = 'case',
  }: { readonly metric: string; readonly cases: readonly string[]; readonly first?: string },
): string {
  const of = (what: string) => result.measurements.filter((one) => one.what === what && one.samples[metric])
  const candidates = [...new Set(cases.flatMap((what) => of(what).map(({ candidate }) => candidate)))]
  const cell = (what: string, candidate: string) => {
    const samples = of(what).find((one) => one.candidate === candidate)?.samples[metric]
    return samples === undefined ? '–' : figureRange(spreadOf(samples))
  }
  return markdown(
    [first, ...candidates],
    cases.map((what) => [what, ...candidates.map((candidate) => cell(what, candidate))]),
  )
}

/** Cases and candidates down, metrics across. */
export function sheetOf(
  measurements: readonly Measurement[],
  metrics: readonly string[],
  first: readonly string[] = ['case', 'candidate'],
): string {
  return markdown(
    [...first, ...metrics.map(named)],
    measurements.map(({ what, candidate, samples }) => [
      ...[what, candidate].slice(0, first.length),
      ...metrics.map((metric) =>
        samples[metric] === undefined ? '–' : figureRange(spreadOf(samples[metric] ?? [])),
      ),
    ]),
  )
}

export function markdown(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)].join('\n')
}

/** Where and when it was measured. */
export function captionOf({ commit, date, machine, settings }: Result): string {
  const [before, after] = machine.load
  const versions = Object.entries(machine.versions).map(
    ([name, version]) => `${name.replace('redis6', 'redis')} ${version}`,
  )
  const load = `load average ${before} before and ${after} after`
  return `Commit ${commit}, ${date}, ${machine.cpus}, ${load}; ${versions.join(', ')}; ${settings['rounds']} rounds.`
}

/** What a terminal shows when a workload is over. */
export function summaryOf(result: Result): string {
  const lines = result.measurements.map(({ what, candidate, samples }) => {
    const figures = Object.entries(samples).map(
      ([metric, values]) => `${named(metric)} ${figureRange(spreadOf(values))}`,
    )
    return `  ${what.padEnd(36)} ${candidate.padEnd(20)} ${figures.join(' · ')}`
  })
  return [`\n${result.workload}: ${captionOf(result)}`, ...lines].join('\n')
}
