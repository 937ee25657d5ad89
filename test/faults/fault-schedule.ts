import { setTimeout as delay } from 'node:timers/promises'
import type { Random } from '../support/random.ts'
import type { FaultKind, FaultLane } from './fault-kind.ts'
import type { FaultLog } from './fault-log.ts'

/** Runs lanes of faults side by side until it is told to stop; what is wrong then is put right first. */
export class FaultSchedule {
  readonly #log: FaultLog
  readonly #stop = new AbortController()
  readonly #lanes: Promise<unknown>

  constructor(lanes: readonly FaultLane[], log: FaultLog, random: Random) {
    this.#log = log
    this.#lanes = Promise.all(lanes.map((lane) => this.#run(lane, random.fork())))
    this.#lanes.catch(() => undefined)
  }

  /** Rejects if a fault could not be made or put right: the run is worth nothing then. */
  async stop(): Promise<void> {
    this.#stop.abort()
    await this.#lanes
  }

  async #run(lane: FaultLane, random: Random): Promise<void> {
    // By place: several kinds may have one name, each doing it somewhere else.
    const weights = Object.fromEntries(lane.kinds.map(({ weight }, index) => [index, weight]))
    while (!this.#stop.signal.aborted) {
      await this.#wait(random.between(...lane.restMs))
      const kind = lane.kinds[Number(random.weighted(weights))]
      if (kind !== undefined && !this.#stop.signal.aborted) await this.#inflict(kind, lane.name, random)
    }
  }

  async #inflict(kind: FaultKind, where: string, random: Random): Promise<void> {
    const entry = this.#log.begin(kind.name, where)
    const undo = await kind.begin(random)
    try {
      await this.#wait(random.between(...kind.lastsMs))
    } finally {
      await undo()
      entry.toMs = performance.now()
    }
  }

  async #wait(ms: number): Promise<void> {
    await delay(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined)
  }
}
