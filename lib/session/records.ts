import {
  type Backend,
  type Expectation,
  etagOf,
  type PutAnswer,
  type StoredRecord,
} from '../backend/backend.ts'
import { SessionInvalidError, SessionUnknownKeyError, StoreUnavailableError } from '../errors.ts'
import type { Context } from '../seal/context.ts'
import { MAX_OVERHEAD_BYTES } from '../seal/envelope.ts'
import type { Opened, Sealer } from '../seal/sealer.ts'
import type { SessionBody } from './codec.ts'
import type { Announce } from './events.ts'
import {
  decodePlaintext,
  encodePlaintext,
  MAX_META_BYTES,
  type SessionMeta,
  type SessionPlaintext,
} from './metadata.ts'

/** The purpose of a record. Each kind has keys of its own, so that no record opens as one of another kind. */
export type RecordKind = 'session' | 'token'

/** A record without its content. */
export interface RecordHead {
  readonly kind: RecordKind
  readonly meta: SessionMeta
}

/** One opened version of a session's record. */
export interface SessionRecord extends RecordHead {
  readonly handle: string
  readonly body: SessionBody
  readonly etag: Buffer
  /** In ms of the backend's clock. */
  readonly expiresAtMs: number
  /** Whether the first secret sealed it. */
  readonly isCurrent: boolean
}

/** A version of a session, sealed and ready to be stored as often as it takes. */
export interface SealedSession {
  readonly kind: RecordKind
  readonly handle: string
  readonly meta: SessionMeta
  readonly body: SessionBody
  readonly blob: Buffer
  readonly etag: Buffer
}

export interface PutTerms {
  readonly expect: Expectation
  readonly ttlMs: number
  /** Whether the expiry is never to come nearer than it is. */
  readonly isExtension?: boolean
}

/** The outcome of a put: the backend's reply, `unavailable` if it was certainly not applied, `unknown` if it may have been. */
export type PutOutcome = PutAnswer | 'unavailable' | 'unknown'

export type PutResult =
  | { readonly outcome: 'stored'; readonly record: SessionRecord }
  | { readonly outcome: Exclude<PutAnswer, 'stored'> }
  | { readonly outcome: 'unavailable' | 'unknown'; readonly error: unknown }

interface OpenedKind {
  readonly opened: Opened
  readonly kind: RecordKind
}

export interface SessionRecordsParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly prefix: string
  /** Which kinds of records open. Others count as invalid. */
  readonly kinds: readonly RecordKind[]
  readonly maxBytes: number
  readonly onInvalid: 'discard' | 'error'
  readonly onUnknownKey: 'discard' | 'error'
  readonly announce: Announce
}

/** Returns the size of the largest blob that a session of `maxBytes` can become. */
export function maxBlobBytes(maxBytes: number): number {
  return maxBytes + MAX_META_BYTES + MAX_OVERHEAD_BYTES
}

/** Seals sessions before they are written, opens them after they are read, and reports what does not open. */
export class SessionRecords {
  readonly #parts: SessionRecordsParts
  readonly #maxBlobBytes: number

  constructor(parts: SessionRecordsParts) {
    this.#parts = parts
    this.#maxBlobBytes = maxBlobBytes(parts.maxBytes)
  }

  /** Returns the record, or `undefined` if there is none or, by policy, if it does not open. */
  read(handle: string): Promise<SessionRecord | undefined> {
    return this.#parts.backend.get(handle, this.#maxBlobBytes).then((found) => {
      if (found === undefined) return undefined
      if (found === 'unreadable') return this.#invalid(handle)
      const opening = this.#open(handle, found.blob)
      return opening instanceof Promise
        ? opening.then((opened) => this.#recordOf(handle, found, opened))
        : this.#recordOf(handle, found, opening)
    })
  }

  #recordOf(
    handle: string,
    { blob, expiresAtMs }: StoredRecord,
    { opened, kind }: OpenedKind,
  ): SessionRecord | undefined {
    if (opened.state === 'unknown-key') return this.#unknownKey(handle)
    const plaintext = opened.state === 'open' ? decodePlaintext(opened.plaintext) : undefined
    if (opened.state === 'invalid' || plaintext === undefined) return this.#invalid(handle)
    const { meta, body } = plaintext
    return {
      kind,
      handle,
      meta,
      body,
      etag: etagOf(blob),
      expiresAtMs,
      isCurrent: opened.current,
    }
  }

  /** Seals a version: without a promise once the secrets are known. */
  seal(
    kind: RecordKind,
    handle: string,
    plaintext: SessionPlaintext,
  ): SealedSession | Promise<SealedSession> {
    const { meta, body } = plaintext
    const sealed = (blob: Buffer) => ({ kind, handle, meta, body, blob, etag: etagOf(blob) })
    const blob = this.#parts.sealer.seal(encodePlaintext(plaintext), this.#context(kind, handle))
    return blob instanceof Promise ? blob.then(sealed) : sealed(blob)
  }

  /** Stores a version. Never rejects. */
  async put(sealed: SealedSession, { expect, ttlMs, isExtension }: PutTerms): Promise<PutResult> {
    const { kind, handle, meta, body, blob, etag } = sealed
    try {
      const write = { expect, ttlMs, isExtension, blob, endsAtMs: meta.endsAtMs, owner: meta.owner }
      const { answer, expiresAtMs = 0 } = await this.#parts.backend.put(handle, write)
      if (answer !== 'stored') return { outcome: answer }
      return { outcome: 'stored', record: { kind, handle, meta, body, etag, expiresAtMs, isCurrent: true } }
    } catch (error) {
      return { outcome: error instanceof StoreUnavailableError ? 'unavailable' : 'unknown', error }
    }
  }

  /** Returns what is sealed beside the data in a blob that was removed; `undefined` if it does not open. */
  async headOf(handle: string, blob: Buffer): Promise<RecordHead | undefined> {
    const { opened, kind } = await this.#open(handle, blob)
    const meta = opened.state === 'open' ? decodePlaintext(opened.plaintext)?.meta : undefined
    return meta && { kind, meta }
  }

  /** Reports a record that verified but cannot be used, as {@link read} reports one that did not verify. */
  unusable(handle: string): undefined {
    return this.#invalid(handle)
  }

  /** Opens a blob as the first kind that it is. */
  #open(handle: string, blob: Buffer, at = 0): OpenedKind | Promise<OpenedKind> {
    const kind = this.#parts.kinds[at] ?? 'session'
    const opening = this.#parts.sealer.open(blob, this.#context(kind, handle))
    const next = (opened: Opened) =>
      opened.state === 'invalid' && at + 1 < this.#parts.kinds.length
        ? this.#open(handle, blob, at + 1)
        : { opened, kind }
    return opening instanceof Promise ? opening.then(next) : next(opening)
  }

  #context(kind: RecordKind, handle: string): Context {
    return { purpose: kind, prefix: this.#parts.prefix, name: handle }
  }

  #invalid(handle: string): undefined {
    this.#parts.announce('session-invalid', { handle })
    if (this.#parts.onInvalid === 'error') throw new SessionInvalidError()
    return undefined
  }

  #unknownKey(handle: string): undefined {
    this.#parts.announce('session-unknown-key', { handle })
    if (this.#parts.onUnknownKey === 'error') throw new SessionUnknownKeyError()
    return undefined
  }
}
