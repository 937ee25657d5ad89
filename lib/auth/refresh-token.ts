import { equalInConstantTime } from '../seal/blob.ts'
import type { Sealer } from '../seal/sealer.ts'

/** A refresh token taken apart: `kid.id.gen.mac`. docs/FORMAT.md specifies it. */
export interface RefreshToken {
  /** The id of the key of its MAC: 8 bytes as base64url. */
  readonly kid: string
  /** The secret name of its token session, which is stored nowhere. */
  readonly id: string
  /** How many tokens of the session came before it. */
  readonly gen: number
}

const FORM = /^([\w-]{11})\.([\w-]{32})\.(0|[1-9]\d{0,14})\.([\w-]{43})$/
const PURPOSE = 'refresh-token'

/**
 * Computes refresh tokens and verifies them. A token is a function of a secret, an id and a number: nothing of it is in
 * the store, and every node computes the same successor.
 */
export class RefreshTokens {
  readonly #sealer: Sealer
  readonly #prefix: string

  constructor(sealer: Sealer, prefix: string) {
    this.#sealer = sealer
    this.#prefix = prefix
  }

  /** The id of the key of tokens to come. */
  async kid(): Promise<string> {
    return (await this.#sealer.keyId()).toString('base64url')
  }

  /** The token as text; `undefined` if no secret has its `kid`. */
  async issue(token: RefreshToken): Promise<string | undefined> {
    const mac = await this.#macOf(token)
    return mac && `${nameOf(token)}.${mac.toString('base64url')}`
  }

  /** Takes a token apart that this secret made; anything else is `undefined`. Asks no store. */
  async verify(text: string): Promise<RefreshToken | undefined> {
    const [, kid, id, gen, mac] = FORM.exec(text) ?? []
    if (kid === undefined || id === undefined || gen === undefined || mac === undefined) return undefined
    const token = { kid, id, gen: Number(gen) }
    const expected = await this.issue(token)
    // As texts, of which there is one only: the last characters of base64url have bits that decode to nothing.
    const isGenuine = expected !== undefined && equalInConstantTime(Buffer.from(expected), Buffer.from(text))
    return isGenuine ? token : undefined
  }

  #macOf(token: RefreshToken): Promise<Buffer | undefined> {
    const context = { purpose: PURPOSE, prefix: this.#prefix, name: nameOf(token) }
    return this.#sealer.mac(context, Buffer.from(token.kid, 'base64url'))
  }
}

function nameOf({ kid, id, gen }: RefreshToken): string {
  return `${kid}.${id}.${gen}`
}
