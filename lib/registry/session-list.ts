import type { Backend } from '../backend/backend.ts'
import { type Departed, type Member, PAGE_SIZE, type Roster } from '../backend/registry.ts'
import type { Sealer } from '../seal/sealer.ts'
import { decodeDeparted } from '../session/departed.ts'
import type { SessionDevice } from '../session/device.ts'
import { endingOf, type SessionEnding } from '../session/ending.ts'
import type { SessionRecords } from '../session/records.ts'
import { MAX_ROUNDS, type SessionEnder } from './end-sessions.ts'
import { TAKEN_WITHIN_MS } from './membership.ts'

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
  /** What the `device` option noted at sign-in. Of an ended session nothing is kept that is larger than about 4,000 bytes. */
  readonly device?: SessionDevice
  /** How it ended; of an ended session only. */
  readonly ending?: SessionEnding
  /** Whether it is the one that `list` was told is the current one. */
  readonly isCurrent: boolean
}

/** Active sessions, newest first, and how to go on. */
export interface SessionPage {
  readonly sessions: readonly RegisteredSession[]
  /** The cursor of the next page; none after the last. */
  readonly next: string | undefined
  /** What ended lately, newest first; with the first page only. */
  readonly departed: readonly Departed[]
}

export interface SessionListParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly records: SessionRecords
  readonly ender: SessionEnder
  readonly prefix: string
}

/** Which page of whose list is wanted. */
export interface SessionPageTerms {
  readonly owner: string
  readonly cursor?: string | undefined
  /** The handle of the current session. */
  readonly current?: string | undefined
  /** How many sessions are wanted; no more than those of one page are read. */
  readonly limit: number
}

/** Reads a registry page by page, and rights what interrupted calls left in it. */
export class SessionList {
  readonly #parts: SessionListParts

  constructor(parts: SessionListParts) {
    this.#parts = parts
  }

  async page({ owner, cursor, current, limit }: SessionPageTerms): Promise<SessionPage> {
    const { backend } = this.#parts
    const [roster, nowMs] = await Promise.all([backend.registry.roster(owner, cursor), backend.now()])
    await this.#endPending(owner, roster)
    const members = roster.members.slice(-Math.min(limit, PAGE_SIZE))
    const found = await Promise.all(members.map((member) => this.#registered(member, owner, current)))
    // A sign-in registers before it stores, and even one that is held up for long may still store. A place that was not
    // taken goes with the next enrolment, whose tombstone keeps that out.
    const isDead = ({ isTaken, seenAtMs }: Member, index: number) =>
      found[index] === 'vacant' && isTaken && seenAtMs < nowMs - TAKEN_WITHIN_MS
    const dead = members.filter(isDead).map(({ handle }) => handle)
    if (dead.length > 0) await backend.registry.withdraw(owner, { handles: dead, departedTtlMs: 1 })
    const sessions = found.reverse().filter((session) => typeof session === 'object')
    return { sessions, next: roster.next, departed: roster.departed }
  }

  /** Whether it is an active session of the owner. */
  async has(owner: string, handle: string): Promise<boolean> {
    const { backend, records } = this.#parts
    const [standing, record] = await Promise.all([
      backend.registry.standing(owner, handle),
      records.read(handle),
    ])
    return standing.isMember && record?.meta.owner === owner
  }

  /** Those that ended lately and can still be read. */
  async ended(departed: readonly Departed[]): Promise<RegisteredSession[]> {
    const sessions = await Promise.all(departed.map((one) => this.#ended(one)))
    return sessions.filter((session) => session !== undefined)
  }

  // What an interrupted sign-in displaced and left standing.
  async #endPending(owner: string, { pending }: Roster): Promise<void> {
    const { ender, backend } = this.#parts
    let waiting = pending
    for (let round = 1; waiting.length > 0 && round <= MAX_ROUNDS; round += 1) {
      const ending = endingOf({ reason: 'evicted', actor: { type: 'system' } }, await backend.now())
      const { struck, failure } = await ender.strikeAll(waiting, ending)
      await ender.withdraw(owner, struck)
      if (failure) throw failure
      waiting = waiting.length < PAGE_SIZE ? [] : (await backend.registry.roster(owner)).pending
    }
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

  async #ended({ handle, blob }: Departed): Promise<RegisteredSession | undefined> {
    const { sealer, prefix } = this.#parts
    const opened = await sealer.open(blob, { purpose: 'departed', prefix, name: handle })
    const departed = opened.state === 'open' ? decodeDeparted(opened.plaintext) : undefined
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
}
