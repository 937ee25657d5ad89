import { hkdfSync, type KeyObject } from 'node:crypto'

export interface Derivation {
  readonly info: string | Buffer
  readonly bytes: number
  /** None by default: RFC 5869 §3.1 allows that, and a salt would have to be kept beside the secret. */
  readonly salt?: Buffer
}

const NO_SALT = Buffer.alloc(0)

/** HKDF-SHA-256 (RFC 5869), extract and expand. */
export function hkdfSha256(secret: KeyObject, { info, bytes, salt = NO_SALT }: Derivation): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, salt, info, bytes))
}
