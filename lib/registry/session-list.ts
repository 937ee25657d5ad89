import type { Backend } from '../backend/backend.ts'
import { type Departed, type Member, PAGE_SIZE } from '../backend/registry.ts'
import type { Sealer } from '../seal/sealer.ts'
import { decodeHistory } from '../session/ending.ts'
import type { ShownMeta } from '../session/metadata.ts'
import type { RecordKind, SessionRecords } from '../session/records.ts'
import { CONFIRMED_WITHIN_MS, type Membership } from './membership.ts'
import type { ActiveSession, EndedSession } from './registry.ts'

/** One page of active sessions, newest first. */
export interface SessionPage {
  readonly sessions: readonly ActiveSession[]
  /** The cursor of the next page; none after the last. */
  readonly next: string | undefined
  /** Recently ended sessions, newest first; on the first page only. */
  readonly history: readonly Departed[]
}

export interface SessionListParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly records: SessionRecords
  readonly membership: Membership
  readonly prefix: string
}

/** The page to read. */
export interface SessionPageTerms {
  readonly owner: string
  readonly cursor?: string | undefined
  /** The handle of the current session. */
  readonly current?: string | undefined
  /** The most sessions to return; one page is read at most. */
  readonly limit: number
  /** Returns sessions of this kind only. */
  readonly kind?: RecordKind | undefined
}

/** Reads a registry page by page, and repairs what interrupted calls left in it. */
export class SessionList {
  readonly #parts: SessionListParts

  constructor(parts: SessionListParts) {
    this.#parts = parts
  }

  async page({ owner, cursor, current, limit, kind }: SessionPageTerms): Promise<SessionPage> {
    const { backend } = this.#parts
    const [roster, nowMs] = await Promise.all([backend.registry.roster(owner, cursor), backend.now()])
    await this.#parts.membership.endPending(owner, roster.pending)
    // Only reading the records shows which ones are of the kind.
    const members = kind === undefined ? roster.members.slice(-Math.min(limit, PAGE_SIZE)) : roster.members
    const found = await Promise.all(members.map((member) => this.#registered(member, owner, current)))
    // A sign-in registers before it stores, so a member without a record may still be stored. Its unconfirmed place is removed
    // by the next sign-in, which leaves a tombstone.
    const isDead = ({ isTaken, seenAtMs }: Member, index: number) =>
      found[index] === 'absent' && isTaken && seenAtMs < nowMs - CONFIRMED_WITHIN_MS
    const dead = members.filter(isDead).map(({ handle }) => handle)
    if (dead.length > 0) await backend.registry.withdraw(owner, { handles: dead, departedTtlMs: 1 })
    const active = found.reverse().filter((session) => typeof session === 'object')
    const sessions = active.filter((session) => isOfKind(session, kind)).slice(0, limit)
    return { sessions, next: roster.next, history: roster.departed }
  }

  /** Returns whether it is an active session of the owner. */
  async has(owner: string, handle: string): Promise<boolean> {
    const { backend, records } = this.#parts
    const [standing, record] = await Promise.all([
      backend.registry.standing(owner, handle),
      records.read(handle),
    ])
    return standing.isMember && record?.meta.owner === owner
  }

  /** Returns the handles of the kind; includes those without a record, as a sign-in may be under way. */
  async ofKind(handles: readonly string[], kind: RecordKind | undefined): Promise<readonly string[]> {
    if (kind === undefined) return handles
    const records = await Promise.all(handles.map((handle) => this.#parts.records.read(handle)))
    return handles.filter((_, at) => (records[at]?.kind ?? kind) === kind)
  }

  /** Returns the recently ended sessions that can still be opened. */
  async ended(history: readonly Departed[], kind?: RecordKind): Promise<EndedSession[]> {
    const sessions = await Promise.all(history.map((one) => this.#ended(one)))
    return sessions.filter((session) => session !== undefined).filter((session) => isOfKind(session, kind))
  }

  async #registered(
    { handle, seenAtMs }: Member,
    owner: string,
    current?: string,
  ): Promise<ActiveSession | 'absent' | 'unreadable'> {
    const record = await this.#parts.records.read(handle)
    // The record may be sealed with a secret that only another process has.
    if (record === undefined) return (await this.#parts.backend.get(handle, 0)) ? 'unreadable' : 'absent'
    if (record.meta.owner !== owner) return 'absent'
    return {
      handle,
      kind: record.kind,
      status: 'active',
      ...shownOf(record.meta),
      lastSeenAt: new Date(seenAtMs),
      expiresAt: new Date(record.expiresAtMs),
      isCurrent: handle === current,
    }
  }

  async #ended({ handle, blob }: Departed): Promise<EndedSession | undefined> {
    const { sealer, prefix } = this.#parts
    const opened = await sealer.open(blob, { purpose: 'departed', prefix, name: handle })
    const history = opened.state === 'open' ? decodeHistory(opened.plaintext) : undefined
    if (history === undefined) return undefined
    const { kind = 'session', meta, ending } = history
    return {
      handle,
      kind,
      status: 'ended',
      ...shownOf(meta),
      ending,
      isCurrent: false,
    }
  }
}

function shownOf({ createdAtMs, device }: ShownMeta) {
  return { createdAt: new Date(createdAtMs), ...(device && { device }) }
}

function isOfKind(session: { readonly kind: RecordKind }, kind: RecordKind | undefined): boolean {
  return kind === undefined || session.kind === kind
}
