import type { Crowd } from './crowd.ts'
import type { Random } from './random.ts'
import type { Scene } from './scene.ts'

export interface SamplerParts {
  readonly scene: Scene
  readonly crowd: Crowd
  readonly random: Random
}

const RECENT = 40

/** Reads sessions that have ended, again and again, through every store. */
export class Sampler {
  readonly #parts: SamplerParts
  /** How many reads told whether a dead session is dead. */
  checks = 0
  /** How many reads there were. */
  reads = 0

  constructor(parts: SamplerParts) {
    this.#parts = parts
  }

  /** One read, more often than not of one that ended lately; answers whether it told something. */
  async step(): Promise<boolean> {
    const { scene, crowd, random } = this.#parts
    const { graves } = crowd
    const subject = random.pick(random.chance(0.7) ? graves.slice(-RECENT) : graves)
    const store = random.pick(scene.stores)?.store
    if (subject === undefined || store === undefined) return false
    this.reads += 1
    const { call } = await scene.read(store, subject)
    if (call.verdict !== 'acked') return false
    this.checks += 1
    return true
  }
}
