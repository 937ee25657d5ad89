import { readFileSync } from 'node:fs'
import type { Context } from '../../lib/seal/context.ts'
import type { Mode } from '../../lib/seal/envelope.ts'
import type { Opened } from '../../lib/seal/sealer.ts'
import type { Secret } from '../../lib/seal/secret.ts'

/** The vector files beside this one, typed. They were made by another implementation, in another language. */

type VectorSecret = { readonly hex: string } | { readonly text: string }

export interface GoodBlob {
  readonly name: string
  /** Place in the list of secrets. */
  readonly secret: number
  readonly context: Context
  readonly plaintext: string
  readonly current: boolean
  readonly keyId: string
  readonly macKey: string
  readonly encKey?: string
  readonly nonce?: string
  readonly encodedContext: string
  readonly blob: string
}

export interface BadBlob {
  readonly name: string
  readonly state: Exclude<Opened['state'], 'open'>
  readonly context?: Context
  readonly blob: string
}

export interface EnvelopeVectors {
  readonly secrets: readonly VectorSecret[]
  readonly retiredSecret: VectorSecret
  readonly context: Context
  readonly good: readonly GoodBlob[]
  readonly bad: readonly BadBlob[]
}

export function readVectors<Vectors>(file: string): Vectors {
  return JSON.parse(readFileSync(new URL(`vectors/${file}.json`, import.meta.url), 'utf8'))
}

export function envelopeVectors(mode: Mode): EnvelopeVectors {
  return readVectors(`envelope-${mode}`)
}

export function vectorSecret(secret: VectorSecret): Secret {
  return 'hex' in secret ? hex(secret.hex) : secret.text
}

export function hex(text: string): Buffer {
  const bytes = Buffer.from(text, 'hex')
  if (bytes.length * 2 !== text.length) throw new Error('A vector is not hexadecimal')
  return bytes
}
