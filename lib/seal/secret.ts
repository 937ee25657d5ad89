import { createSecretKey, type KeyObject } from 'node:crypto'
import { types } from 'node:util'
import { checkUnpadded, secretError } from '../option.ts'

/**
 * One secret to seal with: at least 32 random bytes, as a string (its UTF-8 bytes count), a Buffer or Uint8Array, or
 * a secret `KeyObject`.
 */
export type Secret = string | Uint8Array | KeyObject

/**
 * The secrets: the first one seals, all of them open. Either the list itself, or a function that fetches it. The
 * function is called on first use, once however many wait for it, and never again after it succeeded; if it
 * failed, or did not answer within 1.5 s, the next use calls it again.
 *
 * @example
 * ```ts
 * import { randomBytes } from 'node:crypto'
 * import type { Secrets } from 'express-session-valkey'
 *
 * const [current, previous] = [randomBytes(32), randomBytes(32)]
 * const list: Secrets = [current, previous]
 * const fetched: Secrets = async () => [current, previous]
 * ```
 */
export type Secrets = readonly Secret[] | (() => readonly Secret[] | Promise<readonly Secret[]>)

const MIN_SECRET_BYTES = 32
const MIN_DISTINCT_BYTES = 8

/** Checks one secret. Throws a `TypeError` that calls it by `name` and never shows it. */
export function parseSecret(value: unknown, name: string): KeyObject {
  const bytes = bytesOf(value)
  if (bytes === undefined) {
    throw secretError(
      name,
      'a string, Buffer, Uint8Array or secret KeyObject (is the environment variable set?)',
    )
  }
  checkUnpadded(typeof value === 'string' ? value : bytes, name)
  if (bytes.length < MIN_SECRET_BYTES) throw secretError(name, `at least ${MIN_SECRET_BYTES} bytes long`)
  if (new Set(bytes).size < MIN_DISTINCT_BYTES) {
    throw secretError(name, `random; it has fewer than ${MIN_DISTINCT_BYTES} different bytes`)
  }
  return createSecretKey(bytes)
}

function bytesOf(value: unknown): Uint8Array | undefined {
  if (typeof value === 'string') return Buffer.from(value)
  if (types.isKeyObject(value)) return value.type === 'secret' ? value.export() : undefined
  return types.isUint8Array(value) ? value : undefined
}
