import { randomBytes } from 'node:crypto'
import type { Backend, EndReply } from '../backend/backend.ts'
import { type Departed, MAX_DEPARTED_BYTES, PAGE_SIZE } from '../backend/registry.ts'
import { SessionInvalidError } from '../errors.ts'
import { failInDoubt } from '../operations.ts'
import { MAX_OVERHEAD_BYTES } from '../seal/envelope.ts'
import type { Sealer } from '../seal/sealer.ts'
import {
  type EndingTerms,
  encodeEnding,
  encodeHistory,
  endingOf,
  type SessionEnding,
} from '../session/ending.ts'
import type { Announce } from '../session/events.ts'
import type { RecordHead, SessionRecords } from '../session/records.ts'

// How long a write that was given up may still arrive: about as long as TCP keeps retransmitting by Linux's default.
const FENCE_TTL_MS = 15 * 60_000

export interface EndSessionsParts {
  readonly backend: Backend
  readonly sealer: Sealer
  /** Opens records of every kind that a user's registry holds. */
  readonly records: Pick<SessionRecords, 'headOf'>
  readonly prefix: string
  readonly endedTtlMs: number
  readonly announce: Announce
}

/** A record that was ended, and that may still be in its owner's registry. */
export interface EndedRecord {
  readonly handle: string
  readonly answer: EndReply['answer']
  readonly owner: string | undefined
  /** The epoch that the removed record was sealed with, if it opens. */
  readonly epoch: number | undefined
  /** What its owner's registry remembers of it. */
  readonly history: Departed | undefined
}

export interface EndedRecords {
  readonly ended: readonly EndedRecord[]
  /** The first failure; every record was tried. */
  readonly failure: Error | undefined
}

/**
 * Ends sessions of one prefix, of whatever kind: first the record, which no read finds from then on, then its place in
 * its owner's registry.
 */
export class EndSessions {
  readonly #parts: EndSessionsParts

  constructor(parts: EndSessionsParts) {
    this.#parts = parts
  }

  /** Ends a session and removes it from its owner's registry. Rejects with a `TypeError` that names a wrong term. */
  async end(handle: string, terms: EndingTerms): Promise<EndReply['answer']> {
    const ended = await this.#end(handle, await this.#ending(terms))
    if (ended.owner !== undefined) await this.remove(ended.owner, [ended]).catch(failInDoubt)
    return ended.answer
  }

  /**
   * Ends a record and leaves its registration. Returns `ended` only if this very call ended it, also if a reply was lost and the
   * repeat found the tombstone.
   */
  async endRecord(handle: string, terms: EndingTerms): Promise<EndedRecord> {
    const ending = await this.#ending(terms)
    // Two endings of one millisecond must not pass for each other.
    const call = randomBytes(12).toString('base64url')
    const blob = await this.#seal('ending', handle, encodeEnding(ending, call))
    const ended = await this.#end(handle, ending, blob)
    if (ended.answer !== 'already-ended') return ended
    const tombstone = await this.#parts.backend.ending(handle).catch((error: unknown) => {
      if (!(error instanceof SessionInvalidError)) failInDoubt(error)
    })
    return tombstone?.equals(blob) ? { ...ended, answer: 'ended' } : ended
  }

  /** Ends several records in one round trip where the backend has one, and leaves their registrations. */
  async endRecords(handles: readonly string[], terms: EndingTerms): Promise<EndedRecords> {
    const ending = await this.#ending(terms)
    const outcomes = await Promise.allSettled(handles.map((handle) => this.#end(handle, ending)))
    const ended = outcomes.filter((outcome) => outcome.status === 'fulfilled').map((outcome) => outcome.value)
    const failed = outcomes.find((outcome) => outcome.status === 'rejected')
    return { ended, failure: failed?.reason as Error | undefined }
  }

  /**
   * Removes ended records from the owner's registry, which remembers how they ended. `confirmed` is a session of the owner
   * that is stored by now.
   */
  async remove(owner: string, ended: readonly EndedRecord[], confirmed?: string): Promise<void> {
    if (ended.length === 0 && confirmed === undefined) return
    // One may have become another user's a moment ago: both registries have it, and that user's remembers it.
    const strays = ended.filter((one) => one.owner !== undefined && one.owner !== owner)
    const own = ended.map((one) => (strays.includes(one) ? { ...one, history: undefined } : one))
    await Promise.all([
      this.#withdraw(owner, own.slice(0, PAGE_SIZE), confirmed),
      ...pagesOf(own.slice(PAGE_SIZE)).map((page) => this.#withdraw(owner, page)),
      ...strays.map((one) => this.#withdraw(one.owner ?? owner, [one])),
    ])
  }

  #withdraw(owner: string, ended: readonly EndedRecord[], confirmed?: string): Promise<void> {
    return this.#parts.backend.registry.withdraw(owner, {
      handles: ended.map(({ handle }) => handle),
      departed: ended.map(({ history }) => history).filter((history) => history !== undefined),
      departedTtlMs: this.#parts.endedTtlMs,
      taken: confirmed,
    })
  }

  async #ending(terms: EndingTerms): Promise<SessionEnding> {
    return endingOf(terms, await this.#parts.backend.now())
  }

  async #end(handle: string, ending: SessionEnding, sealed?: Buffer): Promise<EndedRecord> {
    const { backend, records, endedTtlMs, announce } = this.#parts
    const blob = sealed ?? (await this.#seal('ending', handle, encodeEnding(ending)))
    const ownedTtlMs = Math.max(endedTtlMs, FENCE_TTL_MS)
    const reply = await backend.end(handle, { blob, ownedTtlMs, fenceTtlMs: FENCE_TTL_MS })
    const head = reply.blob && (await records.headOf(handle, reply.blob))
    const meta = head?.meta
    const isNews = reply.answer === 'ended' || (reply.answer === 'missing' && ending.reason === 'evicted')
    if (isNews) announce('session-ended', { handle, reason: ending.reason })
    const history = head && (await this.#history(handle, head, ending))
    return { handle, answer: reply.answer, owner: meta?.owner ?? reply.owner, epoch: meta?.epoch, history }
  }

  async #history(handle: string, head: RecordHead, ending: SessionEnding): Promise<Departed> {
    const { meta } = head
    const kind = head.kind === 'token' ? 'token' : undefined
    const known = encodeHistory({ kind, meta, ending })
    // A registry keeps many of them.
    const isTooMuch = known.length > MAX_DEPARTED_BYTES - MAX_OVERHEAD_BYTES
    const kept = isTooMuch ? encodeHistory({ kind, meta: { ...meta, device: undefined }, ending }) : known
    return { handle, blob: await this.#seal('departed', handle, kept) }
  }

  async #seal(purpose: string, handle: string, plaintext: Buffer): Promise<Buffer> {
    return this.#parts.sealer.seal(plaintext, { purpose, prefix: this.#parts.prefix, name: handle })
  }
}

function pagesOf<One>(all: readonly One[]): One[][] {
  const count = Math.ceil(all.length / PAGE_SIZE)
  return Array.from({ length: count }, (_, page) => all.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE))
}
