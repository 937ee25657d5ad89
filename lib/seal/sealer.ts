import { inspect } from 'node:util'
import { checkBoolean } from '../option.ts'
import { openEnvelope, sealBlob } from './blob.ts'
import { type Context, encodeContext } from './context.ts'
import { decodeEnvelope, type Mode } from './envelope.ts'
import { Keyring, type KeySet } from './keyring.ts'
import { hmacSha256 } from './sealing-key.ts'
import type { Secrets } from './secret.ts'

export interface SealerOptions {
  readonly secrets: Secrets | Keyring
  /** Whether blobs are encrypted too, or signed only. The sealer opens nothing but what it would seal. */
  readonly encrypt: boolean
}

/**
 * - `open`: verified. `current` says whether it was sealed with the first secret.
 * - `unknown-key`: it looks like ours, but no secret has its key id. Anyone who can write can make one.
 * - `invalid`: anything else; does not show which check failed.
 */
export type Opened =
  | { readonly state: 'open'; readonly plaintext: Buffer; readonly current: boolean }
  | { readonly state: 'invalid' }
  | { readonly state: 'unknown-key' }

const INVALID: Opened = Object.freeze({ state: 'invalid' })
const UNKNOWN_KEY: Opened = Object.freeze({ state: 'unknown-key' })

/**
 * Turns plaintext into a blob and back. Fails with `StoreSecretsError` if a `secrets` function fails, and with a
 * `TypeError` if the context has no encoding; no blob makes `open` fail.
 */
export class Sealer {
  readonly #keyring: Keyring
  readonly #mode: Mode
  #keys: KeySet | undefined

  /** Throws a `TypeError` that names the option. */
  constructor({ secrets, encrypt }: SealerOptions) {
    this.#keyring = secrets instanceof Keyring ? secrets : new Keyring(secrets)
    this.#keys = this.#keyring.loaded
    this.#mode = checkBoolean('encrypt', encrypt) ? 'encrypted' : 'signed'
  }

  /** Returns the blob: without a promise once the secrets are known. */
  seal(plaintext: Buffer, context: Context): Buffer | Promise<Buffer> {
    if (this.#keys === undefined) return this.#load().then(() => this.seal(plaintext, context))
    return sealBlob(plaintext, this.#mode, { key: this.#keys.first, context })
  }

  /** Returns what a blob holds: without a promise once the secrets are known. */
  open(blob: Buffer, context: Context): Opened | Promise<Opened> {
    const keys = this.#keys
    if (keys === undefined) return this.#load().then(() => this.open(blob, context))
    const envelope = decodeEnvelope(blob)
    if (envelope?.mode !== this.#mode) return INVALID
    const key = keys.find(envelope.keyId)
    if (key === undefined) return UNKNOWN_KEY
    const plaintext = openEnvelope(envelope, { key, context })
    return plaintext === undefined ? INVALID : { state: 'open', plaintext, current: key === keys.first }
  }

  /**
   * The MAC of a context alone, by the key with this id; `undefined` if no secret has it. For what is not stored: whoever
   * has the secret computes it again.
   */
  async mac(context: Context, keyId: Buffer): Promise<Buffer | undefined> {
    const key = (await this.#keyring.load()).find(keyId)?.derive(context.purpose, 'signed', 'mac')
    return key && hmacSha256(key, [encodeContext(context)])
  }

  /** A sealer with the same secrets that also encrypts. */
  encrypting(): Sealer {
    return new Sealer({ secrets: this.#keyring, encrypt: true })
  }

  /** The id of the key that seals. */
  async keyId(): Promise<Buffer> {
    return (await this.#keyring.load()).first.id
  }

  /** The ids of all keys, in hex; each blob names one openly. */
  async keyIds(): Promise<readonly string[]> {
    return (await this.#keyring.load()).ids
  }

  async #load(): Promise<void> {
    this.#keys = await this.#keyring.load()
  }

  toJSON(): string {
    return '[redacted]'
  }

  [inspect.custom](): string {
    return 'Sealer [redacted]'
  }
}
