import type { Request } from 'express'
import type { SessionData } from 'express-session'
import type { Backend } from '../backend/backend.ts'
import {
  SessionConflictError,
  SessionEndedError,
  SessionInvalidError,
  SessionUnknownKeyError,
} from '../errors.ts'
import { askOption } from '../option.ts'
import type { EndSessions } from '../registry/end-sessions.ts'
import type { EndedMember, Membership, Predecessor } from '../registry/membership.ts'
import { type SessionCodec, sameBody } from '../session/codec.ts'
import { loadedCookie, storedCookie } from '../session/cookie.ts'
import { deviceOf, type SessionDevice } from '../session/device.ts'
import type { Announce } from '../session/events.ts'
import { hardEndMs, idleTtlMs, isTouchDue, liveTtlMs } from '../session/lifetime.ts'
import { changedKeys, changesBetween } from '../session/merge.ts'
import type { SessionMeta } from '../session/metadata.ts'
import { SessionReader } from '../session/reading.ts'
import type { SessionRecord, SessionRecords } from '../session/records.ts'
import type { ResolvedOptions } from './options.ts'
import { SaveQueue, SaveSession } from './save-session.ts'
import type { AdoptOutcome, ListedSession } from './store.ts'
import { type PendingSave, TrackedSession } from './tracked-session.ts'

export interface SessionsParts {
  readonly backend: Backend
  readonly options: ResolvedOptions
  readonly announce: Announce
  readonly records: SessionRecords
  /** Opens records of every kind, so that a list passes over those of another. */
  readonly recordsOfAll: SessionRecords
  readonly codec: SessionCodec
  readonly membership: Membership
  readonly endSessions: EndSessions
}

// However many a batch of the backend has: others are served between them.
const SIDE_BY_SIDE = 100

/** A session as it is stored. */
export interface StoredSession {
  /** The labels it is sealed with. */
  readonly labels: readonly string[]
  /** `undefined` if the session is not stored yet. */
  readonly data: SessionData | undefined
}

export interface LoadedSession {
  readonly data: SessionData
  readonly record: SessionRecord
}

/** Loads, saves, extends, ends and lists the sessions of a store. Knows none of express-session's callbacks. */
export class Sessions {
  readonly #backend: Backend
  readonly #options: ResolvedOptions
  readonly #codec: SessionCodec
  readonly #records: SessionRecords
  readonly #recordsOfAll: SessionRecords
  readonly #reader: SessionReader
  readonly #saving: SaveSession
  readonly #membership: Membership
  readonly #endSessions: EndSessions
  readonly #announce: Announce
  readonly #queue = new SaveQueue()
  /** How far the clock that decides is ahead of this process's, as of the last load. */
  #aheadMs = 0

  constructor({
    backend,
    options,
    announce,
    records,
    recordsOfAll,
    codec,
    membership,
    endSessions,
  }: SessionsParts) {
    this.#backend = backend
    this.#options = options
    this.#announce = announce
    this.#codec = codec
    this.#records = records
    this.#recordsOfAll = recordsOfAll
    this.#membership = membership
    this.#endSessions = endSessions
    this.#reader = new SessionReader(codec, options.userId)
    this.#saving = new SaveSession({
      records,
      codec,
      reader: this.#reader,
      membership,
      concurrency: options.concurrency,
      lifetime: options,
      announce,
      ttlMsOf: (session) => this.#ttlMsOf(session as SessionData),
      deviceOf: (live) => this.#deviceOf(live),
      newMeta: () => this.#newMeta(),
      now: () => backend.now(),
    })
  }

  /** Returns the session under a handle, `undefined` if there is none that can be used. */
  load(handle: string): Promise<LoadedSession | undefined> {
    return this.#loadOf(this.#records.read(handle))
  }

  // Awaits only promises: awaiting a known value costs as much as computing it.
  async #loadOf(reading: Promise<SessionRecord | undefined>): Promise<LoadedSession | undefined> {
    const record = await reading
    if (record === undefined) return undefined
    const { handle, meta, body, expiresAtMs } = record
    const asking = this.#backend.now()
    const nowMs = typeof asking === 'number' ? asking : await asking
    const ownMs = this.#options.clock.now()
    this.#aheadMs = nowMs - ownMs
    const endsAtMs = this.#hardEndOf(meta)
    if (endsAtMs !== undefined && nowMs >= endsAtMs) return this.#expire(handle)
    const isChecked = this.#options.verifyOwner === 'always'
    if (isChecked && !(await this.#membership.checkMembership(handle, meta))) return undefined
    const decoding = this.#codec.decode(body)
    const content = decoding instanceof Promise ? await decoding : decoding
    const leftMs = Math.min(expiresAtMs, endsAtMs ?? expiresAtMs) - nowMs
    const cookie = loadedCookie(content?.['cookie'], ownMs + leftMs)
    if (content === undefined || cookie === undefined) return this.#records.unusable(handle)
    this.#reader.note(body, content)
    const isKept = endsAtMs === meta.endsAtMs
    return {
      data: { ...content, cookie },
      record: isKept ? record : { ...record, meta: { ...meta, endsAtMs } },
    }
  }

  /** Returns what is stored of a session, whichever request stored it. Rejects if it was ended, or expired, since it was loaded. */
  async stored(tracked: TrackedSession): Promise<StoredSession> {
    tracked.checkUsable()
    if (tracked.record === undefined && !tracked.mayBeStored)
      return { labels: tracked.labels, data: undefined }
    const loaded = await this.load(tracked.handle)
    if (loaded === undefined && tracked.record) throw new SessionEndedError('gone')
    return { labels: loaded?.record.meta.labels ?? [], data: loaded?.data }
  }

  /** Stores a live session. Captures its content before returning. */
  save(tracked: TrackedSession, live: SessionData): Promise<void> {
    const pending = tracked.capture(live, this.#codec.encodeSession(live), this.#ttlMsOf(live))
    return this.#queue.run(tracked.handle, () => this.#save(tracked, pending))
  }

  async #save(tracked: TrackedSession, pending: PendingSave): Promise<void> {
    tracked.checkUsable()
    const { record } = tracked
    // A failure goes on to a save, which notes it.
    const ours = pending.ours instanceof Promise ? await pending.ours.catch(() => undefined) : pending.ours
    const isSame = record !== undefined && ours !== undefined && sameBody(ours, record.body)
    if (isSame && (await this.#saving.isInStep(tracked, record))) await this.#extend(tracked, pending.ttlMs)
    else await this.#saving.save(tracked, pending)
  }

  /**
   * Returns whether the live session is stored as it is and no extension is due; `false` where finding out takes a wait, as
   * with an async serializer.
   */
  isStored(tracked: TrackedSession, live: SessionData): boolean {
    const { record } = tracked
    if (record === undefined || tracked.refusal) return false
    const { reading } = record.body
    if (reading === undefined || !tracked.isInStep(reading.owner)) return false
    const body = this.#codec.encodeNow(live)
    if (body === undefined || !sameBody(body, record.body)) return false
    const nowMs = this.#options.clock.now()
    const { expiresAtMs } = record
    const moment = { nowMs: nowMs + this.#aheadMs, expiresAtMs, hardEndMs: record.meta.endsAtMs }
    return !isTouchDue({ ...moment, ttlMs: this.#ttlMsOf(live) }, this.#options)
  }

  /** Stores a plain object under a handle, over any session that is stored there, unless it was ended. */
  write(handle: string, session: SessionData): Promise<void> {
    const ttlMs = idleTtlMs(session, this.#options, this.#options.clock.now())
    const written = this.#codec.encodeSession(session)
    return this.#queue.run(handle, async () => {
      const body = await written
      const { owner } = await this.#reader.read(body)
      if (owner === undefined) this.#reader.checkNobody(session)
      return this.#saving.overwrite(handle, { body, owner, ttlMs })
    })
  }

  /** Stores a session that another store has kept, unless one is stored under the handle, or was ended there. */
  adopt(handle: string, session: SessionData, leftMs: number | undefined): Promise<AdoptOutcome> {
    const ttlMs = leftMs ?? idleTtlMs(session, this.#options, this.#options.clock.now())
    const tracked = new TrackedSession(handle)
    const pending = tracked.capture(session, this.#codec.encodeSession(session), ttlMs)
    return this.#queue.run(handle, async () => {
      if ((await this.#backend.get(handle, 0)) !== undefined) return 'exists'
      if ((await this.#backend.ending(handle)) !== undefined) return 'ended'
      try {
        await this.#saving.save(tracked, pending)
        return 'adopted'
      } catch (error) {
        // Another process was first.
        if (error instanceof SessionConflictError) return 'exists'
        if (error instanceof SessionEndedError) return 'ended'
        throw error
      }
    })
  }

  /**
   * Extends the session, if by enough to be worth a write. Rejects if it was ended, or is gone. Stores a change of the cookie
   * alone, which express-session does not notice and so does not save; leaves other changes to a save.
   */
  async touch(tracked: TrackedSession, live: SessionData): Promise<void> {
    if (this.hasOtherCookie(tracked, live) && (await this.#hasSameKeys(tracked, live)))
      await this.save(tracked, live)
    else await this.#extend(tracked, this.#ttlMsOf(live))
  }

  async touchUnloaded(handle: string, session: SessionData): Promise<void> {
    const ttlMs = idleTtlMs(session, this.#options, this.#options.clock.now())
    const record = await this.#records.read(handle)
    if (record) await this.#extend(new TrackedSession(handle, { record }), ttlMs)
  }

  /** Ends a session that its request signs out of, and returns what it was; `undefined` if it was not active. */
  end(handle: string): Promise<EndedMember | undefined> {
    return this.#membership.end(handle)
  }

  /** As {@link end}, for a session that another replaces; returns what of a user's session the other may carry on. */
  async supersede({ handle, record }: TrackedSession): Promise<Predecessor | undefined> {
    const owner = record?.meta.owner
    if (record && owner !== undefined) return this.#membership.supersede(handle, { ...record.meta, owner })
    await this.end(handle)
    return undefined
  }

  /** Returns why there is no session to load: `gone` without a tombstone. */
  async endingOf(handle: string): Promise<'ended' | 'gone'> {
    return (await this.#backend.ending(handle)) === undefined ? 'gone' : 'ended'
  }

  /** Returns what a session that replaces another takes over from it. */
  inheritanceOf(tracked: TrackedSession | undefined): SessionMeta | undefined {
    const meta = tracked?.record?.meta ?? tracked?.inherited
    if (!this.#options.absoluteTtlSurvivesRegenerate || meta === undefined) return undefined
    return { createdAtMs: meta.createdAtMs, endsAtMs: meta.endsAtMs }
  }

  async ids(): Promise<string[]> {
    const found = new Set<string>()
    await this.#each(async (handle) => found.add(handle))
    return [...found]
  }

  async all(): Promise<ListedSession[]> {
    const found = new Map<string, ListedSession>()
    await this.#each(async (handle) => {
      const session = await this.#listed(handle)
      if (session) found.set(handle, session)
    })
    return [...found.values()]
  }

  async clear(): Promise<void> {
    await this.#each((handle) => this.#endSessions.end(handle, { reason: 'cleared', actor: { type: 'app' } }))
  }

  /** Visits every handle, a few side by side. */
  async #each(visit: (handle: string) => Promise<unknown>): Promise<void> {
    for await (const handles of this.#backend.handles())
      for (let start = 0; start < handles.length; start += SIDE_BY_SIDE)
        await Promise.all(handles.slice(start, start + SIDE_BY_SIDE).map(visit))
  }

  async #listed(handle: string): Promise<ListedSession | undefined> {
    try {
      const record = await this.#recordsOfAll.read(handle)
      const loaded = record?.kind === 'session' ? await this.#loadOf(Promise.resolve(record)) : undefined
      return loaded && { ...loaded.data, id: handle }
    } catch (error) {
      // With `onInvalid: 'error'` one bad record does not fail the list; its event was emitted.
      if (error instanceof SessionInvalidError || error instanceof SessionUnknownKeyError) return undefined
      throw error
    }
  }

  // An option has shortened its time since it was stored, or somebody has extended the record.
  async #expire(handle: string): Promise<undefined> {
    await this.#endSessions.end(handle, { reason: 'expired-absolute', actor: { type: 'system' } })
  }

  async #extend(tracked: TrackedSession, ttlMs: number): Promise<void> {
    const { record } = tracked
    if (record === undefined) return
    const nowMs = await this.#backend.now()
    const moment = { ttlMs, nowMs, expiresAtMs: record.expiresAtMs, hardEndMs: record.meta.endsAtMs }
    if (!isTouchDue(moment, this.#options)) return
    if (!record.isCurrent) return this.#reseal(tracked, record, ttlMs)
    // Sent one behind the other: one round trip, and on one server the registry moves first.
    // Another request may have stored a longer lifetime meanwhile; a shorter one is set only if the record has a longer.
    const isExtension = nowMs + ttlMs >= record.expiresAtMs
    const extended = this.#membership.extend(tracked.handle, record.meta, ttlMs, isExtension)
    const touched = this.#backend.touch(tracked.handle, ttlMs, isExtension)
    const [extension, touch] = await Promise.allSettled([extended, touched])
    if (extension.status === 'rejected') {
      // Another node may keep the registry: the session must not outlive its place there.
      await this.#backend.touch(tracked.handle, Math.max(1, record.expiresAtMs - nowMs)).catch(() => {})
      throw extension.reason
    }
    if (touch.status === 'rejected') throw touch.reason
    if (!extension.value) this.#refuse(tracked.handle, 'ended')
    if (touch.value === undefined) this.#refuse(tracked.handle, await this.endingOf(tracked.handle))
    tracked.update({ ...record, expiresAtMs: touch.value }, record)
  }

  async #reseal(tracked: TrackedSession, record: SessionRecord, ttlMs: number): Promise<void> {
    if (!(await this.#membership.extend(tracked.handle, record.meta, ttlMs)))
      this.#refuse(tracked.handle, 'ended')
    if (await this.#saving.reseal(tracked, record, ttlMs)) return
    const expiresAtMs = await this.#backend.touch(tracked.handle, ttlMs)
    if (expiresAtMs === undefined) this.#refuse(tracked.handle, await this.endingOf(tracked.handle))
  }

  // The request has read an ended session, so its response is refused like that of a save.
  #refuse(handle: string, ending: 'ended' | 'gone'): never {
    this.#announce('write-refused', { handle, ending })
    throw new SessionEndedError(ending)
  }

  #hardEndOf(meta: SessionMeta): number | undefined {
    return hardEndMs(meta.createdAtMs, meta.endsAtMs, this.#options)
  }

  async #newMeta(): Promise<SessionMeta> {
    const createdAtMs = Math.floor(await this.#backend.now())
    return { createdAtMs, endsAtMs: hardEndMs(createdAtMs, undefined, this.#options) }
  }

  /** Returns whether the live cookie is known to differ from the stored one. */
  hasOtherCookie({ record }: TrackedSession, live: SessionData): boolean {
    const reading = record?.body.reading
    return (
      reading !== undefined && changedKeys({ ...reading.cookie }, { ...storedCookie(live.cookie) }).length > 0
    )
  }

  async #hasSameKeys({ record }: TrackedSession, live: SessionData): Promise<boolean> {
    const body = await this.#codec.encodeSession(live)
    const [stored, now] = await Promise.all([
      record && this.#codec.decode(record.body),
      this.#codec.decode(body),
    ])
    return stored !== undefined && now !== undefined && changesBetween(stored, now).keys.length === 0
  }

  #ttlMsOf(live: SessionData): number {
    return liveTtlMs(live, this.#options, this.#options.clock.now())
  }

  #deviceOf(live: object): SessionDevice | undefined {
    const { req } = live as { readonly req?: Request }
    return req && deviceOf(askOption('device', () => this.#options.device?.(req)))
  }
}
