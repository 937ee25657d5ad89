import type { Crowd } from './crowd.ts'
import type { Random } from './random.ts'
import type { Scene } from './scene.ts'
import type { StoreUnderTest } from './store-under-test.ts'
import type { Subject } from './subject.ts'

export interface SamplerParts {
  readonly scene: Scene
  readonly crowd: Crowd
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
    const { crowd, random, scene } = this.#parts
    const { graves } = crowd
    const subject = random.pick(random.chance(0.7) ? graves.slice(-RECENT) : graves)
    const store = random.pick(scene.stores)?.store
    if (subject === undefined || store === undefined || !(await this.#read(store, subject))) return false
    this.checks += 1
    return true
  }

  // Twice, and through one store: what the first look finds stood when the second began. Others may be slow just now.
  async #readUser(): Promise<boolean> {
    const { scene, random } = this.#parts
    const newest = random.pick(scene.users)?.subjects.slice(-NEWEST) ?? []
    const store = random.pick(scene.stores)?.store
    if (store === undefined) return false
    const look = () => Promise.all(newest.map((subject) => this.#read(store, subject)))
    return (await look()).some(Boolean) && (await look()).some(Boolean)
  }

  async #read(store: StoreUnderTest, subject: Subject): Promise<boolean> {
    this.reads += 1
    const { call } = await this.#parts.scene.read(store, subject)
    return call.verdict === 'acked'
  }
}
