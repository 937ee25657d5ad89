import type { Expectation } from '../backend/backend.ts'
import { OutcomeUnknownError, SessionConflictError, SessionEndedError } from '../errors.ts'
import { inDoubt } from '../operations.ts'
import type { Membership, Registration } from '../registry/membership.ts'
import { type SessionBody, type SessionCodec, sameBody } from '../session/codec.ts'
import type { SessionDevice } from '../session/device.ts'
import type { Announce } from '../session/events.ts'
import { isTouchDue, type LifetimeOptions } from '../session/lifetime.ts'
import {
  changesBetween,
  clashes,
  type MergeSides,
  mergeContents,
  overlay,
  without,
} from '../session/merge.ts'
import type { SessionMeta } from '../session/metadata.ts'
import type { SessionReader } from '../session/reading.ts'
import type { PutResult, SessionRecord, SessionRecords } from '../session/records.ts'
import { layInto } from './live-session.ts'
import type { PendingSave, TrackedSession } from './tracked-session.ts'

export type Concurrency = 'merge' | 'reject' | 'overwrite'

export interface SaveSessionParts {
  readonly records: SessionRecords
  readonly codec: SessionCodec
  readonly membership: Membership
  readonly concurrency: Concurrency
  readonly lifetime: LifetimeOptions
  readonly announce: Announce
  readonly reader: SessionReader
  /** Returns the lifetime of a live session from now, in ms. */
  readonly ttlMsOf: (session: object) => number
  /** Returns what is noted of the device that a live session signs in on. */
  readonly deviceOf: (live: object) => SessionDevice | undefined
  /** Returns what is sealed with a new session. */
  readonly newMeta: () => Promise<SessionMeta>
  readonly now: () => number | Promise<number>
}

// Saves of one process queue up, so only another process can win an attempt; this many losses in a row are reported.
const MAX_ATTEMPTS = 32

/** What a plain object, or one attempt of a save, is to store. */
export interface SessionContent {
  readonly body: SessionBody
  readonly owner: string | undefined
  readonly device?: SessionDevice | undefined
  readonly ttlMs: number
}

/** The record that one attempt is to store, and what it replaces. */
interface NextRecord extends SessionContent {
  readonly handle: string
  /** The record it replaces, if there is one. */
  readonly replaces: SessionRecord | undefined
  readonly meta: SessionMeta
  readonly expect: Expectation
  /** The session that is saved; none when a plain object overwrites the record. */
  readonly tracked: TrackedSession | undefined
}

interface Attempt {
  readonly next: NextRecord
  readonly registration: Registration
  readonly result: PutResult
}

/** Runs the saves of one session in this process one after the other, so that they build on each other instead of colliding. */
export class SaveQueue {
  readonly #tails = new Map<string, Promise<void>>()

  /** Runs a save, which must not throw, once those of the same handle before it have settled. */
  run<Value>(handle: string, save: () => Promise<Value>): Promise<Value> {
    const before = this.#tails.get(handle)
    const turn = before === undefined ? save() : before.then(save)
    const end = () => {
      if (this.#tails.get(handle) === tail) this.#tails.delete(handle)
    }
    const tail: Promise<void> = turn.then(end, end)
    this.#tails.set(handle, tail)
    return turn
  }
}

/** Saves sessions: creates, updates exactly the version that was read, or merges with what another request stored first. */
export class SaveSession {
  readonly #parts: SaveSessionParts

  constructor(parts: SaveSessionParts) {
    this.#parts = parts
  }

  async save(tracked: TrackedSession, pending: PendingSave): Promise<void> {
    let isInDoubt = false
    try {
      for (let number = 1; number <= MAX_ATTEMPTS; number += 1) {
        const attempt = await this.#store(await this.#rebase(tracked, pending))
        const { result, next } = attempt
        isInDoubt ||= result.outcome === 'unsure'
        if (result.outcome === 'stored') {
          tracked.stored(result.record)
          if (number > 1 || next.body !== pending.ours)
            await this.#merged(tracked, pending, { stored: next.body, number })
          return
        }
        await this.#catchUp(tracked, pending, attempt)
      }
      throw new SessionConflictError()
    } catch (error) {
      tracked.failed(pending)
      throw isInDoubt ? inDoubt(error) : error
    }
  }

  /** Stores over any record, and keeps what is sealed beside its data. Only a tombstone refuses it. */
  async overwrite(handle: string, content: SessionContent): Promise<void> {
    let isInDoubt = false
    try {
      for (let number = 1; number <= MAX_ATTEMPTS; number += 1) {
        const { result } = await this.#store(await this.#over(handle, content, number))
        isInDoubt ||= result.outcome === 'unsure'
        if (result.outcome === 'stored') return
        if (result.outcome === 'ended') this.#refuse(handle, 'ended')
        if ('error' in result) throw result.error
      }
      throw new SessionConflictError()
    } catch (error) {
      throw isInDoubt ? inDoubt(error) : error
    }
  }

  /** Seals the record again with the first secret. Returns whether it did; `false` if another request stored something meanwhile. */
  async reseal(tracked: TrackedSession, record: SessionRecord, ttlMs: number): Promise<boolean> {
    const { records } = this.#parts
    const sealed = await records.seal(record.kind, tracked.handle, record)
    const result = await records.put(sealed, { expect: { kind: 'version', etag: record.etag }, ttlMs })
    if ('error' in result) throw result.error
    if (result.outcome === 'stored') tracked.update(result.record, record)
    return result.outcome === 'stored'
  }

  /** Returns whether a record with the same content also has everything else that a save would store. */
  async isInStep(tracked: TrackedSession, { body }: SessionRecord): Promise<boolean> {
    try {
      const { owner } = await this.#parts.reader.read(body)
      return tracked.isInStep(owner)
    } catch {
      // A save notes its failure.
      return false
    }
  }

  /** Registers, stores, then finishes the registration, so that a session that can be read is registered, and an evicted one cannot be read. */
  async #store(next: NextRecord): Promise<Attempt> {
    const registering = this.#register(next)
    const { registration, ttlMs } = registering instanceof Promise ? await registering : registering
    const result = await this.#put(next, registration, ttlMs)
    await registration.finish(result.outcome)
    if (result.outcome === 'stored') next.tracked?.confirmed()
    return { next, registration, result }
  }

  async #put(next: NextRecord, { meta }: Registration, ttlMs: number): Promise<PutResult> {
    const { handle, body, expect, tracked } = next
    try {
      const sealing = this.#parts.records.seal('session', handle, { meta, body })
      const sealed = sealing instanceof Promise ? await sealing : sealing
      tracked?.attempting(sealed.etag)
      const result = await this.#parts.records.put(sealed, { expect, ttlMs })
      if (result.outcome === 'unavailable') tracked?.notStored(sealed.etag)
      return result
    } catch (error) {
      return { outcome: 'unavailable', error }
    }
  }

  /** Registers the record that is to be stored: without a promise if it has no owner. */
  #register(next: NextRecord): Registered | Promise<Registered> {
    const { handle, owner, ttlMs, meta, replaces } = next
    if (owner === undefined)
      return { registration: this.#parts.membership.registerNobody(handle, meta), ttlMs }
    return replaces === undefined || owner !== meta.owner
      ? this.#join(next, owner)
      : this.#stay(next, replaces.expiresAtMs)
  }

  async #join(next: NextRecord, owner: string): Promise<Registered> {
    const { membership } = this.#parts
    const { handle, device, ttlMs, meta, tracked } = next
    const isNew = next.expect.kind === 'absent' && tracked !== undefined && !tracked.mayBeStored
    tracked?.joining(owner)
    const predecessor = tracked?.predecessor
    return {
      registration: await membership.register({ handle, owner, device, ttlMs, meta, predecessor, isNew }),
      ttlMs,
    }
  }

  // Between touches a user's session keeps its expiry, so that record and registry always move together.
  async #stay({ handle, meta, ttlMs, tracked }: NextRecord, expiresAtMs: number): Promise<Registered> {
    const { membership } = this.#parts
    const nowMs = await this.#parts.now()
    const moment = { ttlMs, nowMs, expiresAtMs, hardEndMs: meta.endsAtMs }
    const isExtension = isTouchDue(moment, this.#parts.lifetime)
    if (isExtension && !(await membership.extend(handle, meta, ttlMs))) this.#refuse(handle, 'ended')
    const registration = membership.registerAgain(handle, meta, tracked?.unconfirmedOwner !== meta.owner)
    return { registration, ttlMs: isExtension ? ttlMs : Math.max(1, expiresAtMs - nowMs) }
  }

  /** Returns the record to store: the pending changes over the last known record. */
  async #rebase(tracked: TrackedSession, pending: PendingSave): Promise<NextRecord> {
    const { reader } = this.#parts
    const ours = pending.ours instanceof Promise ? await pending.ours : pending.ours
    const base = tracked.baseOf(pending)
    const isInStep = base === tracked.record?.body
    const body = isInStep ? ours : await this.#mergedBody(tracked, ours, await base)
    const knowing = reader.read(body)
    const reading = knowing instanceof Promise ? await knowing : knowing
    const { owner } = reading
    if (owner === undefined && body === ours) reader.checkNobody(pending.live)
    const ttlMs =
      body === ours ? pending.ttlMs : this.#parts.ttlMsOf({ ...pending.live, cookie: reading.cookie })
    const isSignIn = owner !== undefined && owner !== tracked.record?.meta.owner
    const device = isSignIn ? this.#parts.deviceOf(pending.live) : undefined
    const { handle, record: replaces } = tracked
    const known = replaces?.meta ?? tracked.inherited ?? (await this.#parts.newMeta())
    const { labels } = tracked
    const meta = labels.length > 0 ? { ...known, labels } : known
    const expect: Expectation = replaces ? { kind: 'version', etag: replaces.etag } : { kind: 'absent' }
    return { handle, replaces, meta, expect, tracked, body, owner, device, ttlMs }
  }

  async #over(handle: string, content: SessionContent, attempt: number): Promise<NextRecord> {
    const replaces = await this.#parts.records.read(handle)
    // A late write must not replace a newer record; only a record that cannot be read is overwritten unseen.
    const unread: Expectation = { kind: attempt === 1 ? 'absent' : 'any' }
    const expect: Expectation = replaces ? { kind: 'version', etag: replaces.etag } : unread
    const meta = replaces?.meta ?? (await this.#parts.newMeta())
    return { ...content, handle, replaces, meta, expect, tracked: undefined }
  }

  async #mergedBody(
    tracked: TrackedSession,
    ours: SessionBody,
    base: SessionBody | undefined,
  ): Promise<SessionBody> {
    const current = tracked.record?.body
    if (this.#parts.concurrency === 'overwrite' || !base || !current || sameBody(base, current)) return ours
    const sides = await this.#sides(base, ours, current)
    return sides === undefined ? ours : this.#parts.codec.encode(mergeContents(sides))
  }

  /** After an attempt that was not stored: reads the record that is, and checks whether the policy lets the save go on. */
  async #catchUp(tracked: TrackedSession, pending: PendingSave, attempt: Attempt): Promise<void> {
    const { next, registration, result } = attempt
    if ('error' in result) throw result.error
    if (result.outcome === 'ended' || result.outcome === 'gone') this.#refuse(next.handle, result.outcome)
    const current = await this.#parts.records.read(tracked.handle)
    try {
      if (current === undefined) return this.#refuse(tracked.handle, 'gone')
      if (!tracked.hasAttempted(current.etag))
        await this.#judge(tracked, pending, { current, isUnsure: result.outcome === 'unsure' })
      tracked.update(current)
    } catch (error) {
      if (current?.meta.owner !== next.owner) await registration.undo()
      throw error
    }
  }

  async #judge(
    tracked: TrackedSession,
    pending: PendingSave,
    { current, isUnsure }: Conflict,
  ): Promise<void> {
    const { record } = tracked
    // Only what is sealed beside the data changed: a new epoch, a new secret.
    if (!isUnsure && record && sameBody(record.body, current.body)) return
    if (record === undefined || this.#parts.concurrency === 'reject')
      throw isUnsure ? new OutcomeUnknownError('conflict') : new SessionConflictError()
    if (!isUnsure || this.#parts.concurrency === 'overwrite') return
    // The lost write may be part of the record; laying it over again would undo what was built upon it.
    const sides = await this.#sides(await tracked.baseOf(pending), await pending.ours, current.body)
    if (sides === undefined || clashes(sides)) throw new OutcomeUnknownError('conflict')
  }

  async #sides(base: SessionBody | undefined, ours: SessionBody, theirs: SessionBody) {
    const { codec } = this.#parts
    const contents = await Promise.all([base && codec.decode(base), codec.decode(ours), codec.decode(theirs)])
    const [before, mine, stored] = contents
    return before && mine && stored && ({ base: before, ours: mine, theirs: stored } satisfies MergeSides)
  }

  async #merged(tracked: TrackedSession, pending: PendingSave, { stored, number }: Stored): Promise<void> {
    if (!sameBody(stored, await pending.ours)) await this.#adopt(tracked, pending, stored)
    if (number > 1 && this.#parts.concurrency !== 'overwrite')
      this.#parts.announce('session-merged', { handle: tracked.handle, attempts: number })
  }

  /** Lays what other requests changed into the live session, except where it has changed again since the save was asked for. */
  async #adopt(tracked: TrackedSession, pending: PendingSave, body: SessionBody): Promise<void> {
    const { codec } = this.#parts
    const encodings = [pending.ours, body, codec.encodeSession(pending.live)]
    const decoded = async (encoding: SessionBody | Promise<SessionBody>) => {
      const known = await encoding
      return Promise.resolve(codec.decode(known)).catch(() => undefined)
    }
    const [ours, merged, now] = await Promise.all(encodings.map(decoded)).catch(() => [])
    // What cannot be encoded fails in a save of its own; this one is stored.
    if (!ours || !merged || !now) return
    const changes = without(changesBetween(ours, merged), changesBetween(ours, now))
    tracked.rebase(async (view) =>
      codec.encode(overlay((await codec.decode(await view)) ?? {}, merged, changes)),
    )
    layInto(pending.live, merged, changes)
  }

  #refuse(handle: string, ending: 'ended' | 'gone'): never {
    this.#parts.announce('write-refused', { handle, ending })
    throw new SessionEndedError(ending)
  }
}

interface Registered {
  readonly registration: Registration
  /** How long the record is to live from now. */
  readonly ttlMs: number
}

interface Conflict {
  readonly current: SessionRecord
  readonly isUnsure: boolean
}

interface Stored {
  readonly stored: SessionBody
  /** The number of the attempt. */
  readonly number: number
}
