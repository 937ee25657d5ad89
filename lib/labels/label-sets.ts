/** How long to keep a set. It never shortens a remaining lifetime. */
export interface Keeping {
  /** Extends a set that has less than this left, in ms; 0 extends none. A set without expiry is never extended. */
  readonly leastMs: number
  /** The lifetime it then gets, in ms. */
  readonly targetMs: number
}

export interface SetReading {
  /** Empty if there is no such set. */
  readonly members: readonly string[]
  /** The time of the server, in ms. */
  readonly nowMs: number
  /** Whether the set now lives as long as asked for. */
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
 * `LabelsUnreadableError` when the key holds something else.
 */
export interface LabelSets {
  /** Reads from the primary. Succeeds even if the set cannot be kept longer. */
  read(key: string, keep: Keeping): Promise<SetReading>
  /** Adds labels and returns the whole set; beyond 64 distinct labels adds none and returns `full`. Safe to repeat. */
  unite(key: string, union: SetUnion): Promise<readonly string[] | 'full'>
  /** Replaces labels by marks and returns the whole set; never sent twice. */
  release(key: string, release: SetRelease): Promise<readonly string[] | 'full' | 'late'>
  /** Returns the `maxmemory-policy` of each server; none for sets in this process. */
  evictionPolicies(): Promise<readonly string[]>
  /** Calls the listener at each new connection, and now if there is one. */
  onConnection(listener: () => void): void
  close(): Promise<void>
}
