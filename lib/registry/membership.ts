import type { Backend } from '../backend/backend.ts'
import { PAGE_SIZE, type Roster, type Standing } from '../backend/registry.ts'
import {
  SessionConflictError,
  SessionEndedError,
  SessionLimitError,
  StoreUnavailableError,
} from '../errors.ts'
import { failInDoubt } from '../operations.ts'
import { optionError } from '../option.ts'
import type { SessionDevice } from '../session/device.ts'
import type { SessionMeta } from '../session/metadata.ts'
import type { PutOutcome, PutResult, SessionRecord, SessionRecords } from '../session/records.ts'
import type { EndedRecord, EndSessions } from './end-sessions.ts'
import type { PrefixSharing } from './prefix-sharing.ts'

// A record is stored a moment after its registration, perhaps on a node whose clock differs a little.
const MARGIN_MS = 1000

// Saves of the session to keep may come in between, seldom more than one or two.
const MAX_RESEALS = 8

/** How long a sign-in may take from its registration to its record; a place that is not confirmed by then is given up. */
export const CONFIRMED_WITHIN_MS = 60_000

/** How many pages of pending handles one call ends at most; the next continues where it stopped. */
export const MAX_ROUNDS = 100

export interface MembershipParts {
  readonly backend: Backend
  /** Opens records of every kind that a user's registry holds. */
  readonly records: SessionRecords
  readonly endSessions: EndSessions
  readonly maxSessionsPerUser: number | undefined
  readonly onMaxSessions: 'evict-oldest' | 'reject'
  readonly endedTtlMs: number
  readonly sharing: PrefixSharing
}

/** A session that is about to become its owner's. */
export interface NewMember {
  readonly handle: string
  readonly owner: string
  readonly device: SessionDevice | undefined
  readonly ttlMs: number
  /** What is sealed with it so far. */
  readonly meta: SessionMeta
  readonly predecessor?: Predecessor | undefined
  /** Whether nothing can be stored under its handle yet: what is certainly not stored then needs no place. */
  readonly isNew: boolean
}

/** The user's session that a request had before a new one, whose data the new one may carry on. */
export interface Predecessor {
  readonly handle: string
  readonly owner: string
  readonly epoch: number | undefined
  /** Whether `supersede` ended it, and so found it to be a member until then. */
  readonly isSuperseded: boolean
  /** What it was, if the request destroyed it by hand; nothing if it had ended before. */
  readonly ended?: Promise<EndedMember | undefined> | undefined
}

/** What a session was that a request ended. */
export interface EndedMember {
  readonly owner: string | undefined
  readonly epoch: number | undefined
}

/** What a registration changes once its record is stored. */
interface MemberChange {
  readonly handle: string
  readonly meta: SessionMeta
  /** The owner whose registry it joins, and leaves again if it is not stored. */
  readonly joins?: string | undefined
  /** When it joined; what is given up later must not be the place of a sign-in that was tried again. */
  readonly joinedAtMs?: number | undefined
  /** The owner in whose registry its place is to be confirmed. */
  readonly confirms?: string | undefined
  /** The owner whose registry it leaves. */
  readonly leaves?: string | undefined
  /** Those that the cap evicted for it. */
  readonly evicted?: readonly EndedRecord[]
  readonly isNew?: boolean
}

/** A session that is registered, and about to be stored. */
export class Registration {
  /** What is to be sealed with the session. */
  readonly meta: SessionMeta
  readonly #change: MemberChange
  readonly #endSessions: EndSessions
  readonly #membership: Pick<Membership, 'remove'>

  /** Made by {@link Membership}. */
  constructor(change: MemberChange, endSessions: EndSessions, membership: Pick<Membership, 'remove'>) {
    this.meta = change.meta
    this.#change = change
    this.#endSessions = endSessions
    this.#membership = membership
  }

  /**
   * Call it once, with what became of the record. Stored: confirms the place, and removes the evicted, which have ended by
   * now. Certainly not stored: removes the session from the registry it was to join.
   */
  finish(outcome: PutOutcome): Promise<void> | undefined {
    const { confirms, leaves } = this.#change
    const isDone = outcome === 'stored' && confirms === undefined && leaves === undefined
    return isDone ? undefined : this.#finish(outcome)
  }

  /** Gives the place up. For a session that will not be stored for this owner after all. */
  async undo(): Promise<void> {
    const { handle, joins, joinedAtMs } = this.#change
    if (joins !== undefined) await this.#membership.remove(joins, handle, joinedAtMs)
  }

  async #finish(outcome: PutOutcome): Promise<void> {
    const { handle, confirms, leaves, joins, evicted = [], isNew } = this.#change
    if (outcome === 'stored') {
      if (confirms !== undefined) await this.#endSessions.remove(confirms, evicted, handle).catch(failInDoubt)
      if (leaves !== undefined) await this.#membership.remove(leaves, handle).catch(failInDoubt)
    } else if (outcome === 'ended' || outcome === 'gone') {
      await this.undo()
      if (joins !== undefined) await this.#endSessions.remove(joins, evicted).catch(failInDoubt)
    } else if (outcome === 'unavailable' && isNew) await this.undo().catch(() => {})
  }
}

/** Keeps the registry right as sessions gain, keep and lose their owner. Knows no session's content, and any kind of record. */
export class Membership {
  readonly #parts: MembershipParts

  constructor(parts: MembershipParts) {
    this.#parts = parts
  }

  /**
   * Registers a session before it can be read, and ends those that the cap evicts before it is granted. Rejects with
   * `SessionLimitError` if the cap is reached and evicts nobody, with `SessionEndedError` if the session, or the one that
   * it carries on, was ended.
   */
  async register(member: NewMember): Promise<Registration> {
    const { handle, owner, device, meta, isNew } = member
    const { epoch, seenAtMs: joinedAtMs, evicted } = await this.#join(member)
    return this.#registration({
      handle,
      meta: { ...meta, owner, epoch, device },
      joins: owner,
      joinedAtMs,
      confirms: owner,
      leaves: meta.owner === owner ? undefined : meta.owner,
      evicted,
      isNew,
    })
  }

  /** For a session that has no owner from now on. */
  registerNobody(handle: string, { owner: leaves, ...meta }: SessionMeta): Registration {
    return this.#registration({ handle, meta: { ...meta, epoch: undefined, device: undefined }, leaves })
  }

  /** For a session that keeps its owner. Confirms its place if an earlier save of it failed before it did. */
  registerAgain(handle: string, meta: SessionMeta, isConfirmed: boolean): Registration {
    return this.#registration({ handle, meta, confirms: isConfirmed ? undefined : meta.owner })
  }

  /** Removes a session whose sign-in did not come about, or whose user signed out of it; with a time, only if it joined then. */
  async remove(owner: string, handle: string, seenAtMs?: number): Promise<void> {
    await this.#parts.backend.registry.withdraw(owner, { handles: [handle], seenAtMs, departedTtlMs: 1 })
  }

  /** Ends a session that signs out, and returns what it was; `undefined` if it was not active. */
  async end(handle: string): Promise<EndedMember | undefined> {
    const { endSessions } = this.#parts
    const ended = await endSessions.endRecord(handle, SIGNED_OUT)
    const { answer, owner, epoch } = ended
    if (owner !== undefined) await endSessions.remove(owner, [ended]).catch(failInDoubt)
    return answer === 'ended' ? { owner, epoch } : undefined
  }

  /**
   * Ends a user's session that a new one replaces, and returns what the new one may carry on. Rejects with
   * `SessionEndedError` if it had ended before, or had lost its user or its place.
   */
  async supersede(handle: string, meta: SessionMeta & { readonly owner: string }): Promise<Predecessor> {
    const { backend, endSessions } = this.#parts
    const ended = await endSessions.endRecord(handle, SIGNED_OUT)
    const { owner = meta.owner, epoch = meta.epoch } = ended
    // Asked before it is removed: afterwards it has no place for certain.
    const wasMember = await isMember({ ...meta, owner, epoch }, () =>
      backend.registry.standing(owner, handle),
    ).catch(failInDoubt)
    await endSessions.remove(owner, [ended]).catch(failInDoubt)
    if (ended.answer !== 'ended') throw new SessionEndedError(ended.answer === 'missing' ? 'gone' : 'ended')
    if (owner !== meta.owner || !wasMember) throw new SessionEndedError('ended')
    return { handle, owner, epoch, isSuperseded: true }
  }

  /** Keeps a session registered for longer. Returns whether it may go on; if it has lost its place it is ended. */
  extend(handle: string, meta: SessionMeta, ttlMs: number, isExtension = false): Promise<boolean> {
    return this.#check(handle, meta, (owner, { endsAtMs }) =>
      this.#parts.backend.registry.extend(owner, { handle, ttlMs: ttlMs + MARGIN_MS, endsAtMs, isExtension }),
    )
  }

  /** As {@link extend}, without extending. */
  checkMembership(handle: string, meta: SessionMeta): Promise<boolean> {
    return this.#check(handle, meta, (owner) => this.#parts.backend.registry.standing(owner, handle))
  }

  /** Ends those that a cap evicted, or a sign-in left unconfirmed, and that nobody has ended yet. */
  async endPending(owner: string, pending: readonly string[]): Promise<void> {
    const { backend, endSessions } = this.#parts
    let waiting = pending
    for (let round = 1; waiting.length > 0 && round <= MAX_ROUNDS; round += 1) {
      const { ended, failure } = await endSessions.endRecords(waiting, EVICTED)
      await endSessions.remove(owner, ended)
      if (failure) throw failure
      waiting = waiting.length < PAGE_SIZE ? [] : (await backend.registry.roster(owner)).pending
    }
  }

  /**
   * Bumps the owner's epoch, which ends all of its sessions but `except`, and returns the first page of them. The session
   * to keep is sealed with the new epoch before that is in force: at no instant does it look ended.
   */
  async bumpEpoch(owner: string, except: string | undefined): Promise<Roster> {
    const { backend, endedTtlMs: keepMs } = this.#parts
    if (except === undefined) return backend.registry.raise(owner, { keepMs })
    const { epoch } = await backend.registry.roster(owner)
    const next = Math.max(epoch + 1, Math.floor((await backend.now()) * 1000))
    await this.#resealUnderEpoch(except, owner, next)
    return backend.registry.raise(owner, { keepMs, epoch: next })
  }

  #registration(change: MemberChange): Registration {
    return new Registration(change, this.#parts.endSessions, this)
  }

  // Where the reply of the enrolment is lost, its place is given up by itself: a removal could come later than the next try.
  async #join({ handle, owner, ttlMs, meta, predecessor, isNew }: NewMember): Promise<Joined> {
    const { backend, endSessions, maxSessionsPerUser: cap, onMaxSessions } = this.#parts
    const carried = predecessor?.owner === owner ? await this.#carriedEpoch(predecessor) : undefined
    this.#parts.sharing.note()
    const beyondCap = onMaxSessions === 'reject' ? 'refuse' : 'evict'
    const { endsAtMs } = meta
    const term = { handle, ttlMs: ttlMs + MARGIN_MS, endsAtMs, takenWithinMs: CONFIRMED_WITHIN_MS }
    for (let round = 1; round <= MAX_ROUNDS; round += 1) {
      const reply = await backend.registry.enroll(owner, { ...term, cap, beyondCap })
      if (reply.answer === 'full') throw new SessionLimitError(cap ?? 0)
      if (reply.answer === 'gone') throw new SessionEndedError('gone')
      // All sessions of the user were ended after the data was loaded that this one carries on.
      if (reply.answer === 'enrolled' && (carried ?? reply.epoch) < reply.epoch) {
        await this.remove(owner, handle)
        throw new SessionEndedError('ended')
      }
      const evicted = await this.#evict(owner, handle, reply.pending).catch(async (error: unknown) => {
        if (isNew && reply.answer === 'enrolled' && !(error instanceof SessionEndedError))
          await this.remove(owner, handle, reply.seenAtMs).catch(() => {})
        throw error
      })
      if (reply.answer === 'enrolled') return { epoch: reply.epoch, seenAtMs: reply.seenAtMs, evicted }
      await endSessions.remove(owner, evicted)
    }
    throw new StoreUnavailableError('crowded')
  }

  async #evict(owner: string, handle: string, pending: readonly string[]): Promise<readonly EndedRecord[]> {
    if (pending.length === 0) return []
    const { ended, failure } = await this.#parts.endSessions.endRecords(pending, EVICTED)
    if (failure) throw failure
    if (!pending.includes(handle)) return ended
    // A later sign-in evicted this one before it was stored: it has a tombstone now.
    await this.#parts.endSessions.remove(owner, ended)
    throw new SessionEndedError('ended')
  }

  /** The epoch that a session of the same user may carry on. Rejects if another request ended its predecessor. */
  async #carriedEpoch({ handle, owner, epoch, isSuperseded, ended }: Predecessor): Promise<number> {
    if (isSuperseded) return epoch ?? 0
    const known = (await ended?.catch(() => undefined)) ?? (await this.#parts.records.read(handle))?.meta
    if (known?.owner !== owner) throw new SessionEndedError('ended')
    return known.epoch ?? epoch ?? 0
  }

  // The copy in hand may be older than a change of owner or of epoch, both of which are stored before the registry shows them.
  async #check(handle: string, meta: SessionMeta, ask: AskRegistry): Promise<boolean> {
    if (await isMember(meta, ask)) return true
    const current = (await this.#parts.records.read(handle))?.meta
    const isNewer = current !== undefined && (current.owner !== meta.owner || current.epoch !== meta.epoch)
    if (isNewer && (await isMember(current, ask))) return true
    await this.#parts.endSessions.end(handle, { reason: 'owner-mismatch', actor: { type: 'system' } })
    return false
  }

  async #resealUnderEpoch(handle: string, owner: string, epoch: number): Promise<void> {
    for (let attempt = 1; attempt <= MAX_RESEALS; attempt += 1) {
      const record = await this.#parts.records.read(handle)
      if (record === undefined) throw new SessionEndedError('gone')
      if (record.meta.owner !== owner) throw optionError('except', 'a session of the same user')
      if ((record.meta.epoch ?? 0) >= epoch) return
      const result = await this.#reseal(record, epoch)
      if ('error' in result) throw result.error
      if (result.outcome === 'stored') return
      if (result.outcome === 'ended' || result.outcome === 'gone') throw new SessionEndedError(result.outcome)
    }
    throw new SessionConflictError()
  }

  async #reseal(record: SessionRecord, epoch: number): Promise<PutResult> {
    const { kind, handle, body, meta, etag, expiresAtMs } = record
    const { backend, records } = this.#parts
    const sealed = await records.seal(kind, handle, { body, meta: { ...meta, epoch } })
    const ttlMs = Math.max(1, expiresAtMs - (await backend.now()))
    return records.put(sealed, { expect: { kind: 'version', etag }, ttlMs })
  }
}

const SIGNED_OUT = { reason: 'logout', actor: { type: 'user' } }
const EVICTED = { reason: 'evicted', actor: { type: 'system' } }

interface Joined {
  readonly epoch: number
  readonly seenAtMs: number
  readonly evicted: readonly EndedRecord[]
}

/** Asks a registry for the membership of a session. */
type AskRegistry = (owner: string, meta: SessionMeta) => Promise<Standing>

async function isMember(meta: SessionMeta, ask: AskRegistry): Promise<boolean> {
  if (meta.owner === undefined) return true
  const { isMember, epoch } = await ask(meta.owner, meta)
  return isMember && (meta.epoch ?? 0) >= epoch
}
