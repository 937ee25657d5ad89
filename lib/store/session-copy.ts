import type { EndedMember, Predecessor } from '../registry/membership.ts'
import type { SessionBody } from '../session/codec.ts'
import type { SessionMeta } from '../session/metadata.ts'
import type { SessionRecord } from '../session/records.ts'

/** A body that may still be being written by an async serializer. */
export type PendingBody = Promise<SessionBody>

/** What one save wants to store, captured when it was asked for. */
export interface Draft {
  /** What the live session was in step with before the changes this draft carries; none for a new session. */
  readonly base: PendingBody | undefined
  readonly ours: PendingBody
  readonly live: object
  readonly ttlMs: number
}

/** How a copy begins: from a record, or as new, perhaps in place of another. */
export interface CopyOrigin {
  readonly record?: SessionRecord
  readonly inherited?: SessionMeta | undefined
  readonly labels?: readonly string[] | undefined
  readonly predecessor?: Predecessor | undefined
}

/** What the store remembers about one live Session object: the record it came from, and what of it is not stored yet. */
export class SessionCopy {
  readonly handle: string
  /** The record as this copy last knew it; none until a new session is stored. */
  record: SessionRecord | undefined
  /** What a regenerated session takes over from the one it replaces. */
  readonly inherited: SessionMeta | undefined
  /** The user's session that this one may carry on. */
  readonly predecessor: Predecessor | undefined
  /** The request's own ending of it by hand. */
  endedByHand: Promise<EndedMember | undefined> | undefined
  /** Why this copy must not be saved any more. */
  refusal: Error | undefined
  /** The owner in whose registry a save of this copy may have a place that is not confirmed yet. */
  unconfirmedOwner: string | undefined
  /** The versions that saves of this copy may have stored, though their replies were lost. */
  #attempts: readonly Buffer[] = []
  #labels: ReadonlySet<string>
  #view: PendingBody | undefined
  #unsavedSince: { readonly base: PendingBody | undefined } | undefined

  constructor(handle: string, origin: CopyOrigin = {}) {
    this.handle = handle
    this.#labels = new Set(origin.labels)
    this.record = origin.record
    this.inherited = origin.inherited
    this.predecessor = origin.predecessor
    this.#view = origin.record && Promise.resolve(origin.record.body)
  }

  /** What the session is, or is to be, sealed with; it only grows. */
  get labels(): readonly string[] {
    return [...new Set([...(this.record?.meta.labels ?? []), ...this.#labels])].sort()
  }

  /** What a session that takes this one's place may carry on. */
  get succession(): Predecessor | undefined {
    const { handle, endedByHand: ended } = this
    const { owner, epoch } = this.record?.meta ?? {}
    return owner === undefined ? this.predecessor : { handle, owner, epoch, isSuperseded: false, ended }
  }

  addLabels(labels: readonly string[]): void {
    this.#labels = new Set([...this.#labels, ...labels])
  }

  hasUnsealedLabels(): boolean {
    const sealed = this.record?.meta.labels ?? []
    return [...this.#labels].some((label) => !sealed.includes(label))
  }

  /** Makes a draft of what the live session is now; the next draft will carry only what changes after it. */
  draft(live: object, ours: PendingBody, ttlMs: number): Draft {
    const draft = { base: this.#view, ours, live, ttlMs }
    this.#view = ours
    return draft
  }

  /** The base that tells all changes of a draft that are not stored, those of failed drafts before it included. */
  baseOf(draft: Draft): PendingBody | undefined {
    return this.#unsavedSince ? this.#unsavedSince.base : draft.base
  }

  hasUnsaved(): boolean {
    return this.#unsavedSince !== undefined
  }

  attempting(etag: Buffer): void {
    this.#attempts = [...this.#attempts, etag]
  }

  /** The attempt was definitely not stored. */
  refused(etag: Buffer): void {
    this.#attempts = this.#attempts.filter((attempt) => !attempt.equals(etag))
  }

  /** Whether an attempt since the last that is known to be stored may have been. */
  get mayBeStored(): boolean {
    return this.#attempts.length > 0
  }

  hasAttempted(etag: Buffer): boolean {
    return this.#attempts.some((attempt) => attempt.equals(etag))
  }

  stored(record: SessionRecord): void {
    this.record = record
    this.#attempts = []
    this.#unsavedSince = undefined
  }

  failed(draft: Draft): void {
    this.#unsavedSince ??= { base: draft.base }
    if (this.#view === draft.ours) this.#view = this.#unsavedSince.base
  }

  /** Replaces what the live session is in step with, after another request's changes were laid into it. */
  rebase(change: (view: PendingBody) => PendingBody): void {
    const view = this.#view
    if (view !== undefined) this.#view = change(view).catch(() => view)
  }
}
