import type { SessionData } from 'express-session'
import type { Backend } from '../backend/backend.ts'
import type { Sealer } from '../seal/sealer.ts'
import type { ResolvedOptions } from './options.ts'
import { ownerName } from './owner.ts'
import { SaveQueue } from './save-queue.ts'
import { SessionCodec } from './session-codec.ts'
import { SessionCopy } from './session-copy.ts'
import { hardEndMs, idleTtlMs, isTouchDue } from './session-lifetime.ts'
import type { SessionMeta } from './session-plaintext.ts'
import { type SessionRecord, SessionRecords } from './session-records.ts'
import { SessionSaver } from './session-saver.ts'
import type { Announce } from './store-events.ts'
import { loadedCookie } from './stored-cookie.ts'

// How long a write that was given up may still arrive: about as long as TCP keeps retransmitting by Linux's default.
const FENCE_TTL_MS = 15 * 60_000

export interface SessionLifeParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly options: ResolvedOptions
  readonly announce: Announce
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
  readonly #saver: SessionSaver
  readonly #queue = new SaveQueue()

  constructor({ backend, sealer, options, announce }: SessionLifeParts) {
    const { prefix, maxBytes, onInvalid, onUnknownKey, concurrency } = options
    this.#backend = backend
    this.#options = options
    this.#codec = new SessionCodec(options.serializer, maxBytes)
    this.#records = new SessionRecords({ backend, sealer, prefix, maxBytes, onInvalid, onUnknownKey, announce })
    this.#saver = new SessionSaver({
      records: this.#records,
      codec: this.#codec,
      concurrency,
      announce,
      ownerOf: (session) => this.#ownerOf(session),
      newMeta: () => this.#newMeta(),
    })
  }

  async load(handle: string): Promise<LoadedSession | undefined> {
    const record = await this.#records.read(handle)
    if (record === undefined) return undefined
    const nowMs = await this.#backend.now()
    const endsAtMs = this.#hardEndOf(record.meta)
    if (nowMs >= (endsAtMs ?? Number.POSITIVE_INFINITY)) return undefined
    const leftMs = Math.min(record.expiresAtMs, endsAtMs ?? record.expiresAtMs) - nowMs
    const content = await this.#codec.decode(record.body)
    const cookie = loadedCookie(content?.['cookie'], this.#options.clock.now() + leftMs)
    if (content === undefined || cookie === undefined) return this.#records.unusable(handle)
    return { data: { ...content, cookie }, record: { ...record, meta: { ...record.meta, endsAtMs } } }
  }

  /** Stores what the live session is now. What it holds is captured before this returns. */
  save(copy: SessionCopy, live: SessionData): Promise<void> {
    const draft = copy.draft(live, this.#codec.encodeSession(live), {
      ttlMs: idleTtlMs(live, this.#options, this.#options.clock.now()),
      owner: this.#ownerOf(live),
    })
    return this.#queue.run(copy.handle, async () => {
      if (copy.refusal) throw copy.refusal
      if (await this.#saver.isUnchanged(copy, draft)) return this.#extend(copy, draft.ttlMs)
      return this.#saver.save(copy, draft)
    })
  }

  /** Stores a plain object under a handle, whatever stands there, unless the session was ended. */
  write(handle: string, session: SessionData): Promise<void> {
    const ttlMs = idleTtlMs(session, this.#options, this.#options.clock.now())
    const content = this.#codec.encodeSession(session)
    const owner = this.#ownerOf(session)
    return this.#queue.run(handle, async () => this.#saver.overwrite(handle, { body: await content, owner, ttlMs }))
  }

  /** Extends the session, if by enough to be worth a write. Nothing happens if it has ended meanwhile. */
  async touch(copy: SessionCopy, live: SessionData): Promise<void> {
    await this.#extend(copy, idleTtlMs(live, this.#options, this.#options.clock.now()))
  }

  async touchUnloaded(handle: string, session: SessionData): Promise<void> {
    await this.#backend.touch(handle, idleTtlMs(session, this.#options, this.#options.clock.now()))
  }

  async end(handle: string): Promise<void> {
    const { endedTtlMs } = this.#options
    await this.#backend.end(handle, { blob: Buffer.alloc(0), ownedTtlMs: Math.max(endedTtlMs, FENCE_TTL_MS), fenceTtlMs: FENCE_TTL_MS })
  }

  /** What a session that replaces another takes over from it. */
  inheritanceOf(copy: SessionCopy | undefined): SessionMeta | undefined {
    if (!this.#options.absoluteTtlSurvivesRegenerate || copy?.record === undefined) return undefined
    const { createdAtMs, endsAtMs } = copy.record.meta
    return { createdAtMs, endsAtMs }
  }

  async #extend(copy: SessionCopy, ttlMs: number): Promise<void> {
    const { record } = copy
    if (record === undefined) return
    const nowMs = await this.#backend.now()
    const moment = { ttlMs, nowMs, expiresAtMs: record.expiresAtMs, hardEndMs: record.meta.endsAtMs }
    if (!isTouchDue(moment, this.#options)) return
    const isResealed = !record.isCurrent && (await this.#saver.reseal(copy, ttlMs))
    const expiresAtMs = isResealed ? undefined : await this.#backend.touch(copy.handle, ttlMs)
    if (expiresAtMs !== undefined) copy.record = { ...record, expiresAtMs }
  }

  #hardEndOf(meta: SessionMeta): number | undefined {
    return hardEndMs(meta.createdAtMs, meta.endsAtMs, this.#options)
  }

  async #newMeta(): Promise<SessionMeta> {
    const createdAtMs = Math.floor(await this.#backend.now())
    return { createdAtMs, endsAtMs: hardEndMs(createdAtMs, undefined, this.#options) }
  }

  #ownerOf(session: object): string | undefined {
    return ownerName(this.#options.userId(session as SessionData))
  }
}
