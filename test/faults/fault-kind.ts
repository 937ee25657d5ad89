import type { Random } from '../support/random.ts'

/** Something that goes wrong for a while. */
export interface FaultKind {
  readonly name: string
  /** How long it lasts, in ms: at least, at most. */
  readonly lastsMs: readonly [number, number]
  /** How often it is chosen, compared with others. */
  readonly weight: number
  /** Makes it go wrong; answers how to put it right. */
  begin(random: Random): Promise<() => Promise<void>>
}

/** Faults of which one at a time is in force. */
export interface FaultLane {
  readonly name: string
  readonly kinds: readonly FaultKind[]
  /** How long nothing is wrong in between, in ms: at least, at most. */
  readonly restMs: readonly [number, number]
}
