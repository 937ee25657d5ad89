/** What a workload measured. Kept as JSON in results/, from which tables, charts and targets are made. */
export interface Result {
  readonly workload: string
  /** When the run ended, as `2026-12-01`. */
  readonly date: string
  /** Of this package. */
  readonly commit: string
  readonly machine: Machine
  readonly settings: Readonly<Record<string, number>>
  readonly measurements: readonly Measurement[]
}

export interface Machine {
  readonly cpus: string
  /** The load average of the last minute before and after the run: what else the machine had to do. */
  readonly load: readonly [before: number, after: number]
  readonly versions: Readonly<Record<string, string>>
}

/** One case of a workload, of one candidate: a sample of each metric per round. */
export interface Measurement {
  readonly what: string
  readonly candidate: string
  readonly samples: Samples
}

/** By metric, whose name has the unit: `cpuMicros`, `perSecond`, `p50Ms`. */
export type Samples = Readonly<Record<string, readonly number[]>>

/** The results of a run, by workload. */
export type Results = Readonly<Partial<Record<string, Result>>>

export interface Spread {
  readonly median: number
  readonly least: number
  readonly most: number
}

export function spreadOf(samples: readonly number[]): Spread {
  const sorted = samples.toSorted((one, other) => one - other)
  const [low = Number.NaN, high = Number.NaN] = [sorted[(sorted.length - 1) >> 1], sorted[sorted.length >> 1]]
  return { median: (low + high) / 2, least: sorted[0] ?? Number.NaN, most: sorted.at(-1) ?? Number.NaN }
}

export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
}

export function samplesOf(
  result: Result | undefined,
  { what, candidate, metric }: { readonly what: string; readonly candidate: string; readonly metric: string },
): readonly number[] {
  const measured = result?.measurements.find((one) => one.what === what && one.candidate === candidate)
  return measured?.samples[metric] ?? []
}

/** One divided by the other, round by round: what slows a whole round down slows both. */
export function ratioOf(one: readonly number[], other: readonly number[]): Spread {
  return spreadOf(one.slice(0, other.length).map((value, round) => value / (other[round] ?? Number.NaN)))
}

/** How the workload `store` names a case. */
export function storeCase(operation: string, bytes: number, inFlight: number): string {
  return `${operation}, ${bytes} B, ${inFlight} in flight`
}

/** JSON with a line for each measurement, so that a run changes lines rather than one long one. */
export function stringify({ measurements, ...about }: Result): string {
  const head = JSON.stringify(about, undefined, 2).slice(0, -2)
  const lines = measurements.map((measurement) => `    ${JSON.stringify(measurement)}`)
  return `${head},\n  "measurements": [\n${lines.join(',\n')}\n  ]\n}\n`
}
