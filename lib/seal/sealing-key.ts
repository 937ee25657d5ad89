import { createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { inspect } from 'node:util'
import { KEY_ID_BYTES, type Mode } from './envelope.ts'

export type KeyUse = 'mac' | 'enc'

export interface Derivation {
  readonly info: string | Buffer
  readonly bytes: number
  /** None by default: RFC 5869 §3.1 allows that, and a salt would have to be kept beside the secret. */
  readonly salt?: Buffer
}

const DOMAIN = 'express-session-valkey/v1'
const DERIVED_KEY_BYTES = 32
const NO_SALT = Buffer.alloc(0)

/** One secret: the id that blobs name it by, and the keys derived from it. The secret itself is never a key. */
export class SealingKey {
  readonly id: Buffer
  readonly #secret: KeyObject
  // Never longer than purposes x 2 modes x 2 uses, as purposes are fixed words.
  readonly #derived = new Map<string, KeyObject>()

  constructor(secret: KeyObject) {
    this.#secret = secret
    this.id = hkdfSha256(secret, { info: `${DOMAIN}/key-id`, bytes: KEY_ID_BYTES })
  }

  /** The key for one purpose, mode and use; no two of them share one. */
  derive(purpose: string, mode: Mode, use: KeyUse): KeyObject {
    const info = `${DOMAIN}/${purpose}/${mode}/${use}`
    const known = this.#derived.get(info)
    if (known !== undefined) return known
    const key = createSecretKey(hkdfSha256(this.#secret, { info, bytes: DERIVED_KEY_BYTES }))
    this.#derived.set(info, key)
    return key
  }

  toJSON(): string {
    return '[redacted]'
  }

  [inspect.custom](): string {
    return 'SealingKey [redacted]'
  }
}

/** HKDF-SHA-256 (RFC 5869), extract and expand. */
export function hkdfSha256(secret: KeyObject, { info, bytes, salt = NO_SALT }: Derivation): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, info, bytes))
}
