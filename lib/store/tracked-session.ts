import type { EndedMember, Predecessor } from '../registry/membership.ts'
import type { PendingBody } from '../session/codec.ts'
import type { SessionMeta } from '../session/metadata.ts'
import type { SessionRecord } from '../session/records.ts'

/** What one save is to store, captured when it was asked for. */
export interface PendingSave {
  /** What the live session was in step with before the changes that this save carries; none for a new session. */
  readonly base: PendingBody | undefined
  readonly ours: PendingBody
  readonly live: object
  readonly ttlMs: number
}

/** Where a tracked session begins: from a record, or as new, perhaps in place of another. */
export interface Origin {
  readonly record?: SessionRecord
  readonly inherited?: SessionMeta | undefined
  readonly labels?: readonly string[] | undefined
  readonly predecessor?: Predecessor | undefined
}

/** What the store knows of one live Session object: the record it came from, and what of it is not stored yet. */
export class TrackedSession {
  readonly handle: string
  /** What a regenerated session takes over from the one it replaces. */
  readonly inherited: SessionMeta | undefined
  /** The user's session that this one may carry on. */
  readonly predecessor: Predecessor | undefined
  /** What it was when its own request ended it by hand. */
  endedByHand: Promise<EndedMember | undefined> | undefined
  #record: SessionRecord | undefined
  #refusal: Error | undefined
  #unconfirmedOwner: string | undefined
  /** The versions that saves of this session may have stored, though their replies were lost. */
  #attempts: readonly Buffer[] = []
  #labels: ReadonlySet<string>
  /** What the live session was in step with as of its last save. */
  #view: PendingBody | undefined
  #unsavedSince: { readonly base: PendingBody | undefined } | undefined

  constructor(handle: string, { record, inherited, labels, predecessor }: Origin = {}) {
    this.handle = handle
    this.inherited = inherited
    this.predecessor = predecessor
    this.#record = record
    this.#labels = new Set(labels)
    this.#view = record?.body
  }

  /** The record as this session last knew it; none until a new session is stored. */
  get record(): SessionRecord | undefined {
    return this.#record
  }

  /** Takes a newer state of the record; with `from` only if that is still the one that is known. */
  update(record: SessionRecord, from = this.#record): void {
    if (this.#record === from) this.#record = record
  }

  /** Lets it be neither saved nor read again. */
  refuse(reason: Error): void {
    this.#refusal = reason
  }

  /** Why it must not be saved or read. */
  get refusal(): Error | undefined {
    return this.#refusal
  }

  /** Throws why it must not be saved or read, if so. */
  checkUsable(): void {
    if (this.#refusal) throw this.#refusal
  }

  /** The owner in whose registry a save of it may have a place that is not confirmed yet. */
  get unconfirmedOwner(): string | undefined {
    return this.#unconfirmedOwner
  }

  joining(owner: string): void {
    this.#unconfirmedOwner = owner
  }

  confirmed(): void {
    this.#unconfirmedOwner = undefined
  }

  /** What it is, or is to be, sealed with; it only grows. */
  get labels(): readonly string[] {
    const sealed = this.#record?.meta.labels
    if (this.#labels.size === 0) return sealed ?? []
    return [...new Set([...(sealed ?? []), ...this.#labels])].sort()
  }

  addLabels(labels: readonly string[]): void {
    this.#labels = new Set([...this.#labels, ...labels])
  }

  /** What a session that takes this one's place may carry on. */
  get succession(): Predecessor | undefined {
    const { owner, epoch } = this.#record?.meta ?? {}
    if (owner === undefined) return this.predecessor
    return { handle: this.handle, owner, epoch, isSuperseded: false, ended: this.endedByHand }
  }

  /** Whether the record has all but the content: the owner, the labels, the first secret, and no save that failed. */
  isInStep(owner: string | undefined): boolean {
    const record = this.#record
    if (record === undefined || this.hasUnsaved() || !record.isCurrent) return false
    const sealed = record.meta.labels ?? []
    return record.meta.owner === owner && [...this.#labels].every((label) => sealed.includes(label))
  }

  /** Captures what the live session is now; the next save will carry only what changes after it. */
  capture(live: object, ours: PendingBody, ttlMs: number): PendingSave {
    const pending = { base: this.#view, ours, live, ttlMs }
    this.#view = ours
    return pending
  }

  /** The base of all changes that are not stored, those of failed saves before this one included. */
  baseOf(pending: PendingSave): PendingBody | undefined {
    return this.#unsavedSince ? this.#unsavedSince.base : pending.base
  }

  hasUnsaved(): boolean {
    return this.#unsavedSince !== undefined
  }

  /** Notes a version before it is sent. */
  attempting(etag: Buffer): void {
    this.#attempts = [...this.#attempts, etag]
  }

  /** The version was certainly not stored. */
  notStored(etag: Buffer): void {
    this.#attempts = this.#attempts.filter((attempt) => !attempt.equals(etag))
  }

  /** Whether a version since the last that is known to be stored may have been. */
  get mayBeStored(): boolean {
    return this.#attempts.length > 0
  }

  hasAttempted(etag: Buffer): boolean {
    return this.#attempts.some((attempt) => attempt.equals(etag))
  }

  stored(record: SessionRecord): void {
    this.#record = record
    this.#attempts = []
    this.#unsavedSince = undefined
  }

  failed(pending: PendingSave): void {
    this.#unsavedSince ??= { base: pending.base }
    if (this.#view === pending.ours) this.#view = this.#unsavedSince.base
  }

  /** Replaces what the live session is in step with, after another request's changes were laid into it. */
  rebase(change: (view: PendingBody) => Promise<PendingBody>): void {
    const view = this.#view
    if (view !== undefined)
      this.#view = change(view)
        .then((changed) => changed)
        .catch(() => view)
  }
}
