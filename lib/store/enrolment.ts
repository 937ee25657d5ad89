import type { Registry, Standing } from '../backend/registry.ts'
import { SessionEndedError, SessionLimitError, StoreUnavailableError } from '../errors.ts'
import type { PrefixSharing } from './prefix-sharing.ts'
import type { SessionDevice } from './session-device.ts'
import { MAX_ROUNDS, type SessionEnder, type Struck } from './session-ender.ts'
import { endingOf, type SessionEnding } from './session-ending.ts'
import type { SessionMeta } from './session-plaintext.ts'
import type { SessionRecords } from './session-records.ts'

// A record is stored a moment after its registration, perhaps on a node whose clock differs a little.
const MARGIN_MS = 1000

/** How long a sign-in may take from its registration to its record; a place that was not taken by then is given up. */
export const TAKEN_WITHIN_MS = 60_000

export interface EnrolmentParts {
  readonly registry: Registry
  readonly records: SessionRecords
  readonly ender: SessionEnder
  readonly maxSessionsPerUser: number | undefined
  readonly onMaxSessions: 'evict-oldest' | 'reject'
  readonly now: () => Promise<number>
  readonly sharing: PrefixSharing
}

/** A session that asks for a place in its owner's registry. */
export interface Applicant {
  readonly handle: string
  readonly owner: string
  readonly device: SessionDevice | undefined
  readonly ttlMs: number
  readonly meta: SessionMeta
}

interface Enrolled extends Omit<Applicant, 'ttlMs'> {
  readonly epoch: number
}

/** A place taken in a registry before the session is stored. */
export interface Place {
  /** What is to be sealed with the session. */
  readonly meta: SessionMeta
  /**
   * To be called once the session stands, or was refused: takes the place for good, and the displaced, which have ended by
   * now, out of the registry.
   */
  settle(isStored: boolean): Promise<void>
}

/** Keeps the registry right as sessions gain, keep and lose their user. */
export class Enrolment {
  readonly #parts: EnrolmentParts

  constructor(parts: EnrolmentParts) {
    this.#parts = parts
  }

  /** Registers a session before it can be read, and ends whom the cap displaces before it is granted. */
  async admit({ handle, owner, device, ttlMs, meta }: Applicant): Promise<Place> {
    const { registry, ender, maxSessionsPerUser: cap, onMaxSessions } = this.#parts
    this.#parts.sharing.note()
    const beyondCap = onMaxSessions === 'reject' ? 'refuse' : 'evict'
    const term = { handle, ttlMs: ttlMs + MARGIN_MS, endsAtMs: meta.endsAtMs, takenWithinMs: TAKEN_WITHIN_MS }
    for (let round = 1; round <= MAX_ROUNDS; round += 1) {
      const reply = await registry.enroll(owner, { ...term, cap, beyondCap })
      if (reply.answer === 'full') throw new SessionLimitError(cap ?? 0)
      if (reply.answer === 'gone') throw new SessionEndedError('gone')
      const struck = await this.#displace(owner, handle, reply.pending)
      if (reply.answer === 'crowded') await ender.withdraw(owner, struck)
      else return this.#place({ handle, owner, device, meta, epoch: reply.epoch }, struck)
    }
    throw new StoreUnavailableError('crowded')
  }

  /** Removes a session whose sign-in did not take place, or whose user signed out of it. */
  async leave(owner: string, handle: string): Promise<void> {
    await this.#parts.registry.withdraw(owner, { handles: [handle], departedTtlMs: 1 })
  }

  /** Keeps a session registered for longer. If it has lost its place it is ended; the answer is whether it may go on. */
  extend(handle: string, meta: SessionMeta, ttlMs: number): Promise<boolean> {
    return this.#uphold(handle, meta, (owner, { endsAtMs }) =>
      this.#parts.registry.extend(owner, { handle, ttlMs: ttlMs + MARGIN_MS, endsAtMs }),
    )
  }

  /** As {@link extend}, without extending. */
  verify(handle: string, meta: SessionMeta): Promise<boolean> {
    return this.#uphold(handle, meta, (owner) => this.#parts.registry.standing(owner, handle))
  }

  #place(enrolled: Enrolled, struck: readonly Struck[]): Place {
    const { handle, owner, device, meta, epoch } = enrolled
    const { ender } = this.#parts
    const former = meta.owner === owner ? undefined : meta.owner
    return {
      meta: { ...meta, owner, epoch, device },
      settle: async (isStored) => {
        await ender.withdraw(owner, struck, isStored ? handle : undefined)
        if (isStored && former !== undefined) await this.leave(former, handle)
      },
    }
  }

  async #displace(owner: string, handle: string, pending: readonly string[]): Promise<readonly Struck[]> {
    if (pending.length === 0) return []
    const { struck, failure } = await this.#parts.ender.strikeAll(pending, await this.#ending('evicted'))
    if (failure) throw failure
    if (!pending.includes(handle)) return struck
    // A later sign-in displaced this one before it was stored: its own tombstone stands now.
    await this.#parts.ender.withdraw(owner, struck)
    throw new SessionEndedError('ended')
  }

  // The copy in hand may be older than a change of user or of epoch, both of which are stored before the registry shows them.
  async #uphold(handle: string, meta: SessionMeta, ask: Question): Promise<boolean> {
    if (await isUpheld(meta, ask)) return true
    const current = (await this.#parts.records.read(handle))?.meta
    const isNewer = current !== undefined && (current.owner !== meta.owner || current.epoch !== meta.epoch)
    if (isNewer && (await isUpheld(current, ask))) return true
    await this.#parts.ender.end(handle, await this.#ending('owner-mismatch'))
    return false
  }

  async #ending(reason: string): Promise<SessionEnding> {
    return endingOf({ reason, actor: { type: 'system' } }, await this.#parts.now())
  }
}

/** Asks a registry how a session stands there. */
type Question = (owner: string, meta: SessionMeta) => Promise<Standing>

async function isUpheld(meta: SessionMeta, ask: Question): Promise<boolean> {
  if (meta.owner === undefined) return true
  const { isMember, epoch } = await ask(meta.owner, meta)
  return isMember && (meta.epoch ?? 0) >= epoch
}
