import { type Call, joint, type Verdict } from './history.ts'

/**
 * - `kept`: nobody ends it, so every acknowledged write must be there at the end. Each worker has a key of its own.
 * - `shared`: as `kept`, but all workers write one key, through stores that reject conflicts.
 * - `mortal`: it is ended, displaced, overwritten, or its record vanishes.
 */
export type Pool = 'kept' | 'shared' | 'mortal'

/** One mark that was put into a session, and the saves that tried to store it. */
export interface Write {
  readonly mark: string
  readonly calls: readonly Call[]
}

export interface SubjectFacts {
  readonly index: number
  readonly sid: string
  readonly pool: Pool
  readonly user?: User | undefined
}

/** A session under test: what was done to it, and when it was seen. */
export class Subject {
  readonly index: number
  readonly sid: string
  readonly pool: Pool
  readonly user: User | undefined
  /** The saves that tried to store it for the first time. */
  readonly creations: Call[] = []
  readonly writes: Write[] = []
  readonly touches: Call[] = []
  /** The calls that were to end it, but for those that end all of a user. */
  readonly endings: Call[] = []
  /** When its record was taken away behind the store's back. */
  vanishedAtMs = Number.POSITIVE_INFINITY
  /** Whether a plain object was stored over it, after which its content says nothing. */
  isScripted = false
  #seenMs = Number.NEGATIVE_INFINITY
  #foundMs = Number.POSITIVE_INFINITY
  #missedMs = Number.POSITIVE_INFINITY

  constructor({ index, sid, pool, user }: SubjectFacts) {
    this.index = index
    this.sid = sid
    this.pool = pool
    this.user = user
    user?.subjects.push(this)
  }

  get creation(): Verdict {
    return joint(this.creations)
  }

  /** When it was first known to be stored, `Infinity` if never. */
  get createdAtMs(): number {
    return this.creations.find(({ verdict }) => verdict === 'acked')?.endMs ?? Number.POSITIVE_INFINITY
  }

  get askedAtMs(): number {
    return this.creations[0]?.startMs ?? Number.POSITIVE_INFINITY
  }

  /** Whether nobody has tried to end it, so far. */
  get isUntouched(): boolean {
    return this.endings.length === 0 && this.vanishedAtMs === Number.POSITIVE_INFINITY
  }

  /** From when on it was certainly stored: acknowledged, or found by a read. `Infinity` if never. */
  get storedMs(): number {
    return Math.min(this.createdAtMs, this.#foundMs)
  }

  /** When the last read that found it began. */
  get seenMs(): number {
    return this.#seenMs
  }

  /** When the first read that should have found it and did not was over. */
  get missedMs(): number {
    return this.#missedMs
  }

  sighted(read: { readonly startMs: number; readonly endMs: number }, isThere: boolean): void {
    if (isThere) {
      this.#seenMs = Math.max(this.#seenMs, read.startMs)
      this.#foundMs = Math.min(this.#foundMs, read.endMs)
    } else if (this.createdAtMs <= read.startMs) this.#missedMs = Math.min(this.#missedMs, read.endMs)
  }

  get calls(): readonly Call[] {
    return [...this.creations, ...this.writes.flatMap(({ calls }) => calls), ...this.touches, ...this.endings]
  }
}

/** A call that was to end all sessions of a user, but for one. */
export interface EndingOfAll {
  readonly call: Call
  readonly except: Subject | undefined
}

/** Somebody who signs in. */
export class User {
  readonly name: string
  readonly subjects: Subject[] = []
  readonly endings: EndingOfAll[] = []

  constructor(name: string) {
    this.name = name
  }
}
