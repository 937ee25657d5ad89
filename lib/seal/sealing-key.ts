import { createHmac, createSecretKey, hkdfSync, type KeyObject } from 'node:crypto'
import { inspect } from 'node:util'
import { encodeHeader, KEY_ID_BYTES, type Mode } from './envelope.ts'

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
  /** How a blob begins that this key seals. */
  readonly headers: Readonly<Record<Mode, Buffer>>
  readonly #secret: KeyObject
  // By purpose. Purposes are fixed words, so none grows.
  readonly #derived = {
    signed: { mac: new Map<string, KeyObject>(), enc: new Map<string, KeyObject>() },
    encrypted: { mac: new Map<string, KeyObject>(), enc: new Map<string, KeyObject>() },
  }

  constructor(secret: KeyObject) {
    this.#secret = secret
    this.id = hkdfSha256(secret, { info: `${DOMAIN}/key-id`, bytes: KEY_ID_BYTES })
    this.headers = { signed: encodeHeader('signed', this.id), encrypted: encodeHeader('encrypted', this.id) }
  }

  /** Returns the key for one purpose, mode and use; no two of them share one. */
  derive(purpose: string, mode: Mode, use: KeyUse): KeyObject {
    const derived = this.#derived[mode][use]
    const known = derived.get(purpose)
    if (known !== undefined) return known
    const info = `${DOMAIN}/${purpose}/${mode}/${use}`
    const key = createSecretKey(hkdfSha256(this.#secret, { info, bytes: DERIVED_KEY_BYTES }))
    derived.set(purpose, key)
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

/** HMAC-SHA-256 (RFC 2104) over the parts as if they were one. */
export function hmacSha256(key: KeyObject, parts: readonly Buffer[]): Buffer {
  const hmac = createHmac('sha256', key)
  for (const part of parts) hmac.update(part)
  return hmac.digest()
}
