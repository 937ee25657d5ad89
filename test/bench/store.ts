/**
 * What each call of a store costs the process that makes it: every store on the same server, in a process of its own, in
 * turns. What is set or touched are Sessions as a request has them, each loaded before. A login is the first save of a
 * session that names a user, who has as many as are allowed; only ours know such a limit.
 */

import { startValkey } from '../support/valkey.ts'
import { type CandidateName, FLOORS, isAvailable, OURS, PEERS } from './candidates.ts'
import { SIZES } from './content.ts'
import type { Cost } from './cost.ts'
import { type Measurement, storeCase } from './result.ts'
import { type Bench, type Case, inRounds, scaled } from './rounds.ts'
import type { Operation, StoreTask } from './store-process.ts'
import { Subject } from './subject.ts'

const OPERATIONS: readonly Operation[] = [
  'get',
  'set',
  'touch',
  'touch that is due',
  'destroy',
  'login at cap',
]
const IN_FLIGHT = [1, 16, 64]
const CALLS = 1000

/** Small sessions by how many calls are in flight; larger ones with the most. */
const SETTINGS: readonly Setting[] = [
  ...IN_FLIGHT.map((inFlight) => ({ bytes: SIZES[0], inFlight })),
  ...SIZES.slice(1).map((bytes) => ({ bytes, inFlight: Math.max(...IN_FLIGHT) })),
]

interface Setting {
  readonly bytes: number
  readonly inFlight: number
}

export interface StoreTerms {
  readonly candidates?: readonly CandidateName[]
  readonly operations?: readonly Operation[]
  readonly settings?: readonly Setting[]
  readonly calls?: number
}

export async function run(bench: Bench, terms: StoreTerms = {}): Promise<Measurement[]> {
  const { operations = OPERATIONS, settings = SETTINGS } = terms
  const server = await startValkey()
  const subjects = new Map<CandidateName, Subject<StoreTask, Cost>>()
  for (const candidate of terms.candidates ?? [...OURS, ...PEERS, ...FLOORS]) {
    if (!(await isAvailable(candidate))) continue
    const place = { host: server.host, port: server.port }
    subjects.set(candidate, await Subject.start('store-process.ts', { candidate, place }))
  }
  const cases = operations.flatMap((operation) =>
    settings.map(({ bytes, inFlight }): Case => {
      const task = {
        operation,
        bytes,
        inFlight,
        calls: terms.calls ?? scaled(bytes > 4096 ? CALLS / 4 : CALLS, bench),
      }
      const trials = [...subjects]
        .filter(([candidate]) => does(candidate, operation))
        .map(([candidate, subject]) => ({ candidate, run: () => subject.ask(task) }))
      return { what: storeCase(operation, bytes, inFlight), trials }
    }),
  )
  try {
    return await inRounds(cases, bench)
  } finally {
    await Promise.all([...subjects.values()].map((subject) => subject.stop()))
    await server.stop()
  }
}

/** The floors only read and write; only ours have a touch that is not due, and a cap. */
function does(candidate: CandidateName, operation: Operation): boolean {
  if (operation === 'get' || operation === 'set') return true
  return !FLOORS.some((floor) => floor === candidate)
}
