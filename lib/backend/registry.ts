/** The contract for what a backend knows of owners: which handles are theirs, and which epoch holds. */

/** One handle of an owner. All times in ms of the backend's clock. */
export interface Member {
  readonly handle: string
  /** Strictly increasing per owner, in the order of enrolment: microseconds of the backend's clock, or the next number. */
  readonly order: number
  readonly seenAtMs: number
  /** When it is dropped unless it is extended. */
  readonly expiresAtMs: number
}

/** What remains of a handle that was ended, for its owner to look at. */
export interface Departed {
  readonly handle: string
  /** Opaque here. */
  readonly blob: Buffer
}

/** An owner's state at one instant. */
export interface Roster {
  readonly epoch: number
  /** Living members, oldest first. */
  readonly members: readonly Member[]
  /** Handles that were moved out by a cap and are still to be ended, oldest first. They are dropped when they expire. */
  readonly pending: readonly string[]
  /** Newest first, at most {@link MAX_DEPARTED}. */
  readonly departed: readonly Departed[]
}

export interface Enrolment {
  readonly handle: string
  readonly ttlMs: number
  /** Hard end in ms of the backend's clock; the membership does not pass it. */
  readonly endsAtMs?: number | undefined
  /** How many members may stay; none means any number. */
  readonly cap?: number | undefined
  /** What happens beyond the cap: the oldest move to the pending list, or nothing is written and the answer is `full`. */
  readonly beyondCap: 'evict' | 'refuse'
}

/**
 * - `enrolled`: the handle is a member now, or it was put on the pending list and stands there.
 * - `full`: it is not, as `beyondCap` is `refuse` and as many members as may stay are there.
 * - `gone`: it is not, as its hard end has passed.
 */
export type EnrolReply =
  | {
      readonly answer: 'enrolled'
      readonly epoch: number
      readonly order: number
      /** All handles that stand on the pending list, oldest first. */
      readonly pending: readonly string[]
    }
  | { readonly answer: 'full' | 'gone' }

export interface Extension {
  readonly handle: string
  readonly ttlMs: number
  readonly endsAtMs?: number | undefined
}

export interface Standing {
  readonly epoch: number
  readonly isMember: boolean
}

export interface Withdrawal {
  readonly handles: readonly string[]
  /** What to keep of them for {@link Roster.departed}. */
  readonly departed?: readonly Departed[] | undefined
  /** How long to keep it. */
  readonly departedTtlMs: number
}

export interface Raising {
  /**
   * How long the epoch stands at least, in ms: as long as anything may live that was made under an earlier one. The
   * registry cannot know: it may have been lost together with its members, and then nothing else keeps it.
   */
  readonly keepMs: number
  /** The epoch to raise to. Default: the backend's time in microseconds, or the next number if that is higher. */
  readonly epoch?: number | undefined
}

/** How many departed handles an owner's registry remembers at most. */
export const MAX_DEPARTED = 100

/**
 * The registries of owners, each in one slot, each verb atomic for its owner. A registry that does not exist is an
 * empty one whose epoch is 0; the first enrolment starts its epoch at the backend's time in microseconds, so that
 * an epoch is never used twice, even after a registry was lost. All verbs are safe to repeat. What has expired is
 * dropped before anything else is looked at.
 *
 * A registry with its epoch and its last order lives until the furthest expiry that was ever asked of it: of a
 * member, a departed handle or {@link Raising.keepMs}. Withdrawing does not bring that nearer.
 *
 * Verbs reject as those of `Backend` do; `SessionInvalidError` when what stands under an owner's keys is no registry,
 * before anything was written.
 */
export interface Registry {
  /**
   * Adds a handle as the newest member. Enrolling a member again moves its expiry, marks it seen and answers its first
   * order. A handle on the pending list is not enrolled again: the answer is as if it were, and the pending list names
   * it. Refused when memory is full.
   */
  enroll(owner: string, enrolment: Enrolment): Promise<EnrolReply>
  /** Moves a member's expiry, nearer or further, and marks it seen; does nothing for others, or past the hard end. */
  extend(owner: string, extension: Extension): Promise<Standing>
  /** The epoch, and whether the handle is a member; writes nothing. */
  standing(owner: string, handle: string): Promise<Standing>
  /**
   * Removes handles from members and pending list. What to keep of a departed handle is kept once: the first stands. Of
   * several the last one is the newest. Allowed when memory is full.
   */
  withdraw(owner: string, withdrawal: Withdrawal): Promise<void>
  /** Writes nothing. */
  roster(owner: string): Promise<Roster>
  /**
   * Raises the epoch, or leaves it where it is as high already. Answers the roster as of then. Allowed when memory is
   * full.
   */
  raise(owner: string, raising: Raising): Promise<Roster>
}
