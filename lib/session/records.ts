import { type Backend, type Expectation, etagOf, type PutAnswer } from '../backend/backend.ts'
import { SessionInvalidError, SessionUnknownKeyError } from '../errors.ts'
import type { Context } from '../seal/context.ts'
import { MAX_OVERHEAD_BYTES } from '../seal/envelope.ts'
import type { Sealer } from '../seal/sealer.ts'
import type { SessionBody } from './codec.ts'
import type { Announce } from './events.ts'
import {
  decodePlaintext,
  encodePlaintext,
  MAX_META_BYTES,
  type SessionMeta,
  type SessionPlaintext,
} from './metadata.ts'

/** One opened version of a session's record. */
export interface SessionRecord {
  readonly handle: string
  readonly meta: SessionMeta
  readonly body: SessionBody
  readonly etag: Buffer
  /** In ms of the backend's clock. */
  readonly expiresAtMs: number
  /** Whether the first secret sealed it. */
  readonly isCurrent: boolean
}

/** A version of a session, sealed and ready to be stored as often as it takes. */
export interface SealedSession {
  readonly handle: string
  readonly meta: SessionMeta
  readonly body: SessionBody
  readonly blob: Buffer
  readonly etag: Buffer
}

export interface StoreTerms {
  readonly expect: Expectation
  readonly ttlMs: number
}

export interface StoreReply {
  readonly answer: PutAnswer
  readonly record: SessionRecord
}

export interface SessionRecordsParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly prefix: string
  readonly maxBytes: number
  readonly onInvalid: 'discard' | 'error'
  readonly onUnknownKey: 'discard' | 'error'
  readonly announce: Announce
}

/** The largest blob a session of `maxBytes` can become. */
export function maxBlobBytes(maxBytes: number): number {
  return maxBytes + MAX_META_BYTES + MAX_OVERHEAD_BYTES
}

/** Sessions as sealed records: seals what is written, opens what is read, and judges what does not open. */
export class SessionRecords {
  readonly #parts: SessionRecordsParts

  constructor(parts: SessionRecordsParts) {
    this.#parts = parts
  }

  /** The record, or `undefined` if there is none or, by policy, if it does not open. */
  async read(handle: string): Promise<SessionRecord | undefined> {
    const found = await this.#parts.backend.get(handle, maxBlobBytes(this.#parts.maxBytes))
    if (found === undefined) return undefined
    if (found === 'unreadable') return this.#invalid(handle)
    const opened = await this.#parts.sealer.open(found.blob, this.#context(handle))
    if (opened.state === 'unknown-key') return this.#unknownKey(handle)
    const plaintext = opened.state === 'open' ? decodePlaintext(opened.plaintext) : undefined
    if (opened.state === 'invalid' || plaintext === undefined) return this.#invalid(handle)
    return {
      handle,
      ...plaintext,
      etag: etagOf(found.blob),
      expiresAtMs: found.expiresAtMs,
      isCurrent: opened.current,
    }
  }

  async seal(handle: string, plaintext: SessionPlaintext): Promise<SealedSession> {
    const blob = await this.#parts.sealer.seal(encodePlaintext(plaintext), this.#context(handle))
    return { handle, ...plaintext, blob, etag: etagOf(blob) }
  }

  async store(sealed: SealedSession, terms: StoreTerms): Promise<StoreReply> {
    const { handle, blob, ...version } = sealed
    const { endsAtMs, owner } = version.meta
    const reply = await this.#parts.backend.put(handle, { ...terms, blob, endsAtMs, owner })
    return {
      answer: reply.answer,
      record: { handle, ...version, expiresAtMs: reply.expiresAtMs ?? 0, isCurrent: true },
    }
  }

  /** What is sealed in a blob that was removed; `undefined` if it does not open. */
  async metaOf(handle: string, blob: Buffer): Promise<SessionMeta | undefined> {
    const opened = await this.#parts.sealer.open(blob, this.#context(handle))
    return opened.state === 'open' ? decodePlaintext(opened.plaintext)?.meta : undefined
  }

  /** Reports content that verified but cannot be used, as {@link read} reports what did not verify. */
  unusable(handle: string): undefined {
    return this.#invalid(handle)
  }

  #context(handle: string): Context {
    return { purpose: 'session', prefix: this.#parts.prefix, name: handle }
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
