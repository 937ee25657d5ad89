import { inspect } from 'node:util'
import { StoreSecretsError } from '../errors.ts'
import { secretError } from '../option.ts'
import { Patience } from '../patience.ts'
import { SealingKey } from './sealing-key.ts'
import { parseSecret, type Secrets } from './secret.ts'

/** The keys of a list of secrets. */
export interface KeySet {
  /** The one that seals. */
  readonly first: SealingKey
  /** The ids of all, in hex. */
  readonly ids: readonly string[]
  /** The one key with this id, if there is any. */
  find(id: Buffer): SealingKey | undefined
}

/** How long a function may take to return the secrets, in ms. */
const DEADLINE_MS = 1500

/**
 * The keys made from `secrets`. A wrong list is a `TypeError` at construction; with a function, `load` rejects with
 * {@link StoreSecretsError} if the function fails, does not return in time, or its list is wrong.
 */
export class Keyring {
  readonly #fetchSecrets: (() => unknown) | undefined
  #keys: KeySet | undefined
  #loading: Promise<KeySet> | undefined

  constructor(secrets: Secrets) {
    if (typeof secrets === 'function') this.#fetchSecrets = secrets
    else this.#keys = createKeySet(secrets)
  }

  /** The keys, unless they are still to be loaded. */
  get loaded(): KeySet | undefined {
    return this.#keys
  }

  async load(): Promise<KeySet> {
    if (this.#keys !== undefined) return this.#keys
    // A failure is not kept: the next use asks again.
    this.#loading ??= this.#fetch().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  #fetch(): Promise<KeySet> {
    return new Promise((resolve, reject) => {
      const patience = new Patience(DEADLINE_MS, () =>
        reject(new StoreSecretsError(`did not answer within ${DEADLINE_MS} ms`)),
      )
      // A late list is used, too, unless a later call has returned before.
      fetchKeys(this.#fetchSecrets)
        .then((keys) => {
          this.#keys ??= keys
          resolve(this.#keys)
        }, reject)
        .finally(() => patience.end())
    })
  }

  toJSON(): string {
    return '[redacted]'
  }

  [inspect.custom](): string {
    return 'Keyring [redacted]'
  }
}

async function fetchKeys(fetchSecrets: (() => unknown) | undefined): Promise<KeySet> {
  let secrets: unknown
  try {
    secrets = await fetchSecrets?.()
  } catch {
    // Without a cause: the error of a secret manager may quote what it fetched.
    throw new StoreSecretsError('failed; call it by itself to see why')
  }
  try {
    return createKeySet(secrets)
  } catch (error) {
    throw new StoreSecretsError(`gave a wrong list. ${error instanceof TypeError ? error.message : ''}`)
  }
}

// Throws nothing but TypeErrors that name the place in the list.
function createKeySet(secrets: unknown): KeySet {
  const expected = 'a list of at least one secret, or a function that returns one'
  if (!Array.isArray(secrets)) throw secretError('secrets', expected)
  const byId = new Map<string, SealingKey>()
  for (const [index, secret] of secrets.entries()) {
    const key = new SealingKey(parseSecret(secret, `secrets[${index}]`))
    const id = key.id.toString('hex')
    if (byId.has(id))
      throw secretError(
        `secrets[${index}]`,
        'different from those before it; it has the key id of one of them',
      )
    byId.set(id, key)
  }
  const [first] = byId.values()
  if (first === undefined) throw secretError('secrets', expected)
  return {
    first,
    ids: [...byId.keys()],
    find: (id) => (first.id.equals(id) ? first : byId.get(id.toString('hex'))),
  }
}
