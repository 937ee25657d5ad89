/** The contract for what a backend knows of owners: which handles are theirs, and which epoch holds. */

/** One handle of an owner. All times in ms of the backend's clock. */
export interface Member {
  readonly handle: string
  /** Strictly increasing per owner, in the order of enrolment: microseconds of the backend's clock, or the next number. */
  readonly order: number
  readonly seenAtMs: number
  /** When it is dropped unless it is extended. */
  readonly expiresAtMs: number
  /** Whether its place was taken: see {@link Withdrawal.taken}. */
  readonly isTaken: boolean
}

/** What remains of a handle that was ended, for its owner to look at. */
export interface Departed {
  readonly handle: string
  /** Opaque here. */
  readonly blob: Buffer
}

/** One page of an owner's state, of one instant. */
export interface Roster {
  readonly epoch: number
  /** Active members, oldest first: the newest {@link PAGE_SIZE} before the cursor, less those that have expired. */
  readonly members: readonly Member[]
  /** The cursor of the page with the next older members; none if there are no older ones. */
  readonly next?: string | undefined
  /**
   * Handles that were moved out by a cap or not taken in time, and are still to be ended, soonest to expire first; at
   * most {@link PAGE_SIZE}. They are dropped when they expire.
   */
  readonly pending: readonly string[]
  /** Newest first, at most {@link MAX_DEPARTED}; on the first page only. */
  readonly departed: readonly Departed[]
}

export interface Enrolment {
  readonly handle: string
  readonly ttlMs: number
  /** Hard end in ms of the backend's clock; the membership does not pass it. */
  readonly endsAtMs?: number | undefined
  /** How many members may stay; none means any number. */
  readonly cap?: number | undefined
  /** What happens beyond the cap: the oldest move to the pending list, or the answer is `full`. */
  readonly beyondCap: 'evict' | 'refuse'
  /** A new member that is neither taken (see {@link Withdrawal.taken}) nor extended by then moves to the pending list. */
  readonly takenWithinMs: number
}

/**
 * - `enrolled`: the handle is a member now.
 * - `crowded`: it is not, as more has to go first than one call may move, or as it stands on the pending list itself and
 *   is named there. End and withdraw the pending handles, and call again.
 * - `full`: it is not, as `beyondCap` is `refuse` and as many members as may stay are there.
 * - `gone`: it is not, as its hard end has passed.
 */
export type EnrolReply =
  | {
      readonly answer: 'enrolled'
      readonly epoch: number
      readonly order: number
      /** When it was enrolled, in ms of the backend's clock; see {@link Withdrawal.seenAtMs}. */
      readonly seenAtMs: number
      /** All handles that stand on the pending list. */
      readonly pending: readonly string[]
    }
  | { readonly answer: 'crowded'; readonly pending: readonly string[] }
  | { readonly answer: 'full' }
  | { readonly answer: 'gone' }

export interface Extension {
  /** Whether the expiry is never to come nearer than it is. */
  readonly isExtension?: boolean | undefined
  readonly handle: string
  readonly ttlMs: number
  readonly endsAtMs?: number | undefined
}

export interface Standing {
  readonly epoch: number
  readonly isMember: boolean
}

export interface Withdrawal {
  /** At most {@link PAGE_SIZE}. */
  readonly handles: readonly string[]
  /**
   * Withdraws only what was last seen then, as the answer of its enrolment says: a withdrawal that was given up and comes
   * late must not take the place of whoever has enrolled again.
   */
  readonly seenAtMs?: number | undefined
  /** A member whose place is taken for good: what it stands for exists. */
  readonly taken?: string | undefined
  /** What to keep of them for {@link Roster.departed}, each of at most {@link MAX_DEPARTED_BYTES}. */
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

/** How much is kept of a departed handle at most; what is larger is not returned. */
export const MAX_DEPARTED_BYTES = 4096

/** How many members, pending handles or handles to withdraw one call is about at most, so that none takes long. */
export const PAGE_SIZE = 100

/**
 * The registries of owners, each in one slot, each verb atomic for its owner and of bounded work. A registry that does
 * not exist is an empty one whose epoch is 0; the first enrolment starts its epoch at the backend's time in
 * microseconds, so that an epoch is never used twice, even after a registry was lost. All verbs are safe to repeat. What
 * has expired counts for nothing.
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
   * order; where it was not taken, its time begins anew. Other members that were not taken in time move to the pending
   * list first, then the oldest beyond the cap; a handle on the pending list is not enrolled. Refused when memory is full.
   */
  enroll(owner: string, enrolment: Enrolment): Promise<EnrolReply>
  /** Moves a member's expiry, nearer or further, and marks it seen and taken; does nothing for others, or past the hard end. */
  extend(owner: string, extension: Extension): Promise<Standing>
  /** The epoch, and whether the handle is a member; writes nothing. */
  standing(owner: string, handle: string): Promise<Standing>
  /** How many members there are that were taken, or may still be in time; writes nothing. */
  count(owner: string): Promise<number>
  /**
   * Removes handles from members and pending list. What to keep of a departed handle is kept once: the first stands. Of
   * several the last one is the newest. Allowed when memory is full.
   */
  withdraw(owner: string, withdrawal: Withdrawal): Promise<void>
  /** A page of the roster: the first, or that of the cursor. Writes nothing. */
  roster(owner: string, cursor?: string): Promise<Roster>
  /**
   * Raises the epoch, or leaves it where it is as high already. Answers the first page of the roster as of then: who is
   * enrolled later is on none of the pages after it. Allowed when memory is full.
   */
  raise(owner: string, raising: Raising): Promise<Roster>
}
