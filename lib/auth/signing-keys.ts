import { createHash, createPrivateKey, createPublicKey, type JsonWebKey, type KeyObject } from 'node:crypto'
import { types } from 'node:util'
import { withDeadline } from '../operations.ts'
import { optionError } from '../option.ts'
import { parseSecret } from '../seal/secret.ts'
import { KeysUnavailableError } from './auth-errors.ts'

/** How access tokens are signed. */
export type SigningAlgorithm = 'ES256' | 'EdDSA' | 'HS256'

/**
 * One key to sign with. For `ES256` and `EdDSA` a private key (P-256 or Ed25519): a JWK, a PEM or a `KeyObject`. For `HS256`
 * a secret of at least 32 bytes: a string, a Buffer or a `KeyObject`.
 */
export type SigningKey = string | Uint8Array | KeyObject | JsonWebKey

/**
 * The signing keys: the first one signs, all of them verify and are published. Either the list itself, or a function that
 * fetches it. The function is called on first use and again every 5 minutes; while it fails, the last list stays in use.
 *
 * To rotate, wait between the steps, as verifiers keep a JWK set for 10 minutes: append the new key to the list; after at
 * least 10 minutes move it to the front; after `accessTtlS` more remove the old one.
 */
export type SigningKeys =
  | readonly SigningKey[]
  | (() => readonly SigningKey[] | Promise<readonly SigningKey[]>)

/** A public key as `/.well-known/jwks.json` publishes it. */
export interface PublicJwk {
  readonly kty: string
  readonly crv: string
  readonly x: string
  readonly y?: string
  readonly kid: string
  readonly alg: SigningAlgorithm
  readonly use: 'sig'
}

/** A key and what is made from it. */
export interface KeyEntry {
  readonly header: { readonly alg: SigningAlgorithm; readonly typ: 'at+jwt'; readonly kid: string }
  readonly signingKey: KeyObject
  readonly verifyingKey: KeyObject
  /** None of a secret. */
  readonly published: PublicJwk | undefined
}

/** The keys in use. */
export interface KeyList {
  readonly first: KeyEntry
  readonly published: readonly PublicJwk[]
  /** By the first part of a token: the header of a token of ours is known to the byte. */
  readonly byHeader: ReadonlyMap<string, KeyEntry>
}

const DEADLINE_MS = 1500
const REFRESH_MS = 5 * 60_000
const RETRY_MS = 5000

/** The keys as the option `keys` gives them. A wrong list is a `TypeError`; from a function, a `KeysUnavailableError`. */
export class SigningKeyring {
  readonly #algorithm: SigningAlgorithm
  readonly #fetch: (() => unknown) | undefined
  readonly #nowMs: () => number
  #keys: KeyList | undefined
  #loading: Promise<KeyList> | undefined
  #failure: unknown
  #dueAtMs = Number.NEGATIVE_INFINITY

  /** `nowMs` is for tests: a clock that only goes forward. */
  constructor(keys: SigningKeys, algorithm: SigningAlgorithm, nowMs = () => performance.now()) {
    this.#algorithm = algorithm
    this.#nowMs = nowMs
    if (typeof keys === 'function') this.#fetch = keys
    else this.#keys = keyList(keys, algorithm)
  }

  /** Returns the keys; those of before while their function fails. */
  async load(): Promise<KeyList> {
    if (this.#fetch !== undefined && this.#loading === undefined && this.#nowMs() >= this.#dueAtMs)
      this.#reload()
    return this.#keys ?? this.#newest()
  }

  /** Returns the key whose tokens have this header, if there is any; waits for the newest keys before it denies that. */
  async find(header: string): Promise<KeyEntry | undefined> {
    const { byHeader } = await this.load()
    return byHeader.get(header) ?? (await this.#newest()).byHeader.get(header)
  }

  async #newest(): Promise<KeyList> {
    if (this.#loading !== undefined) return this.#loading
    if (this.#failure !== undefined || this.#keys === undefined) throw this.#failure
    return this.#keys
  }

  #reload(): void {
    this.#loading = this.#fetchInTime().then(
      (keys) => this.#settle({ keys, failure: undefined, waitMs: REFRESH_MS }),
      (failure) =>
        this.#settle({ keys: this.#keys, failure, waitMs: this.#keys === undefined ? 0 : RETRY_MS }),
    )
    // Whoever needs the newest keys gets the failure; others go on with those they have.
    this.#loading.catch(() => undefined)
  }

  #settle(outcome: { keys: KeyList | undefined; failure: unknown; waitMs: number }): KeyList {
    this.#loading = undefined
    this.#keys = outcome.keys
    this.#failure = outcome.failure
    this.#dueAtMs = this.#nowMs() + outcome.waitMs
    if (outcome.failure !== undefined || outcome.keys === undefined) throw outcome.failure
    return outcome.keys
  }

  #fetchInTime(): Promise<KeyList> {
    const late = () => new KeysUnavailableError(`the "keys" function did not answer within ${DEADLINE_MS} ms`)
    return withDeadline(fetchKeys(this.#fetch, this.#algorithm), DEADLINE_MS, late)
  }
}

async function fetchKeys(fetch: (() => unknown) | undefined, algorithm: SigningAlgorithm): Promise<KeyList> {
  let keys: unknown
  try {
    keys = await fetch?.()
  } catch {
    // Without a cause: the error of a secret manager may quote what it fetched.
    throw new KeysUnavailableError('the "keys" function failed; call it by itself to see why')
  }
  try {
    return keyList(keys, algorithm)
  } catch (error) {
    throw new KeysUnavailableError(
      `the "keys" function gave a wrong list. ${error instanceof TypeError ? error.message : ''}`,
    )
  }
}

function keyList(keys: unknown, algorithm: SigningAlgorithm): KeyList {
  if (!Array.isArray(keys)) throw optionError('keys', 'a list of keys, or a function that returns one')
  const entries = keys.map((key: unknown, at) => keyEntry(key, algorithm, `keys[${at}]`))
  const [first] = entries
  if (first === undefined) throw optionError('keys', 'a list of at least one key')
  const byHeader = new Map(entries.map((entry) => [encodedHeader(entry), entry]))
  if (byHeader.size < entries.length) throw optionError('keys', 'a list in which no key is there twice')
  return {
    first,
    byHeader,
    published: entries.flatMap(({ published }) => published ?? []),
  }
}

function encodedHeader({ header }: KeyEntry): string {
  return Buffer.from(JSON.stringify(header)).toString('base64url')
}

function keyEntry(value: unknown, algorithm: SigningAlgorithm, name: string): KeyEntry {
  if (algorithm === 'HS256') {
    const secret = parseSecret(value, name)
    const kid = thumbprint({ k: secret.export({ format: 'jwk' }).k, kty: 'oct' })
    return {
      header: { alg: algorithm, typ: 'at+jwt', kid },
      signingKey: secret,
      verifyingKey: secret,
      published: undefined,
    }
  }
  const signingKey = privateKey(value, name)
  const isFit =
    algorithm === 'ES256'
      ? signingKey.asymmetricKeyDetails?.namedCurve === 'prime256v1'
      : signingKey.asymmetricKeyType === 'ed25519'
  if (!isFit)
    throw optionError(
      name,
      `a ${algorithm === 'ES256' ? 'P-256' : 'Ed25519'} key, as "alg" is '${algorithm}'`,
    )
  const verifyingKey = createPublicKey(signingKey)
  const { kty = '', crv = '', x = '', y } = verifyingKey.export({ format: 'jwk' })
  const jwk = y === undefined ? { crv, kty, x } : { crv, kty, x, y }
  const kid = thumbprint(jwk)
  return {
    header: { alg: algorithm, typ: 'at+jwt', kid },
    signingKey,
    verifyingKey,
    published: { ...jwk, kid, alg: algorithm, use: 'sig' },
  }
}

/** RFC 7638: the SHA-256 of the required members, in the order of their names. */
function thumbprint(members: object): string {
  return createHash('sha256').update(JSON.stringify(members)).digest('base64url')
}

function privateKey(value: unknown, name: string): KeyObject {
  const expectation = 'a private key: a JWK with "d", a PEM of PKCS #8, or a private KeyObject'
  try {
    if (types.isKeyObject(value) && value.type === 'private') return value
    if (typeof value === 'string') return createPrivateKey(value)
    if (isPrivateJwk(value)) return createPrivateKey({ key: value, format: 'jwk' })
  } catch {
    // Without a cause: what OpenSSL says of a key is not for logs.
  }
  throw optionError(name, expectation)
}

function isPrivateJwk(value: unknown): value is JsonWebKey {
  return typeof value === 'object' && value !== null && 'kty' in value && 'd' in value
}
