import type { Progress } from './progress.ts'
import type { Measurement } from './result.ts'

/** What a workload is asked for on the command line. */
export interface Bench {
  /** As a part of the usual number, how many calls and requests make up one figure. */
  readonly scale: number
  readonly rounds: number
  /** How long the soak runs. */
  readonly minutes: number
  /** The most sessions that growth stores. */
  readonly sessions: number
  readonly progress: Progress
}

/** The number of calls or requests, by the scale of the run. */
export function scaled(usual: number, { scale }: Bench): number {
  return Math.max(16, Math.round(usual * scale))
}

/** What one candidate does for one case. */
export interface Trial {
  readonly candidate: string
  readonly run: () => Promise<Readonly<Record<string, number>>>
}

/** A case, and the candidates that are compared in it. */
export interface Case {
  readonly what: string
  readonly trials: readonly Trial[]
}

/**
 * Runs every trial of every case once a round, after one round that only warms up. The candidates of a case run directly
 * after one another, and each round begins with another one: what else the machine does meets all of them alike.
 */
export async function inRounds(cases: readonly Case[], bench: Bench): Promise<Measurement[]> {
  const { rounds, progress } = bench
  const trialCount = cases.reduce((sum, { trials }) => sum + trials.length, 0)
  progress.expect(trialCount * (rounds + 1))
  const samples = new Map<Trial, Record<string, number[]>>()
  for (let round = 0; round <= rounds; round += 1) {
    for (const { what, trials } of cases) {
      for (const [turn] of trials.entries()) {
        const trial = trials[(turn + round) % trials.length]
        if (trial === undefined) continue
        progress.step(round === 0 ? `${what}, warming up` : what)
        const measured = await trial.run()
        if (round > 0) add(samples, trial, measured)
      }
    }
  }
  return cases.flatMap(({ what, trials }) =>
    trials.map((trial) => ({ what, candidate: trial.candidate, samples: samples.get(trial) ?? {} })),
  )
}

function add(
  samples: Map<Trial, Record<string, number[]>>,
  trial: Trial,
  measured: Readonly<Record<string, number>>,
): void {
  const kept = samples.get(trial) ?? {}
  for (const [metric, value] of Object.entries(measured)) {
    kept[metric] = [...(kept[metric] ?? []), Number(value.toPrecision(4))]
  }
  samples.set(trial, kept)
}
