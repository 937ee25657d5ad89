import { randomBytes } from 'node:crypto'
import type { Backend, EndReply } from '../backend/backend.ts'
import { type Departed, MAX_DEPARTED_BYTES, PAGE_SIZE } from '../backend/registry.ts'
import { SessionInvalidError } from '../errors.ts'
import { MAX_OVERHEAD_BYTES } from '../seal/envelope.ts'
import type { Sealer } from '../seal/sealer.ts'
import { encodeDeparted } from '../session/departed.ts'
import { encodeEnding, type SessionEnding } from '../session/ending.ts'
import type { Announce } from '../session/events.ts'
import type { SessionMeta } from '../session/metadata.ts'
import type { SessionRecords } from '../session/records.ts'
import { failInDoubt } from './doubt.ts'

// How long a write that was given up may still arrive: about as long as TCP keeps retransmitting by Linux's default.
const FENCE_TTL_MS = 15 * 60_000

/** How many pages of pending handles one call ends at most; the next goes on where it stopped. */
export const MAX_ROUNDS = 100

export interface SessionEnderParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly records: SessionRecords
  readonly prefix: string
  readonly endedTtlMs: number
  readonly announce: Announce
}

/** One session after it was struck: ended, but still in its owner's registry. */
export interface Struck {
  readonly handle: string
  readonly answer: EndReply['answer']
  readonly owner: string | undefined
  /** The epoch that the removed record was sealed with, as far as it opens. */
  readonly epoch: number | undefined
  readonly departed: Departed | undefined
}

export interface StrikeReply {
  readonly struck: readonly Struck[]
  readonly failure: Error | undefined
}

/** Ends sessions: first the record, which no read finds from then on, then its place in its owner's registry. */
export class SessionEnder {
  readonly #parts: SessionEnderParts

  constructor(parts: SessionEnderParts) {
    this.#parts = parts
  }

  async end(handle: string, ending: SessionEnding): Promise<EndReply['answer']> {
    const struck = await this.#strike(handle, ending)
    if (struck.owner !== undefined) await this.withdraw(struck.owner, [struck]).catch(failInDoubt)
    return struck.answer
  }

  /**
   * Ends a record and leaves its registration. `ended` says that this very call ended it, also where a reply was lost
   * and the repeat met the tombstone.
   */
  async strike(handle: string, ending: SessionEnding): Promise<Struck> {
    // Two endings of one millisecond must not pass for each other.
    const blob = await this.#seal(
      'ending',
      handle,
      encodeEnding(ending, randomBytes(12).toString('base64url')),
    )
    const struck = await this.#strike(handle, ending, blob)
    if (struck.answer !== 'already-ended') return struck
    const stands = await this.#parts.backend.ending(handle).catch((error: unknown) => {
      if (!(error instanceof SessionInvalidError)) failInDoubt(error)
    })
    return stands?.equals(blob) ? { ...struck, answer: 'ended' } : struck
  }

  /** Ends several at once, in one round trip where the backend has one. Every one is tried; the first failure is told beside what was struck. */
  async strikeAll(handles: readonly string[], ending: SessionEnding): Promise<StrikeReply> {
    const outcomes = await Promise.allSettled(handles.map((handle) => this.#strike(handle, ending)))
    const struck = outcomes
      .filter((outcome) => outcome.status === 'fulfilled')
      .map((outcome) => outcome.value)
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    return { struck, failure: failed?.reason as Error | undefined }
  }

  /**
   * Takes what was ended out of the owner's registry, which remembers how it ended. `taken` is a session of the owner that
   * is stored by now.
   */
  async withdraw(owner: string, struck: readonly Struck[], taken?: string): Promise<void> {
    if (struck.length === 0 && taken === undefined) return
    // One may have become another user's a moment ago: it is on both registers, and that user's remembers it.
    const strays = struck.filter((one) => one.owner !== undefined && one.owner !== owner)
    const own = struck.map((one) => (strays.includes(one) ? { ...one, departed: undefined } : one))
    await Promise.all([
      this.#withdraw(owner, own.slice(0, PAGE_SIZE), taken),
      ...pagesOf(own.slice(PAGE_SIZE)).map((page) => this.#withdraw(owner, page)),
      ...strays.map((one) => this.#withdraw(one.owner ?? owner, [one])),
    ])
  }

  #withdraw(owner: string, struck: readonly Struck[], taken?: string): Promise<void> {
    return this.#parts.backend.registry.withdraw(owner, {
      handles: struck.map(({ handle }) => handle),
      departed: struck.map(({ departed }) => departed).filter((departed) => departed !== undefined),
      departedTtlMs: this.#parts.endedTtlMs,
      taken,
    })
  }

  async #strike(handle: string, ending: SessionEnding, sealed?: Buffer): Promise<Struck> {
    const { backend, records, endedTtlMs, announce } = this.#parts
    const blob = sealed ?? (await this.#seal('ending', handle, encodeEnding(ending)))
    const ownedTtlMs = Math.max(endedTtlMs, FENCE_TTL_MS)
    const reply = await backend.end(handle, { blob, ownedTtlMs, fenceTtlMs: FENCE_TTL_MS })
    const meta = reply.blob && (await records.metaOf(handle, reply.blob))
    const isNews = reply.answer === 'ended' || (reply.answer === 'missing' && ending.reason === 'evicted')
    if (isNews) announce('session-ended', { handle, reason: ending.reason })
    const departed = meta && (await this.#departed(handle, meta, ending))
    return { handle, answer: reply.answer, owner: meta?.owner ?? reply.owner, epoch: meta?.epoch, departed }
  }

  async #departed(handle: string, meta: SessionMeta, ending: SessionEnding): Promise<Departed> {
    const { createdAtMs, device } = meta
    const known = encodeDeparted({ createdAtMs, device, ending })
    // A registry remembers many of them.
    const isTooMuch = known.length > MAX_DEPARTED_BYTES - MAX_OVERHEAD_BYTES
    const kept = isTooMuch ? encodeDeparted({ createdAtMs, device: undefined, ending }) : known
    return { handle, blob: await this.#seal('departed', handle, kept) }
  }

  #seal(purpose: string, handle: string, plaintext: Buffer): Promise<Buffer> {
    return this.#parts.sealer.seal(plaintext, { purpose, prefix: this.#parts.prefix, name: handle })
  }
}

function pagesOf<One>(all: readonly One[]): One[][] {
  const count = Math.ceil(all.length / PAGE_SIZE)
  return Array.from({ length: count }, (_, page) => all.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE))
}
