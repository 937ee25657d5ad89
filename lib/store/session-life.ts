import type { Request } from 'express'
import type { SessionData } from 'express-session'
import type { Backend } from '../backend/backend.ts'
import { SessionEndedError } from '../errors.ts'
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
import { SaveQueue } from './save-queue.ts'
import { SessionCopy } from './session-copy.ts'
import { SessionSaver } from './session-saver.ts'

export interface SessionLifeParts {
  readonly backend: Backend
  readonly options: ResolvedOptions
  readonly announce: Announce
  readonly records: SessionRecords
  readonly codec: SessionCodec
  readonly membership: Membership
  readonly endSessions: EndSessions
}

export interface LoadedSession {
  readonly data: SessionData
  readonly record: SessionRecord
}

/** What happens to sessions between their first save and their end, apart from express-session and its callbacks. */
export class SessionLife {
  readonly #backend: Backend
  readonly #options: ResolvedOptions
  readonly #codec: SessionCodec
  readonly #records: SessionRecords
  readonly #reader: SessionReader
  readonly #saver: SessionSaver
  readonly #membership: Membership
  readonly #endSessions: EndSessions
  readonly #announce: Announce
  readonly #queue = new SaveQueue()
  /** How far the clock that decides is ahead of this process's, as of the last load. */
  #aheadMs = 0

  constructor({ backend, options, announce, records, codec, membership, endSessions }: SessionLifeParts) {
    this.#backend = backend
    this.#options = options
    this.#announce = announce
    this.#codec = codec
    this.#records = records
    this.#membership = membership
    this.#endSessions = endSessions
    this.#reader = new SessionReader(codec, options.userId)
    this.#saver = new SessionSaver({
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

  async load(handle: string): Promise<LoadedSession | undefined> {
    const record = await this.#records.read(handle)
    return record && this.loaded(record)
  }

  /** The session of a record, as {@link load} returns it. */
  async loaded(record: SessionRecord): Promise<LoadedSession | undefined> {
    const { handle } = record
    const nowMs = await this.#backend.now()
    this.#aheadMs = nowMs - this.#options.clock.now()
    const endsAtMs = this.#hardEndOf(record.meta)
    if (nowMs >= (endsAtMs ?? Number.POSITIVE_INFINITY)) return this.#expire(handle)
    if (
      this.#options.verifyOwner === 'always' &&
      !(await this.#membership.checkMembership(handle, record.meta))
    )
      return undefined
    const leftMs = Math.min(record.expiresAtMs, endsAtMs ?? record.expiresAtMs) - nowMs
    const content = await this.#codec.decode(record.body)
    const cookie = loadedCookie(content?.['cookie'], this.#options.clock.now() + leftMs)
    if (content === undefined || cookie === undefined) return this.#records.unusable(handle)
    this.#reader.note(record.body, content)
    return { data: { ...content, cookie }, record: { ...record, meta: { ...record.meta, endsAtMs } } }
  }

  /** Stores what the live session is now. What it holds is captured before this returns. */
  save(copy: SessionCopy, live: SessionData): Promise<void> {
    const draft = copy.draft(live, this.#codec.encodeSession(live), this.#ttlMsOf(live))
    return this.#queue.run(copy.handle, async () => {
      if (copy.refusal) throw copy.refusal
      if (await this.#saver.isUnchanged(copy, draft)) return this.#extend(copy, draft.ttlMs)
      return this.#saver.save(copy, draft)
    })
  }

  /**
   * Whether the live session is stored as it is and no extension is due, as far as can be told without waiting:
   * `false` with an async serializer.
   */
  isStored(copy: SessionCopy, live: SessionData): boolean {
    const { record } = copy
    if (record === undefined || copy.refusal) return false
    const reading = this.#reader.known(record.body)
    if (reading === undefined || !this.#saver.isInStep(copy, reading)) return false
    const body = this.#codec.encodeNow(live)
    if (body === undefined || !sameBody(body, record.body)) return false
    const nowMs = this.#options.clock.now()
    const { expiresAtMs } = record
    const moment = { nowMs: nowMs + this.#aheadMs, expiresAtMs, hardEndMs: record.meta.endsAtMs }
    return !isTouchDue({ ...moment, ttlMs: this.#ttlMsOf(live) }, this.#options)
  }

  /** Stores a plain object under a handle, whatever stands there, unless the session was ended. */
  write(handle: string, session: SessionData): Promise<void> {
    const ttlMs = idleTtlMs(session, this.#options, this.#options.clock.now())
    const content = this.#codec.encodeSession(session)
    return this.#queue.run(handle, async () => {
      const body = await content
      const { owner } = await this.#reader.read(body)
      if (owner === undefined) this.#reader.checkNobody(session)
      return this.#saver.overwrite(handle, { body, owner, ttlMs })
    })
  }

  /**
   * Extends the session, if by enough to be worth a write. Rejects if that finds it ended, or gone. A cookie that alone
   * has changed is stored: express-session, which does not see that, asks for no save. Other changes are left to a save.
   */
  async touch(copy: SessionCopy, live: SessionData): Promise<void> {
    if (this.hasOtherCookie(copy, live) && (await this.#hasSameKeys(copy, live))) await this.save(copy, live)
    else await this.#extend(copy, this.#ttlMsOf(live))
  }

  async touchUnloaded(handle: string, session: SessionData): Promise<void> {
    const ttlMs = idleTtlMs(session, this.#options, this.#options.clock.now())
    const record = await this.#records.read(handle)
    if (record) await this.#extend(new SessionCopy(handle, { record }), ttlMs)
  }

  /** Ends a session at the wish of its request, and returns what it was; `undefined` if it did not live. */
  end(handle: string): Promise<EndedMember | undefined> {
    return this.#membership.end(handle)
  }

  /** As {@link end}, for a session that another is to replace; returns what of a user's session that one may carry on. */
  async supersede({ handle, record }: SessionCopy): Promise<Predecessor | undefined> {
    const owner = record?.meta.owner
    if (record && owner !== undefined) return this.#membership.supersede(handle, { ...record.meta, owner })
    await this.end(handle)
    return undefined
  }

  /** Why there is nothing to load: `gone` without a tombstone. */
  async endingOf(handle: string): Promise<'ended' | 'gone'> {
    return (await this.#backend.ending(handle)) === undefined ? 'gone' : 'ended'
  }

  /** What a session that replaces another takes over from it. */
  inheritanceOf(copy: SessionCopy | undefined): SessionMeta | undefined {
    const meta = copy?.record?.meta ?? copy?.inherited
    if (!this.#options.absoluteTtlSurvivesRegenerate || meta === undefined) return undefined
    return { createdAtMs: meta.createdAtMs, endsAtMs: meta.endsAtMs }
  }

  // Its time was shortened by option, or somebody kept the record beyond it.
  async #expire(handle: string): Promise<undefined> {
    await this.#endSessions.end(handle, { reason: 'expired-absolute', actor: { type: 'system' } })
  }

  async #extend(copy: SessionCopy, ttlMs: number): Promise<void> {
    const { record } = copy
    if (record === undefined) return
    const nowMs = await this.#backend.now()
    const moment = { ttlMs, nowMs, expiresAtMs: record.expiresAtMs, hardEndMs: record.meta.endsAtMs }
    if (!isTouchDue(moment, this.#options)) return
    if (!record.isCurrent) return this.#reseal(copy, record, ttlMs)
    // Sent one behind the other: one round trip, and on one server the registry moves first.
    // Another request may have stored a longer lifetime meanwhile. A shorter one is set where the record shows a longer.
    const isExtension = nowMs + ttlMs >= record.expiresAtMs
    const extended = this.#membership.extend(copy.handle, record.meta, ttlMs, isExtension)
    const touched = this.#backend.touch(copy.handle, ttlMs, isExtension)
    const [extension, touch] = await Promise.allSettled([extended, touched])
    if (extension.status === 'rejected') {
      // Another node may keep the registry: the session must not outlive its place there.
      await this.#backend.touch(copy.handle, Math.max(1, record.expiresAtMs - nowMs)).catch(() => {})
      throw extension.reason
    }
    if (touch.status === 'rejected') throw touch.reason
    if (!extension.value) this.#refuse(copy.handle, 'ended')
    if (touch.value === undefined) this.#refuse(copy.handle, await this.endingOf(copy.handle))
    if (copy.record === record) copy.record = { ...record, expiresAtMs: touch.value }
  }

  async #reseal(copy: SessionCopy, record: SessionRecord, ttlMs: number): Promise<void> {
    if (!(await this.#membership.extend(copy.handle, record.meta, ttlMs))) this.#refuse(copy.handle, 'ended')
    if (await this.#saver.reseal(copy, ttlMs)) return
    const expiresAtMs = await this.#backend.touch(copy.handle, ttlMs)
    if (expiresAtMs === undefined) this.#refuse(copy.handle, await this.endingOf(copy.handle))
  }

  // The request has read what it must not have any more, so its response is refused as that of a save would be.
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

  hasOtherCookie({ record }: SessionCopy, live: SessionData): boolean {
    const reading = record && this.#reader.known(record.body)
    return (
      reading !== undefined && changedKeys({ ...reading.cookie }, { ...storedCookie(live.cookie) }).length > 0
    )
  }

  async #hasSameKeys({ record }: SessionCopy, live: SessionData): Promise<boolean> {
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
