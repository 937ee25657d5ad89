import type { Random } from '../support/random.ts'
import type { SessionPool } from './session-pool.ts'
import type { StoreUnderTest } from './store-under-test.ts'
import type { Subject } from './subject.ts'
import type { Workload } from './workload.ts'

export interface SamplerParts {
  readonly workload: Workload
  readonly pool: SessionPool
  readonly random: Random
}

const RECENT = 40
const NEWEST = 5

/** Reads sessions again and again, through every store: those that have ended, and those of users, of which few may live. */
export class Sampler {
  readonly #parts: SamplerParts
  /** How many reads told whether a dead session is dead. */
  checks = 0
  /** How many reads there were. */
  reads = 0

  constructor(parts: SamplerParts) {
    this.#parts = parts
  }

  /** Answers whether the reads told something. */
  step(): Promise<boolean> {
    return this.#parts.random.chance(0.15) ? this.#readUser() : this.#readGrave()
  }

  /** More often than not one that ended lately. */
  async #readGrave(): Promise<boolean> {
    const { pool, random, workload } = this.#parts
    const { ended } = pool
    const subject = random.pick(random.chance(0.7) ? ended.slice(-RECENT) : ended)
    const store = random.pick(workload.stores)?.store
    if (subject === undefined || store === undefined || !(await this.#read(store, subject))) return false
    this.checks += 1
    return true
  }

  // Twice, and through one store: what the first look finds stood when the second began. Others may be slow just now.
  async #readUser(): Promise<boolean> {
    const { workload, random } = this.#parts
    const newest = random.pick(workload.users)?.subjects.slice(-NEWEST) ?? []
    const store = random.pick(workload.stores)?.store
    if (store === undefined) return false
    const look = () => Promise.all(newest.map((subject) => this.#read(store, subject)))
    return (await look()).some(Boolean) && (await look()).some(Boolean)
  }

  async #read(store: StoreUnderTest, subject: Subject): Promise<boolean> {
    this.reads += 1
    const { call } = await this.#parts.workload.read(store, subject)
    return call.verdict === 'acked'
  }
}
