import type { RegistryAccess } from '../registry/access.ts'
import type { Context } from '../seal/context.ts'
import type { Sealer } from '../seal/sealer.ts'
import type { SessionMeta } from '../session/metadata.ts'
import { ownerName } from '../session/names.ts'
import type { SealedSession, SessionRecord } from '../session/records.ts'
import { decodeTokenState, encodeTokenState, type TokenState } from './token-state.ts'

/** A token session as it is stored. */
export interface TokenSession {
  readonly sid: string
  readonly createdAtMs: number
  readonly expiresAtMs: number
  readonly endsAtMs: number | undefined
  readonly state: TokenState
}

/** One opened version of a token session's record. */
export interface TokenRecord {
  readonly meta: SessionMeta
  readonly etag: Buffer
  readonly session: TokenSession
}

/** Token sessions as sealed records, whose body is a {@link TokenState}. */
export class TokenRecords {
  readonly #access: Pick<RegistryAccess, 'tokenRecords' | 'prefix'>
  /** Encrypts also where the store only signs: with an upstream's secret anybody could sign in there. */
  readonly #encrypting: Sealer

  constructor(access: RegistryAccess) {
    this.#access = access
    this.#encrypting = access.sealer.encrypting()
  }

  /** The record; `undefined` if there is none, or none that can be used. */
  async read(handle: string): Promise<TokenRecord | undefined> {
    const record = await this.#access.tokenRecords.read(handle)
    const session = record && (await this.#sessionOf(record))
    return record && session && { meta: record.meta, etag: record.etag, session }
  }

  async seal(handle: string, meta: SessionMeta, state: TokenState): Promise<SealedSession> {
    const secret = state.upstream === undefined ? undefined : Buffer.from(state.upstream)
    const hidden = secret && (await this.#encrypting.seal(secret, this.#upstreamOf(handle)))
    const body = encodeTokenState({ ...state, upstream: hidden?.toString('base64url') })
    return this.#access.tokenRecords.seal('token', handle, { meta, body })
  }

  async #sessionOf({ handle, meta, body, expiresAtMs }: SessionRecord): Promise<TokenSession | undefined> {
    const state = decodeTokenState(body)
    const hidden = state?.upstream === undefined ? undefined : Buffer.from(state.upstream, 'base64url')
    const opened = hidden && (await this.#encrypting.open(hidden, this.#upstreamOf(handle)))
    const isRight = state !== undefined && meta.owner === ownerName(state.user.id)
    if (!isRight || (opened !== undefined && opened.state !== 'open'))
      return this.#access.tokenRecords.unusable(handle)
    const { createdAtMs, endsAtMs } = meta
    const upstream = opened?.plaintext.toString()
    return { sid: handle, createdAtMs, expiresAtMs, endsAtMs, state: { ...state, upstream } }
  }

  #upstreamOf(handle: string): Context {
    return { purpose: 'upstream', prefix: this.#access.prefix, name: handle }
  }
}
