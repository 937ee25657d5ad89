import type { Registry, Standing } from '../backend/registry.ts'
import { SessionEndedError, SessionLimitError, StoreUnavailableError } from '../errors.ts'
import type { SessionDevice } from '../session/device.ts'
import { endingOf, type SessionEnding } from '../session/ending.ts'
import type { SessionMeta } from '../session/metadata.ts'
import type { SessionRecords } from '../session/records.ts'
import { failInDoubt } from './doubt.ts'
import { MAX_ROUNDS, type SessionEnder, type Struck } from './end-sessions.ts'
import type { PrefixSharing } from './prefix-sharing.ts'

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
  readonly predecessor?: Predecessor | undefined
}

/** The user's session that a request had before the one it asks a place for, and whose data that one may carry on. */
export interface Predecessor {
  readonly handle: string
  readonly owner: string
  readonly epoch: number | undefined
  /** Whether it was superseded, and so found to live and to be upheld until then. */
  readonly isSuperseded: boolean
  /** What became of it if the request destroyed it by hand; nothing if it had ended before. */
  readonly departure?: Promise<Departure | undefined> | undefined
}

/** What a session was that a request ended. */
export interface Departure {
  readonly owner: string | undefined
  readonly epoch: number | undefined
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
  async admit({ handle, owner, device, ttlMs, meta, predecessor }: Applicant): Promise<Place> {
    const { registry, ender, maxSessionsPerUser: cap, onMaxSessions } = this.#parts
    const carried = predecessor?.owner === owner ? await this.#carriedEpoch(predecessor) : undefined
    this.#parts.sharing.note()
    const beyondCap = onMaxSessions === 'reject' ? 'refuse' : 'evict'
    const term = { handle, ttlMs: ttlMs + MARGIN_MS, endsAtMs: meta.endsAtMs, takenWithinMs: TAKEN_WITHIN_MS }
    for (let round = 1; round <= MAX_ROUNDS; round += 1) {
      const reply = await registry.enroll(owner, { ...term, cap, beyondCap })
      if (reply.answer === 'full') throw new SessionLimitError(cap ?? 0)
      if (reply.answer === 'gone') throw new SessionEndedError('gone')
      // All sessions of the user were ended after the data was loaded that this one carries on.
      if (reply.answer === 'enrolled' && (carried ?? reply.epoch) < reply.epoch) {
        await this.leave(owner, handle)
        throw new SessionEndedError('ended')
      }
      const struck = await this.#displace(owner, handle, reply.pending)
      if (reply.answer === 'crowded') await ender.withdraw(owner, struck)
      else return this.#place({ handle, owner, device, meta, epoch: reply.epoch }, struck)
    }
    throw new StoreUnavailableError('crowded')
  }

  /** Ends a session, and returns what it was; `undefined` if it did not live. */
  async depart(handle: string): Promise<Departure | undefined> {
    const { ender } = this.#parts
    const struck = await ender.strike(handle, await this.#ending('logout', 'user'))
    const { answer, owner, epoch } = struck
    if (owner !== undefined) await ender.withdraw(owner, [struck]).catch(failInDoubt)
    return answer === 'ended' ? { owner, epoch } : undefined
  }

  /**
   * Ends a user's session that another is to follow, and returns what that one may carry on. Rejects if it had ended
   * before, or had lost its user or its place: what is no more has no successor.
   */
  async supersede(handle: string, meta: SessionMeta & { readonly owner: string }): Promise<Predecessor> {
    const { registry, ender } = this.#parts
    const struck = await ender.strike(handle, await this.#ending('logout', 'user'))
    const { owner = meta.owner, epoch = meta.epoch } = struck
    // Asked before it is withdrawn, as it then has no place for certain.
    const isUpheldYet = await isUpheld({ ...meta, owner, epoch }, () =>
      registry.standing(owner, handle),
    ).catch(failInDoubt)
    await ender.withdraw(owner, [struck]).catch(failInDoubt)
    if (struck.answer !== 'ended') throw new SessionEndedError(struck.answer === 'missing' ? 'gone' : 'ended')
    if (owner !== meta.owner || !isUpheldYet) throw new SessionEndedError('ended')
    return { handle, owner, epoch, isSuperseded: true }
  }

  /** Takes a place for good, for a session that is known to be stored. */
  take(owner: string, handle: string): Promise<void> {
    return this.#parts.ender.withdraw(owner, [], handle)
  }

  /** Removes a session whose sign-in did not take place, or whose user signed out of it. */
  async leave(owner: string, handle: string): Promise<void> {
    await this.#parts.registry.withdraw(owner, { handles: [handle], departedTtlMs: 1 })
  }

  /** Keeps a session registered for longer. If it has lost its place it is ended; the answer is whether it may go on. */
  extend(handle: string, meta: SessionMeta, ttlMs: number, isExtension = false): Promise<boolean> {
    return this.#uphold(handle, meta, (owner, { endsAtMs }) =>
      this.#parts.registry.extend(owner, { handle, ttlMs: ttlMs + MARGIN_MS, endsAtMs, isExtension }),
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

  /** The epoch that a session of the same user may carry on; rejects if its predecessor was ended by another request. */
  async #carriedEpoch({ handle, owner, epoch, isSuperseded, departure }: Predecessor): Promise<number> {
    if (isSuperseded) return epoch ?? 0
    const departed = await departure?.catch(() => undefined)
    const stands = departed ?? (await this.#parts.records.read(handle))?.meta
    if (stands?.owner !== owner) throw new SessionEndedError('ended')
    return stands.epoch ?? epoch ?? 0
  }

  async #displace(owner: string, handle: string, pending: readonly string[]): Promise<readonly Struck[]> {
    if (pending.length === 0) return []
    const { struck, failure } = await this.#parts.ender.strikeAll(
      pending,
      await this.#ending('evicted', 'system'),
    )
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
    await this.#parts.ender.end(handle, await this.#ending('owner-mismatch', 'system'))
    return false
  }

  async #ending(reason: string, type: string): Promise<SessionEnding> {
    return endingOf({ reason, actor: { type } }, await this.#parts.now())
  }
}

/** Asks a registry how a session stands there. */
type Question = (owner: string, meta: SessionMeta) => Promise<Standing>

async function isUpheld(meta: SessionMeta, ask: Question): Promise<boolean> {
  if (meta.owner === undefined) return true
  const { isMember, epoch } = await ask(meta.owner, meta)
  return isMember && (meta.epoch ?? 0) >= epoch
}
