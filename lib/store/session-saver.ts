import type { Expectation, PutAnswer } from '../backend/backend.ts'
import { OutcomeUnknownError, SessionConflictError, SessionEndedError } from '../errors.ts'
import { changedKeys, clashes, type Content, mergeContents, overlay } from './merge.ts'
import { type SessionBody, type SessionCodec, sameBody } from './session-codec.ts'
import type { Draft, SessionCopy } from './session-copy.ts'
import type { SessionMeta } from './session-plaintext.ts'
import type { SessionRecord, SessionRecords, StoreReply } from './session-records.ts'
import type { Announce } from './store-events.ts'

export type Concurrency = 'merge' | 'reject' | 'overwrite'

export interface SessionSaverParts {
  readonly records: SessionRecords
  readonly codec: SessionCodec
  readonly concurrency: Concurrency
  readonly announce: Announce
  /** The owner of a session with this content. */
  readonly ownerOf: (session: object) => string | undefined
  /** The meta part of a session that begins now. */
  readonly newMeta: () => Promise<SessionMeta>
}

// Saves of one process queue up, so a try is lost only to another process; this many in a row is contention to report.
const MAX_TRIES = 32

/** What a save stores: the draft, or the draft's changes over what another request stored. */
interface Version {
  readonly body: SessionBody
  readonly owner: string | undefined
}

/** Writes drafts: create, update of exactly the version that was read, or merge with what another request stored first. */
export class SessionSaver {
  readonly #parts: SessionSaverParts

  constructor(parts: SessionSaverParts) {
    this.#parts = parts
  }

  async save(copy: SessionCopy, draft: Draft): Promise<void> {
    try {
      await this.#save(copy, draft)
    } catch (error) {
      copy.failed(draft)
      throw error
    }
  }

  /** Stores over whatever stands, keeping what is sealed beside its data; refused by a tombstone only. */
  async overwrite(handle: string, version: Version & { readonly ttlMs: number }): Promise<void> {
    const { body, owner, ttlMs } = version
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const stands = await this.#parts.records.read(handle)
      const meta = stands?.meta ?? (await this.#parts.newMeta())
      const sealed = await this.#parts.records.seal(handle, { meta: { ...meta, owner }, body })
      const expect: Expectation = stands ? { kind: 'version', etag: stands.etag } : { kind: 'any' }
      const { answer } = await this.#parts.records.store(sealed, { expect, ttlMs })
      if (answer === 'stored') return
      if (answer === 'ended') this.#refuse(handle, answer)
    }
    throw new SessionConflictError()
  }

  /** Seals the record anew with the first secret, unless another request stored something meanwhile. Answers whether it did. */
  async reseal(copy: SessionCopy, ttlMs: number): Promise<boolean> {
    const { record } = copy
    if (record === undefined) return false
    const sealed = await this.#parts.records.seal(copy.handle, record)
    const { answer, record: resealed } = await this.#parts.records.store(sealed, {
      expect: { kind: 'version', etag: record.etag },
      ttlMs,
    })
    if (answer === 'stored') copy.record = resealed
    return answer === 'stored'
  }

  /** Whether the draft is what the record holds already, so that extending the record is all there is to do. */
  async isUnchanged(copy: SessionCopy, draft: Draft): Promise<boolean> {
    const { record } = copy
    if (record === undefined || copy.hasUnsaved() || !record.isCurrent || record.meta.owner !== draft.owner) return false
    return sameBody(await draft.ours, record.body)
  }

  async #save(copy: SessionCopy, draft: Draft): Promise<void> {
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const version = await this.#versionOf(copy, draft)
      const { answer, record } = await this.#store(copy, draft, version)
      if (answer === 'stored') {
        copy.stored(record)
        if (!sameBody(version.body, await draft.ours)) await this.#adopt(copy, draft, version.body)
        if (tries > 1) this.#parts.announce('session-merged', { handle: copy.handle, attempts: tries })
        return
      }
      if (answer === 'ended' || answer === 'gone') this.#refuse(copy.handle, answer)
      await this.#catchUp(copy, draft, answer)
    }
    throw new SessionConflictError()
  }

  async #store(copy: SessionCopy, draft: Draft, { body, owner }: Version): Promise<StoreReply> {
    const { records } = this.#parts
    const meta = copy.record?.meta ?? copy.inherited ?? (await this.#parts.newMeta())
    const sealed = await records.seal(copy.handle, { meta: { ...meta, owner }, body })
    copy.attempting(sealed.etag)
    const expect: Expectation = copy.record ? { kind: 'version', etag: copy.record.etag } : { kind: 'absent' }
    return records.store(sealed, { expect, ttlMs: draft.ttlMs })
  }

  async #versionOf(copy: SessionCopy, draft: Draft): Promise<Version> {
    const ours = await draft.ours
    const base = await copy.baseOf(draft)
    const stands = copy.record?.body
    const asDrafted = { body: ours, owner: draft.owner }
    if (this.#parts.concurrency === 'overwrite' || !base || !stands || sameBody(base, stands)) return asDrafted
    const sides = await this.#sides(base, ours, stands)
    if (sides === undefined) return asDrafted
    const merged = mergeContents(sides)
    return { body: await this.#parts.codec.encode(merged), owner: this.#parts.ownerOf(merged) }
  }

  /** After a conflict: learns what stands now, and decides whether the policy lets this save go on. */
  async #catchUp(copy: SessionCopy, draft: Draft, answer: PutAnswer): Promise<void> {
    const stands = await this.#parts.records.read(copy.handle)
    if (stands === undefined) return this.#refuse(copy.handle, 'gone')
    if (!copy.hasAttempted(stands.etag)) await this.#judge(copy, draft, { answer, stands })
    copy.record = stands
  }

  async #judge(copy: SessionCopy, draft: Draft, met: { answer: PutAnswer; stands: SessionRecord }): Promise<void> {
    const isUnsure = met.answer === 'unsure'
    if (copy.record === undefined || this.#parts.concurrency === 'reject') {
      throw isUnsure ? new OutcomeUnknownError('conflict') : new SessionConflictError()
    }
    if (!isUnsure || this.#parts.concurrency === 'overwrite') return
    // The lost write may be part of what stands; laying it over again would undo what was built upon it.
    const sides = await this.#sides(await copy.baseOf(draft), await draft.ours, met.stands.body)
    if (sides === undefined || clashes(sides)) throw new OutcomeUnknownError('conflict')
  }

  async #sides(base: SessionBody | undefined, ours: SessionBody, theirs: SessionBody) {
    const { codec } = this.#parts
    const contents = await Promise.all([base && codec.decode(base), codec.decode(ours), codec.decode(theirs)])
    const [before, mine, stands] = contents
    return before && mine && stands && { base: before, ours: mine, theirs: stands }
  }

  /** Lays what other requests changed into the live session, except where it has changed again since the draft. */
  async #adopt(copy: SessionCopy, draft: Draft, body: SessionBody): Promise<void> {
    const { codec } = this.#parts
    const [ours, merged] = await Promise.all([draft.ours.then((own) => codec.decode(own)), codec.decode(body)])
    const now = await codec.encodeSession(draft.live).then((current) => codec.decode(current))
    if (!ours || !merged || !now) return
    const changedSince = new Set(changedKeys(ours, now))
    const keys = changedKeys(ours, merged).filter((key) => key !== 'cookie' && !changedSince.has(key))
    copy.rebase(async (view) => codec.encode(overlay((await codec.decode(await view)) ?? {}, merged, keys)))
    layInto(draft.live, merged, keys)
  }

  #refuse(handle: string, ending: 'ended' | 'gone'): never {
    this.#parts.announce('write-refused', { handle, ending })
    throw new SessionEndedError(ending)
  }
}

function layInto(live: object, content: Content, keys: readonly string[]): void {
  for (const key of keys) {
    if (Object.hasOwn(content, key)) Reflect.set(live, key, content[key])
    else Reflect.deleteProperty(live, key)
  }
}
