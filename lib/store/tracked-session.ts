import type { EndedMember, Predecessor } from '../registry/membership.ts'
import type { PendingBody } from '../session/codec.ts'
import type { SessionMeta } from '../session/metadata.ts'
import type { SessionRecord } from '../session/records.ts'

/** The content of one save, captured when it was asked for. */
export interface PendingSave {
  /** The content that the changes of this save are based on; none for a new session. */
  readonly base: PendingBody | undefined
  readonly ours: PendingBody
  readonly live: object
  readonly ttlMs: number
}

/** How a tracked session begins: from a record, or as a new one, perhaps in place of another. */
export interface Origin {
  readonly record?: SessionRecord
  readonly inherited?: SessionMeta | undefined
  readonly labels?: readonly string[] | undefined
  readonly predecessor?: Predecessor | undefined
}

const NONE: ReadonlySet<string> = new Set()

/** One live Session object: the record it came from, and what of it is not stored yet. */
export class TrackedSession {
  readonly handle: string
  /** What it takes over from the session it replaces. */
  readonly inherited: SessionMeta | undefined
  /** The user's session that this one may carry on. */
  readonly predecessor: Predecessor | undefined
  /** What it was when its own request destroyed it. */
  endedByHand: Promise<EndedMember | undefined> | undefined
  #record: SessionRecord | undefined
  #refusal: Error | undefined
  #unconfirmedOwner: string | undefined
  /** The versions that saves of this session may have stored although their replies were lost. */
  #attempts: readonly Buffer[] = []
  #labels: ReadonlySet<string> = NONE
  /** The content of the live session as of its last save. */
  #view: PendingBody | undefined
  #unsavedSince: { readonly base: PendingBody | undefined } | undefined

  constructor(handle: string, { record, inherited, labels, predecessor }: Origin = {}) {
    this.handle = handle
    this.inherited = inherited
    this.predecessor = predecessor
    this.#record = record
    if (labels !== undefined && labels.length > 0) this.#labels = new Set(labels)
    this.#view = record?.body
  }

  /** The last known record; none until a new session is stored. */
  get record(): SessionRecord | undefined {
    return this.#record
  }

  /** Sets a newer state of the record; with `from` only if that is still the known one. */
  update(record: SessionRecord, from = this.#record): void {
    if (this.#record === from) this.#record = record
  }

  /** Refuses further saves and reads. */
  refuse(reason: Error): void {
    this.#refusal = reason
  }

  /** Why saves and reads are refused, if they are. */
  get refusal(): Error | undefined {
    return this.#refusal
  }

  /** Throws why saves and reads are refused, if they are. */
  checkUsable(): void {
    if (this.#refusal) throw this.#refusal
  }

  /** The owner in whose registry a save may have an unconfirmed place. */
  get unconfirmedOwner(): string | undefined {
    return this.#unconfirmedOwner
  }

  joining(owner: string): void {
    this.#unconfirmedOwner = owner
  }

  confirmed(): void {
    this.#unconfirmedOwner = undefined
  }

  /** The labels it is, or is to be, sealed with; none is ever removed. */
  get labels(): readonly string[] {
    const sealed = this.#record?.meta.labels
    if (this.#labels.size === 0) return sealed ?? []
    return [...new Set([...(sealed ?? []), ...this.#labels])].sort()
  }

  addLabels(labels: readonly string[]): void {
    this.#labels = new Set([...this.#labels, ...labels])
  }

  /** What a session that replaces this one may carry on. */
  get succession(): Predecessor | undefined {
    const { owner, epoch } = this.#record?.meta ?? {}
    if (owner === undefined) return this.predecessor
    return { handle: this.handle, owner, epoch, isSuperseded: false, ended: this.endedByHand }
  }

  /** Returns whether the record needs nothing but content: it has the owner, the labels and the first secret, and no save has failed. */
  isInStep(owner: string | undefined): boolean {
    const record = this.#record
    if (record === undefined || this.hasUnsaved() || !record.isCurrent) return false
    const sealed = record.meta.labels ?? []
    return record.meta.owner === owner && [...this.#labels].every((label) => sealed.includes(label))
  }

  /** Captures the live session; the next save will carry only what changes after this. */
  capture(live: object, ours: PendingBody, ttlMs: number): PendingSave {
    const pending = { base: this.#view, ours, live, ttlMs }
    this.#view = ours
    return pending
  }

  /** Returns the base of all changes that are not stored, including those of failed saves before this one. */
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

  /** Notes that a version was certainly not stored. */
  notStored(etag: Buffer): void {
    this.#attempts = this.#attempts.filter((attempt) => !attempt.equals(etag))
  }

  /** Whether a version may be stored that is newer than the known record. */
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

  /** Replaces the captured content, after another request's changes were laid into the live session. */
  rebase(change: (view: PendingBody) => Promise<PendingBody>): void {
    const view = this.#view
    if (view !== undefined)
      this.#view = change(view)
        .then((changed) => changed)
        .catch(() => view)
  }
}
