import { StoreClosedError } from '../errors.ts'
import { MARK_HEAD, MAX_LABELS } from './label.ts'
import type { Keeping, LabelSets, SetReading, SetRelease, SetUnion } from './label-sets.ts'

interface KeptSet {
  readonly members: ReadonlySet<string>
  readonly expiresAtMs: number
}

const SWEEP_EVERY = 1000
const nothing: KeptSet = { members: new Set(), expiresAtMs: Number.NEGATIVE_INFINITY }

/** Label sets in this process, which behave as those in Valkey. */
export class InProcessLabelSets implements LabelSets {
  readonly #sets = new Map<string, KeptSet>()
  readonly #now: () => number
  #writes = 0
  #isClosed = false

  constructor(now: () => number) {
    this.#now = now
  }

  async read(key: string, keep: Keeping): Promise<SetReading> {
    const set = this.#living(key)
    if (set.members.size > 0) this.#sets.set(key, { ...set, expiresAtMs: this.#kept(set, keep) })
    return { members: [...set.members], nowMs: this.#now(), isKept: true }
  }

  async unite(
    key: string,
    { labels, marks, keep, sparesMarked }: SetUnion,
  ): Promise<readonly string[] | 'full'> {
    const { members } = this.#living(key)
    const marked = new Map([...members].filter(isMark).map((mark) => [nameOf(mark), mark]))
    const added = labels.filter((label) => !(sparesMarked && marked.has(label)))
    const lifted = new Set(added.map((label) => marked.get(label)))
    const names = new Set([...members, ...added].map(nameOf))
    const united = [...members, ...added, ...marks.filter((mark) => !names.has(nameOf(mark)))]
    return this.#put(
      key,
      united.filter((member) => !lifted.has(member)),
      keep,
    )
  }

  async release(
    key: string,
    { marks, keep, deadlineMs }: SetRelease,
  ): Promise<readonly string[] | 'full' | 'late'> {
    const { members } = this.#living(key)
    if (this.#now() > deadlineMs) return 'late'
    const released = new Set(marks.map(nameOf))
    return this.#put(key, [...[...members].filter((member) => !released.has(nameOf(member))), ...marks], keep)
  }

  async evictionPolicies(): Promise<readonly string[]> {
    if (this.#isClosed) throw new StoreClosedError()
    return []
  }

  onConnection(): void {}

  async close(): Promise<void> {
    this.#isClosed = true
    this.#sets.clear()
  }

  #put(key: string, members: readonly string[], keep: Keeping): readonly string[] | 'full' {
    if (new Set(members.map(nameOf)).size > MAX_LABELS) return 'full'
    const expiresAtMs = this.#kept(this.#living(key), keep)
    this.#sets.set(key, { members: new Set(members), expiresAtMs })
    this.#sweep()
    return [...new Set(members)]
  }

  #kept({ members, expiresAtMs }: KeptSet, { leastMs, targetMs }: Keeping): number {
    if (members.size === 0) return leastMs === 0 ? Number.POSITIVE_INFINITY : this.#now() + targetMs
    return leastMs > 0 && expiresAtMs < this.#now() + leastMs ? this.#now() + targetMs : expiresAtMs
  }

  #living(key: string): KeptSet {
    if (this.#isClosed) throw new StoreClosedError()
    const set = this.#sets.get(key)
    return set && set.expiresAtMs > this.#now() ? set : nothing
  }

  #sweep(): void {
    this.#writes += 1
    if (this.#writes % SWEEP_EVERY !== 0) return
    for (const [key, { expiresAtMs }] of this.#sets) if (expiresAtMs <= this.#now()) this.#sets.delete(key)
  }
}

function isMark(member: string): boolean {
  return member.startsWith('!')
}

function nameOf(member: string): string {
  return isMark(member) ? member.slice(MARK_HEAD) : member
}
