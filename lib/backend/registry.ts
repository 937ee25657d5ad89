/** The contract of registries of owners: which handles an owner has, and in which epoch. */

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

/** What an owner's registry keeps of an ended handle. */
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
  /** Beyond the cap the oldest members move to the pending list, or the reply is `full`. */
  readonly beyondCap: 'evict' | 'refuse'
  /** A new member that is neither taken (see {@link Withdrawal.taken}) nor extended by then moves to the pending list. */
  readonly takenWithinMs: number
}

/**
 * - `enrolled`: the handle is a member now.
 * - `crowded`: it is not, because more members must leave first than one call may move, or because the handle itself is on the
 *   pending list. End and withdraw the pending handles, and call again.
 * - `full`: it is not, because `beyondCap` is `refuse` and the cap is reached.
 * - `gone`: it is not, because its hard end has passed.
 */
export type EnrolReply =
  | {
      readonly answer: 'enrolled'
      readonly epoch: number
      readonly order: number
      /** When it was enrolled, in ms of the backend's clock; see {@link Withdrawal.seenAtMs}. */
      readonly seenAtMs: number
      /** All handles on the pending list. */
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
   * Withdraws only members last seen at this time, as the reply to their enrolment says: a withdrawal that arrives late must not
   * remove a handle that has enrolled again.
   */
  readonly seenAtMs?: number | undefined
  /** A member whose place is confirmed: its record exists. */
  readonly taken?: string | undefined
  /** What to keep of them for {@link Roster.departed}, each of at most {@link MAX_DEPARTED_BYTES}. */
  readonly departed?: readonly Departed[] | undefined
  /** How long to keep it. */
  readonly departedTtlMs: number
}

export interface Raising {
  /**
   * Shortest lifetime of the epoch, in ms: that of the longest record made under an earlier one. The registry cannot know it: it
   * may have been lost together with its members, and then nothing else keeps it.
   */
  readonly keepMs: number
  /** The epoch to raise to. Default: the backend's time in microseconds, or the next number if that is higher. */
  readonly epoch?: number | undefined
}

/** The most departed handles that an owner's registry keeps. */
export const MAX_DEPARTED = 100

/** The most bytes that are kept of a departed handle; more are not returned. */
export const MAX_DEPARTED_BYTES = 4096

/** The most members, pending handles or handles to withdraw in one call, so that none takes long. */
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
 * Verbs reject as those of `Backend` do; with `SessionInvalidError` when an owner's keys hold something other than a registry,
 * before anything is written.
 */
export interface Registry {
  /**
   * Adds a handle as the newest member. Enrolling a member again moves its expiry, marks it seen and returns its first
   * order; where it was not taken, its time begins anew. Other members that were not taken in time move to the pending
   * list first, then the oldest beyond the cap; a handle on the pending list is not enrolled. Refused when memory is full.
   */
  enroll(owner: string, enrolment: Enrolment): Promise<EnrolReply>
  /** Moves a member's expiry, nearer or further, and marks it seen and taken; does nothing for others, or past the hard end. */
  extend(owner: string, extension: Extension): Promise<Standing>
  /** Returns the epoch, and whether the handle is a member; writes nothing. */
  standing(owner: string, handle: string): Promise<Standing>
  /** Counts the members that were taken, or may still be in time; writes nothing. */
  count(owner: string): Promise<number>
  /**
   * Removes handles from members and pending list. What is kept of a departed handle is written once. Of several handles the last
   * one is the newest. Allowed when memory is full.
   */
  withdraw(owner: string, withdrawal: Withdrawal): Promise<void>
  /** Returns a page of the roster: the first, or that of the cursor. Writes nothing. */
  roster(owner: string, cursor?: string): Promise<Roster>
  /**
   * Raises the epoch, unless it is as high already. Returns the first page of the roster of that moment: members that enroll
   * later are on none of the pages after it. Allowed when memory is full.
   */
  raise(owner: string, raising: Raising): Promise<Roster>
}
