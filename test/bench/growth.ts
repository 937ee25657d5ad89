/**
 * What changes as more is stored: sessions in all, and sessions of one user. The sessions of nobody are written by the
 * floor program, which makes the same bytes in less time.
 */

import { startValkey } from '../support/valkey.ts'
import type { CandidateName, Place } from './candidates.ts'
import type { Cost } from './cost.ts'
import type { GrowthTask, UserCall, WalkCall } from './growth-process.ts'
import type { Measurement, Samples } from './result.ts'
import { type Bench, type Case, inRounds, scaled } from './rounds.ts'
import type { Operation, StoreTask } from './store-process.ts'
import { Subject } from './subject.ts'

type Measured = Readonly<Record<string, number>>
/** `undefined` for what the store has not. */
type Growing = Subject<GrowthTask, Measured | undefined>

const PREFIX = 'signed'
const CALLS: readonly Operation[] = ['get', 'set', 'touch that is due', 'login at cap']
const WALKS: readonly WalkCall[] = ['length', 'all', 'all, iterated']
const OF_USER: readonly UserCall[] = ['count', 'list', 'login', 'end all']
/** All of them in an array take more memory than a process has by default. */
const MOST_IN_ARRAY = 100_000

export async function run(bench: Bench): Promise<Measurement[]> {
  return [...(await storedGrowth(bench)), ...(await userGrowth(bench))]
}

/** A server with so many sessions, and the processes that use it. */
interface Stage {
  readonly size: number
  readonly growing: Growing
  readonly stores: ReadonlyMap<CandidateName, Subject<StoreTask, Cost>>
  readonly stop: () => Promise<void>
}

/** All sizes are there at once, so that they take turns. */
async function storedGrowth(bench: Bench): Promise<Measurement[]> {
  const stages: Stage[] = []
  const sizes = powers(1000, bench.sessions)
  bench.progress.expect(sizes.length * (1 + WALKS.length))
  try {
    for (const size of sizes) {
      bench.progress.step(`storing ${size} sessions`)
      stages.push(await stageOf(size))
    }
    const walks: Measurement[] = []
    for (const { size, growing } of stages) {
      for (const walk of WALKS) {
        bench.progress.step(`${walk} of ${size} sessions`)
        if (walk === 'all' && size > MOST_IN_ARRAY) continue
        const measured = await growing.ask({ kind: walk })
        const what = `${walk}, ${size} stored`
        if (measured) walks.push({ what, candidate: 'ours signed', samples: samplesOf([measured]) })
      }
    }
    return [...(await inRounds(callCases(bench, stages), bench)), ...walks]
  } finally {
    await Promise.all(stages.map((stage) => stage.stop()))
  }
}

async function stageOf(size: number): Promise<Stage> {
  const server = await startValkey()
  const place = { host: server.host, port: server.port }
  const growing: Growing = await startGrowing(place)
  await growing.ask({ kind: 'fill', count: size })
  const stores = new Map<CandidateName, Subject<StoreTask, Cost>>()
  for (const candidate of ['ours signed', 'connect-redis'] as const)
    stores.set(candidate, await Subject.start('store-process.ts', { candidate, place }))
  const stop = async () => {
    await Promise.all([...stores.values(), growing].map((process) => process.stop()))
    await server.stop()
  }
  return { size, growing, stores, stop }
}

function callCases(bench: Bench, stages: readonly Stage[]): Case[] {
  return CALLS.flatMap((operation) =>
    stages.map(({ size, stores }): Case => {
      const task = { operation, bytes: 560, inFlight: 16, calls: scaled(1000, bench) }
      const trials = [...stores]
        .filter(([candidate]) => candidate !== 'connect-redis' || operation === 'get' || operation === 'set')
        .map(([candidate, store]) => ({ candidate, run: () => store.ask(task) }))
      return { what: `${operation}, ${size} stored`, trials }
    }),
  )
}

async function userGrowth(bench: Bench): Promise<Measurement[]> {
  const sizes = powers(1, Math.min(100_000, bench.sessions / 10))
  // Each user of 100,000 takes as long as all others together.
  const roundsOf = (size: number) => (size > 10_000 ? 1 : bench.rounds)
  bench.progress.expect(sizes.reduce((sum, size) => sum + roundsOf(size), 0))
  const samples = new Map<string, Measured[]>()
  const server = await startValkey()
  const growing = await startGrowing({ host: server.host, port: server.port })
  try {
    for (const size of sizes) {
      for (let round = 0; round < roundsOf(size); round += 1) {
        bench.progress.step(`a user with ${size} sessions`)
        const user = `user-${size}-${round}`
        await growing.ask({ kind: 'sign in', user, count: size })
        for (const call of OF_USER) {
          const calls = call === 'end all' ? 1 : Math.max(1, Math.min(50, Math.round(1000 / size)))
          const measured = await growing.ask({ kind: call, user, calls })
          const what = `${call}, ${size} of the user`
          samples.set(what, [...(samples.get(what) ?? []), measured ?? {}])
        }
      }
    }
  } finally {
    await growing.stop()
    await server.stop()
  }
  return [...samples].map(([what, measured]) => ({
    what,
    candidate: 'ours signed',
    samples: samplesOf(measured),
  }))
}

function startGrowing(place: Place): Promise<Growing> {
  return Subject.start('growth-process.ts', { place, prefix: PREFIX }, ['--expose-gc'])
}

function samplesOf(measured: readonly Measured[]): Samples {
  const names = Object.keys(measured[0] ?? {})
  return Object.fromEntries(
    names.map((name) => [name, measured.map((one) => Number((one[name] ?? Number.NaN).toPrecision(4)))]),
  )
}

/** From the first to the last, each ten times the one before. */
function powers(first: number, last: number): number[] {
  const all: number[] = []
  for (let size = first; size <= last; size *= 10) all.push(size)
  return all
}
