/** How long a set is to be kept at least. Nothing here ever shortens what a set has left. */
export interface Keeping {
  /** If it has less than this left, ms; 0 asks for nothing. A set without expiry has enough. */
  readonly leastMs: number
  /** It gets this, ms. */
  readonly targetMs: number
}

export interface SetReading {
  /** Empty if there is no such set. */
  readonly members: readonly string[]
  /** The clock of what keeps the sets, ms. */
  readonly nowMs: number
  /** Whether the keeping that was asked for now holds. */
  readonly isKept: boolean
}

export interface SetUnion {
  readonly labels: readonly string[]
  /** Marks of other labels; each counts only if neither its label nor a mark of it is there. */
  readonly marks: readonly string[]
  readonly keep: Keeping
  /** Whether labels that were declassified stay so; `false` puts them back. */
  readonly sparesMarked: boolean
}

export interface SetRelease {
  /** One mark per label; the label itself is removed. */
  readonly marks: readonly string[]
  readonly keep: Keeping
  /** Later than this, by {@link SetReading.nowMs}, it must not be applied. */
  readonly deadlineMs: number
}

/**
 * Keeps sets of labels and marks by key. Every verb is atomic. A verb rejects with `StoreUnavailableError` when
 * it was definitely not applied, with `OutcomeUnknownError` when it may have been, and with
 * `LabelsUnreadableError` when something else stands under the key.
 */
export interface LabelSets {
  /** Reads from where writes go. Failing to keep the set longer does not fail the reading. */
  read(key: string, keep: Keeping): Promise<SetReading>
  /** Adds labels and answers the whole set after it, or `full`, nothing added, beyond 64 distinct labels. Repeating it is harmless. */
  unite(key: string, union: SetUnion): Promise<readonly string[] | 'full'>
  /** Replaces labels by marks and answers the whole set after it; never sent twice. */
  release(key: string, release: SetRelease): Promise<readonly string[] | 'full' | 'late'>
  /** How the server evicts when memory is full, for each server; none for sets in this process. */
  evictionPolicies(): Promise<readonly string[]>
  /** Calls back at each new connection, and now if there is one. */
  onConnection(listener: () => void): void
  close(): Promise<void>
}
