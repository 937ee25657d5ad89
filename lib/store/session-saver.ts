import type { Expectation, PutAnswer } from '../backend/backend.ts'
import {
  OutcomeUnknownError,
  SessionConflictError,
  SessionEndedError,
  StoreUnavailableError,
} from '../errors.ts'
import { inDoubt } from '../operations.ts'
import type { Membership, Registration } from '../registry/membership.ts'
import { type SessionBody, type SessionCodec, sameBody } from '../session/codec.ts'
import type { SessionDevice } from '../session/device.ts'
import type { Announce } from '../session/events.ts'
import { isTouchDue, type LifetimeOptions } from '../session/lifetime.ts'
import { changesBetween, clashes, mergeContents, overlay, without } from '../session/merge.ts'
import type { SessionMeta } from '../session/metadata.ts'
import type { Reading, SessionReader } from '../session/reading.ts'
import type { SessionRecord, SessionRecords, StoreReply } from '../session/records.ts'
import { layInto } from './live-session.ts'
import type { Draft, SessionCopy } from './session-copy.ts'

export type Concurrency = 'merge' | 'reject' | 'overwrite'

export interface SessionSaverParts {
  readonly records: SessionRecords
  readonly codec: SessionCodec
  readonly membership: Membership
  readonly concurrency: Concurrency
  readonly lifetime: LifetimeOptions
  readonly announce: Announce
  readonly reader: SessionReader
  /** How long a live session is to live from now. */
  readonly ttlMsOf: (session: object) => number
  /** What is noted of the device that a live session signs in on. */
  readonly deviceOf: (live: object) => SessionDevice | undefined
  /** The meta part of a session that begins now. */
  readonly newMeta: () => Promise<SessionMeta>
  readonly now: () => Promise<number>
}

// Saves of one process queue up, so a try is lost only to another process; this many in a row is contention to report.
const MAX_TRIES = 32

/** What a save stores: the draft, or the draft's changes over what another request stored. */
export interface Version {
  readonly body: SessionBody
  readonly owner: string | undefined
  readonly device?: SessionDevice | undefined
  readonly ttlMs: number
}

/** The state of the record that a version replaces. */
interface Ground {
  readonly handle: string
  readonly record: SessionRecord | undefined
  readonly meta: SessionMeta
  readonly expect: Expectation
  /** The copy that is saved; none when whatever stands is overwritten. */
  readonly copy?: SessionCopy
}

/** A try of a save that met another request's. */
interface Conflict {
  readonly answer: PutAnswer
  readonly version: Version
  readonly registration: Registration
}

interface StoredTry extends StoreReply {
  readonly registration: Registration
}

/** What became of the tries of one save so far. */
interface Tries {
  /** Whether one of them may have been stored, after which no failure of another may say that nothing was. */
  areInDoubt: boolean
}

interface Term {
  readonly ttlMs: number
  /** Whether the expiry moves, and so the registration must. */
  readonly isExtension: boolean
}

/** Writes drafts: create, update of exactly the version that was read, or merge with what another request stored first. */
export class SessionSaver {
  readonly #parts: SessionSaverParts

  constructor(parts: SessionSaverParts) {
    this.#parts = parts
  }

  async save(copy: SessionCopy, draft: Draft): Promise<void> {
    const tries: Tries = { areInDoubt: false }
    try {
      await this.#save(copy, draft, tries)
    } catch (error) {
      copy.failed(draft)
      throw tries.areInDoubt ? inDoubt(error) : error
    }
  }

  /** Stores over whatever stands, keeping what is sealed beside its data; refused by a tombstone only. */
  async overwrite(handle: string, version: Version): Promise<void> {
    const tries: Tries = { areInDoubt: false }
    try {
      await this.#overwrite(handle, version, tries)
    } catch (error) {
      throw tries.areInDoubt ? inDoubt(error) : error
    }
  }

  /** Seals the record anew with the first secret, unless another request stored something meanwhile. Answers whether it did. */
  async reseal(copy: SessionCopy, ttlMs: number): Promise<boolean> {
    const { record } = copy
    if (record === undefined) return false
    const sealed = await this.#parts.records.seal(record.kind, copy.handle, record)
    const expect: Expectation = { kind: 'version', etag: record.etag }
    const { answer, record: resealed } = await this.#parts.records.store(sealed, { expect, ttlMs })
    // A save of the same copy may have finished meanwhile and knows better.
    if (answer === 'stored' && copy.record === record) copy.record = resealed
    return answer === 'stored'
  }

  /** Whether the draft is what the record holds already, so that extending the record is all there is to do. */
  async isUnchanged(copy: SessionCopy, draft: Draft): Promise<boolean> {
    const { record } = copy
    if (record === undefined) return false
    // What fails here goes on to `save`, which takes note of its failure.
    const ours = await draft.ours.catch(() => undefined)
    if (ours === undefined || !sameBody(ours, record.body)) return false
    const reading = await this.#parts.reader.read(record.body).catch(() => undefined)
    return reading !== undefined && this.isInStep(copy, reading)
  }

  /** Whether all but the content is as the record has it. */
  isInStep(copy: SessionCopy, { owner }: Reading): boolean {
    const { record } = copy
    if (record === undefined || copy.hasUnsaved() || copy.hasUnsealedLabels()) return false
    return record.isCurrent && record.meta.owner === owner
  }

  async #save(copy: SessionCopy, draft: Draft, all: Tries): Promise<void> {
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const version = await this.#versionOf(copy, draft)
      const ground = await this.#groundOf(copy)
      const { answer, record, registration } = await this.#store(ground, version)
      all.areInDoubt ||= answer === 'unsure'
      if (answer === 'stored') {
        copy.stored(record)
        if (!sameBody(version.body, await draft.ours)) await this.#adopt(copy, draft, version.body)
        if (tries > 1 && this.#parts.concurrency !== 'overwrite')
          this.#parts.announce('session-merged', { handle: copy.handle, attempts: tries })
        return
      }
      if (answer === 'ended' || answer === 'gone') this.#refuse(copy.handle, answer)
      await this.#catchUp(copy, draft, { answer, version, registration })
    }
    throw new SessionConflictError()
  }

  async #overwrite(handle: string, version: Version, all: Tries): Promise<void> {
    for (let tries = 1; tries <= MAX_TRIES; tries += 1) {
      const record = await this.#parts.records.read(handle)
      // A write that was given up and comes late must not land over a newer one; only what cannot be read is overwritten blindly.
      const unread: Expectation = { kind: tries === 1 ? 'absent' : 'any' }
      const expect: Expectation = record ? { kind: 'version', etag: record.etag } : unread
      const meta = record?.meta ?? (await this.#parts.newMeta())
      const { answer } = await this.#store({ handle, record, meta, expect }, version)
      all.areInDoubt ||= answer === 'unsure'
      if (answer === 'stored') return
      if (answer === 'ended') this.#refuse(handle, answer)
    }
    throw new SessionConflictError()
  }

  async #groundOf(copy: SessionCopy): Promise<Ground> {
    const { handle, record } = copy
    const { labels } = copy
    const begun = record?.meta ?? copy.inherited ?? (await this.#parts.newMeta())
    const meta = labels.length > 0 ? { ...begun, labels } : begun
    const expect: Expectation = record ? { kind: 'version', etag: record.etag } : { kind: 'absent' }
    return { handle, record, meta, expect, copy }
  }

  /** Registers, stores, finishes the registration: in this order, so that what can be read is registered and no evicted session can be read. */
  async #store(ground: Ground, version: Version): Promise<StoredTry> {
    const { handle, expect, copy } = ground
    const term = await this.#termOf(ground, version)
    const registration = await this.#register(ground, version, term)
    const sealed = await this.#parts.records
      .seal('session', handle, { meta: registration.meta, body: version.body })
      .catch((error: unknown) => giveUp(registration, error))
    copy?.attempting(sealed.etag)
    const reply = await this.#parts.records
      .store(sealed, { expect, ttlMs: term.ttlMs })
      .catch((error: unknown) => {
        if (!(error instanceof StoreUnavailableError)) throw error
        copy?.refused(sealed.etag)
        return giveUp(registration, error)
      })
    await registration.finish(reply.answer)
    if (reply.answer === 'stored' && copy) copy.unconfirmedOwner = undefined
    return { ...reply, registration }
  }

  // Between touches a user's session keeps its expiry, so that record and registry always move together.
  async #termOf({ record, meta }: Ground, { owner, ttlMs }: Version): Promise<Term> {
    if (record === undefined || owner === undefined || owner !== meta.owner)
      return { ttlMs, isExtension: false }
    const nowMs = await this.#parts.now()
    const moment = { ttlMs, nowMs, expiresAtMs: record.expiresAtMs, hardEndMs: meta.endsAtMs }
    const isExtension = isTouchDue(moment, this.#parts.lifetime)
    return { ttlMs: isExtension ? ttlMs : Math.max(1, record.expiresAtMs - nowMs), isExtension }
  }

  async #register({ handle, record, meta, expect, copy }: Ground, version: Version, term: Term) {
    const { membership } = this.#parts
    const { owner, device } = version
    if (owner === undefined) return membership.registerNobody(handle, meta)
    const { ttlMs, isExtension } = term
    if (record === undefined || owner !== meta.owner) {
      const isNew = expect.kind === 'absent' && copy !== undefined && !copy.mayBeStored
      if (copy) copy.unconfirmedOwner = owner
      const { predecessor } = copy ?? {}
      return membership.register({ handle, owner, device, ttlMs, meta, predecessor, isNew })
    }
    if (isExtension && !(await membership.extend(handle, meta, ttlMs))) this.#refuse(handle, 'ended')
    return membership.registerAgain(handle, meta, copy?.unconfirmedOwner !== owner)
  }

  async #versionOf(copy: SessionCopy, draft: Draft): Promise<Version> {
    const body = await this.#bodyOf(copy, draft)
    const { owner, cookie } = await this.#parts.reader.read(body)
    const isMerged = body !== (await draft.ours)
    if (owner === undefined && !isMerged) this.#parts.reader.checkNobody(draft.live)
    const ttlMs = isMerged ? this.#parts.ttlMsOf({ ...draft.live, cookie }) : draft.ttlMs
    const isSignIn = owner !== undefined && owner !== copy.record?.meta.owner
    const device = isSignIn ? this.#parts.deviceOf(draft.live) : undefined
    return { body, owner, device, ttlMs }
  }

  async #bodyOf(copy: SessionCopy, draft: Draft): Promise<SessionBody> {
    const ours = await draft.ours
    const base = await copy.baseOf(draft)
    const stands = copy.record?.body
    if (this.#parts.concurrency === 'overwrite' || !base || !stands || sameBody(base, stands)) return ours
    const sides = await this.#sides(base, ours, stands)
    return sides === undefined ? ours : this.#parts.codec.encode(mergeContents(sides))
  }

  /** After a conflict: learns what stands now, and decides whether the policy lets this save go on. */
  async #catchUp(
    copy: SessionCopy,
    draft: Draft,
    { answer, version, registration }: Conflict,
  ): Promise<void> {
    const stands = await this.#parts.records.read(copy.handle)
    try {
      if (stands === undefined) return this.#refuse(copy.handle, 'gone')
      if (!copy.hasAttempted(stands.etag)) await this.#judge(copy, draft, { answer, stands })
      copy.record = stands
    } catch (error) {
      // The place that was taken for the user it would have had must not count.
      if (stands?.meta.owner !== version.owner) await registration.undo()
      throw error
    }
  }

  async #judge(
    copy: SessionCopy,
    draft: Draft,
    met: { answer: PutAnswer; stands: SessionRecord },
  ): Promise<void> {
    const isUnsure = met.answer === 'unsure'
    // Only what is sealed beside the data changed: a new epoch, a new secret.
    if (!isUnsure && copy.record && sameBody(copy.record.body, met.stands.body)) return
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
    const encodings = [draft.ours, body, codec.encodeSession(draft.live)]
    const [ours, merged, now] = await Promise.all(
      encodings.map(async (encoding) => codec.decode(await encoding).catch(() => undefined)),
    ).catch(() => [])
    // What cannot be encoded now fails its own save; this one is stored.
    if (!ours || !merged || !now) return
    const changes = without(changesBetween(ours, merged), changesBetween(ours, now))
    copy.rebase(async (view) =>
      codec.encode(overlay((await codec.decode(await view)) ?? {}, merged, changes)),
    )
    layInto(draft.live, merged, changes)
  }

  #refuse(handle: string, ending: 'ended' | 'gone'): never {
    this.#parts.announce('write-refused', { handle, ending })
    throw new SessionEndedError(ending)
  }
}

/** Certainly not stored. */
async function giveUp(registration: Registration, error: unknown): Promise<never> {
  await registration.finish('unavailable')
  throw error
}
