import type { Backend, EndedHandles, Fate } from '../backend/backend.ts'
import type { Departed, Member, Roster } from '../backend/registry.ts'
import { checkKnown, checkObject } from '../option.ts'
import type { Sealer } from '../seal/sealer.ts'
import type { CallsUnderWay } from './calls-under-way.ts'
import { late } from './deadline.ts'
import { decodeDeparted } from './departed-session.ts'
import { failInDoubt } from './doubt.ts'
import {
  type Durability,
  type ReplicaTerms,
  type ResolvedReplicaTerms,
  resolveReplicaTerms,
} from './durability.ts'
import type { UserId } from './owner.ts'
import type { SessionDevice } from './session-device.ts'
import type { SessionEnder, Struck } from './session-ender.ts'
import { decodeEnding, type EndingTerms, endingOf, type SessionEnding } from './session-ending.ts'
import type { SessionRecords } from './session-records.ts'
import type { SessionSparer } from './session-sparer.ts'
import { handleOfTarget, ownerOf, type SessionTarget, type WatchTarget, watchedOf } from './session-target.ts'
import type { SessionWatch, WatchOptions } from './session-watch.ts'
import { type Finding, SessionWatchers } from './session-watchers.ts'

/** A session as its user's device list shows it. */
export interface RegisteredSession {
  /** Its name for `end`, `watch` and admin routes. Nobody can sign in with it. */
  readonly handle: string
  readonly status: 'active' | 'ended'
  readonly createdAt: Date
  /** As fresh as `touchAfter`; of an active session only. */
  readonly lastSeenAt?: Date
  /** Of an active session only. */
  readonly expiresAt?: Date
  /** What the `device` option noted at sign-in. */
  readonly device?: SessionDevice
  /** How it ended; of an ended session only. */
  readonly ending?: SessionEnding
  /** Whether it is the one that `list` was told is the current one. */
  readonly isCurrent: boolean
}

export interface ListOptions {
  /** Also those that were ended within `endedTtl`, at most 100. @defaultValue false */
  readonly includeEnded?: boolean | undefined
  /** The session to mark as `isCurrent`. */
  readonly current?: SessionTarget | undefined
}

export interface EndAllTerms extends EndingTerms {
  /** The one session to keep. */
  readonly except?: SessionTarget | undefined
}

/** `not-found`: nothing lives or has ended under that name; it is barred for the next 15 minutes all the same. */
export type EndOutcome = 'ended' | 'already-ended' | 'not-found'

/** What `end` answers when it was told of replicas. */
export interface DurableEnd extends Durability {
  readonly outcome: EndOutcome
}

/** What `endAll` answers when it was told of replicas. */
export interface DurableEndAll extends Durability {
  /** The handles of those it ended. */
  readonly ended: readonly string[]
}

export interface SessionRegistryParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly records: SessionRecords
  readonly ender: SessionEnder
  readonly sparer: SessionSparer
  readonly prefix: string
  readonly endedTtlMs: number
  readonly watchIntervalMs: number
  readonly calls: CallsUnderWay
}

const END_TERMS = ['reason', 'actor', 'replicas', 'timeoutMs'] as const
const END_ALL_TERMS = ['except', ...END_TERMS] as const

// A sign-in registers before it stores: a member without a record is dead only when no sign-in can still be under way.
const SETTLED_AFTER_MS = 60_000

/**
 * A store's registry: which sessions a user has, and how to end them. User ids are those that the `userId` option
 * returns. Calls reject with `StoreUnavailableError` or `OutcomeUnknownError` when the backend fails, and all of
 * them are safe to repeat.
 *
 * @example
 * ```ts
 * import { InProcessStore } from 'express-session-valkey'
 *
 * const { registry } = new InProcessStore({ maxSessionsPerUser: 5 })
 * const devices = await registry.list('alice')
 * const ended = await registry.endAll('alice', { reason: 'password-changed', actor: { type: 'user' } })
 * console.log(devices.length, ended.length)
 * ```
 */
export class SessionRegistry {
  readonly #parts: SessionRegistryParts
  readonly #watchers: SessionWatchers

  /** Made by the store. */
  constructor(parts: SessionRegistryParts) {
    this.#parts = parts
    const { backend, watchIntervalMs: intervalMs } = parts
    const look = (handles: readonly string[]) => this.#look(handles)
    this.#watchers = new SessionWatchers({ backend, registry: backend.lookout.registry, look, intervalMs })
  }

  /** The user's sessions, newest first: the living ones, and with `includeEnded` those that ended lately. */
  list(userId: UserId, options: ListOptions = {}): Promise<RegisteredSession[]> {
    checkObject('options', options)
    checkKnown(options, ['includeEnded', 'current'], 'list')
    const current = options.current === undefined ? undefined : handleOfTarget('current', options.current)
    const owner = ownerOf(userId)
    const { includeEnded = false } = options
    return this.#parts.calls.add('list', () => this.#list(owner, current, includeEnded), late.read)
  }

  /** How many sessions of the user live. */
  async count(userId: UserId): Promise<number> {
    return (await this.list(userId)).length
  }

  /**
   * Ends one session, by its id or handle. With `replicas` it also tells how many of them have it by then.
   *
   * Rejects with a `TypeError` if the target or a term is wrong, with `SessionIdError` if the id cannot be one.
   */
  end(target: SessionTarget, terms?: EndingTerms): Promise<EndOutcome>
  end(target: SessionTarget, terms: EndingTerms & ReplicaTerms): Promise<DurableEnd>
  async end(
    target: SessionTarget,
    options: EndingTerms & Partial<ReplicaTerms> = {},
  ): Promise<EndOutcome | DurableEnd> {
    checkObject('terms', options)
    checkKnown(options, END_TERMS, 'end')
    const { replicas, timeoutMs, ...terms } = options
    const handle = handleOfTarget('target', target)
    const durably = resolveReplicaTerms(replicas, timeoutMs)
    const outcome = await this.#parts.calls.add('end', () => this.#end(handle, terms), late.write)
    return durably ? { outcome, ...(await this.#confirm({ handles: [handle] }, durably)) } : outcome
  }

  /**
   * Ends all sessions of a user, but for the one `except` names, and answers the handles of those it ended. Once
   * it resolves, no session of the user that began before the call can be used. If it rejects, repeat it. With
   * `replicas` it also tells how many of them have all of it by then.
   */
  endAll(userId: UserId, terms?: EndAllTerms): Promise<string[]>
  endAll(userId: UserId, terms: EndAllTerms & ReplicaTerms): Promise<DurableEndAll>
  async endAll(
    userId: UserId,
    options: EndAllTerms & Partial<ReplicaTerms> = {},
  ): Promise<string[] | DurableEndAll> {
    checkObject('terms', options)
    checkKnown(options, END_ALL_TERMS, 'endAll')
    const { replicas, timeoutMs, except, ...terms } = options
    const owner = ownerOf(userId)
    const spared = except === undefined ? undefined : handleOfTarget('except', except)
    const durably = resolveReplicaTerms(replicas, timeoutMs)
    const struck = await this.#parts.calls.add(
      'end-all',
      () => this.#endAll(owner, spared, terms),
      late.write,
    )
    const ended = struck.filter(({ answer }) => answer === 'ended').map(({ handle }) => handle)
    if (durably === undefined) return ended
    const handles = struck.map(({ handle }) => handle)
    return { ended, ...(await this.#confirm({ handles, owner }, durably)) }
  }

  /** How a session ended, as long as its tombstone stands; `undefined` if it has not. */
  ending(target: SessionTarget): Promise<SessionEnding | undefined> {
    const handle = handleOfTarget('target', target)
    return this.#parts.calls.add('ending', () => this.#ending(handle), late.read)
  }

  /**
   * Tells when a session ends, or each time one of a user's does, on whatever node: await its `ended`, or iterate it.
   */
  watch(target: WatchTarget, options: WatchOptions = {}): SessionWatch {
    checkObject('options', options)
    checkKnown(options, ['signal'], 'watch')
    return this.#watchers.watch(watchedOf(target), options)
  }

  /** Ends all watches. Called by the store's `close`. */
  close(): void {
    this.#watchers.close()
  }

  async #list(
    owner: string,
    current: string | undefined,
    includeEnded: boolean,
  ): Promise<RegisteredSession[]> {
    const { backend } = this.#parts
    const [roster, nowMs] = await Promise.all([backend.registry.roster(owner), backend.now()])
    await this.#endPending(owner, roster)
    const members = await Promise.all(
      roster.members.map((member) => this.#registered(member, owner, current)),
    )
    const isStale = (member: Member, index: number) =>
      members[index] === 'vacant' && member.seenAtMs < nowMs - SETTLED_AFTER_MS
    const dead = roster.members.filter(isStale).map(({ handle }) => handle)
    if (dead.length > 0) await backend.registry.withdraw(owner, { handles: dead, departedTtlMs: 1 })
    const ended = includeEnded
      ? await Promise.all(roster.departed.map((departed) => this.#departed(departed)))
      : []
    return [...members.reverse(), ...ended].filter((session) => typeof session === 'object')
  }

  // What an interrupted sign-in displaced and left standing.
  async #endPending(owner: string, { pending }: Roster): Promise<void> {
    if (pending.length === 0) return
    const { ender, backend } = this.#parts
    const ending = endingOf({ reason: 'evicted', actor: { type: 'system' } }, await backend.now())
    const { struck, failure } = await ender.strikeAll(pending, ending)
    await ender.withdraw(owner, struck)
    if (failure) throw failure
  }

  async #registered(
    { handle, seenAtMs }: Member,
    owner: string,
    current?: string,
  ): Promise<RegisteredSession | 'vacant' | 'unreadable'> {
    const record = await this.#parts.records.read(handle)
    // Another process may have the secret that this one lacks.
    if (record === undefined) return (await this.#parts.backend.get(handle, 0)) ? 'unreadable' : 'vacant'
    if (record.meta.owner !== owner) return 'vacant'
    const { createdAtMs, device } = record.meta
    return {
      handle,
      status: 'active',
      createdAt: new Date(createdAtMs),
      lastSeenAt: new Date(seenAtMs),
      expiresAt: new Date(record.expiresAtMs),
      ...(device && { device }),
      isCurrent: handle === current,
    }
  }

  async #departed({ handle, blob }: Departed): Promise<RegisteredSession | undefined> {
    const plaintext = await this.#open('departed', handle, blob)
    const departed = plaintext && decodeDeparted(plaintext)
    if (departed === undefined) return undefined
    const { createdAtMs, device, ending } = departed
    return {
      handle,
      status: 'ended',
      createdAt: new Date(createdAtMs),
      ...(device && { device }),
      ending,
      isCurrent: false,
    }
  }

  async #end(handle: string, terms: EndingTerms): Promise<EndOutcome> {
    const { ender, backend } = this.#parts
    const answer = await ender.end(handle, endingOf(terms, await backend.now()))
    return answer === 'missing' ? 'not-found' : answer
  }

  async #endAll(owner: string, except: string | undefined, terms: EndingTerms): Promise<readonly Struck[]> {
    const { backend, ender } = this.#parts
    const ending = endingOf(terms, await backend.now())
    const { members, pending } = await this.#raise(owner, except)
    const handles = [...members.map(({ handle }) => handle), ...pending].filter((handle) => handle !== except)
    const { struck, failure } = await ender.strikeAll(handles, ending)
    await ender.withdraw(owner, struck).catch(failInDoubt)
    // The epoch was raised, so something was done.
    if (failure) failInDoubt(failure)
    return struck
  }

  async #confirm(ended: EndedHandles, terms: ResolvedReplicaTerms): Promise<Durability> {
    const acknowledgedBy = await this.#parts.backend.confirm(ended, terms)
    return { acknowledgedBy, isDurable: acknowledgedBy >= terms.replicas }
  }

  // The spared session is sealed with the new epoch before that comes into force: at no instant does it look ended.
  async #raise(owner: string, except: string | undefined): Promise<Roster> {
    const { backend, sparer, endedTtlMs: keepMs } = this.#parts
    if (except === undefined) return backend.registry.raise(owner, { keepMs })
    const { epoch } = await backend.registry.roster(owner)
    const next = Math.max(epoch + 1, Math.floor((await backend.now()) * 1000))
    await sparer.spare(except, owner, next)
    return backend.registry.raise(owner, { keepMs, epoch: next })
  }

  async #look(handles: readonly string[]): Promise<readonly (Finding | undefined)[]> {
    const { backend } = this.#parts
    const fates = await backend.lookout.fates(handles)
    const untold = async (reason: string) => {
      const nowMs = await backend.now().catch(() => Date.now())
      return endingOf({ reason, actor: { type: 'system' } }, nowMs)
    }
    const judge = async (fate: Fate | undefined, at: number): Promise<Finding | undefined> => {
      if (fate === undefined || fate.state === 'living') return fate
      if (fate.state === 'absent') return { state: 'absent', ending: await untold('expired') }
      // The secrets may be what cannot be had just now.
      const ending = await this.#opened(handles[at] ?? '', fate.blob).catch(() => undefined)
      return { state: 'ended', ending: ending ?? (await untold('unknown')), owner: fate.owner }
    }
    return Promise.all(fates.map(judge))
  }

  async #ending(handle: string): Promise<SessionEnding | undefined> {
    const blob = await this.#parts.backend.ending(handle)
    return blob && this.#opened(handle, blob)
  }

  async #opened(handle: string, blob: Buffer): Promise<SessionEnding | undefined> {
    const plaintext = await this.#open('ending', handle, blob)
    return plaintext && decodeEnding(plaintext)
  }

  async #open(purpose: string, handle: string, blob: Buffer): Promise<Buffer | undefined> {
    const opened = await this.#parts.sealer.open(blob, { purpose, prefix: this.#parts.prefix, name: handle })
    return opened.state === 'open' ? opened.plaintext : undefined
  }
}
