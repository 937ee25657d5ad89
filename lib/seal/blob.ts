import { randomBytes, timingSafeEqual } from 'node:crypto'
import { type Context, encodeContext } from './context.ts'
import { type Envelope, encodeEnvelope, HEADER_BYTES, type Mode, NONCE_BYTES } from './envelope.ts'
import { hmacSha256, type SealingKey } from './sealing-key.ts'
import { xaesDecrypt, xaesEncrypt } from './xaes.ts'

/** The key a blob is sealed with and the context it is bound to. */
export interface Binding {
  readonly key: SealingKey
  readonly context: Context
}

/** Seals a plaintext. `drawNonce` exists for known-answer tests; a nonce used twice breaks the encryption. */
export function sealBlob(plaintext: Buffer, mode: Mode, binding: Binding, drawNonce = randomNonce): Buffer {
  const { key, context } = binding
  const header = key.headers[mode]
  const encodedContext = encodeContext(context)
  const payload =
    mode === 'encrypted'
      ? encryptPayload(plaintext, binding, {
          bound: Buffer.concat([encodedContext, header]),
          nonce: drawNonce(),
        })
      : plaintext
  const macKey = key.derive(context.purpose, mode, 'mac')
  return encodeEnvelope(header, payload, hmacSha256(macKey, [encodedContext, header, payload]))
}

/**
 * Returns the plaintext, or `undefined` for any failure whatever. Nothing is decrypted before the MAC is verified. That of a
 * signed blob is a view of it, to be read only.
 */
export function openEnvelope(envelope: Envelope, { key, context }: Binding): Buffer | undefined {
  const encodedContext = encodeContext(context)
  const macKey = key.derive(context.purpose, envelope.mode, 'mac')
  const mac = hmacSha256(macKey, [encodedContext, envelope.covered])
  if (!equalInConstantTime(mac, envelope.mac)) return undefined
  if (envelope.mode === 'signed') return envelope.payload
  const header = envelope.covered.subarray(0, HEADER_BYTES)
  return decryptPayload(envelope.payload, { key, context }, Buffer.concat([encodedContext, header]))
}

/**
 * Returns whether two MACs or token hashes are the same, in time that does not depend on where they differ. Nothing equals
 * the empty one.
 */
export function equalInConstantTime(left: Buffer, right: Buffer): boolean {
  // timingSafeEqual throws for different lengths, and calls two empty buffers equal.
  return left.length > 0 && left.length === right.length && timingSafeEqual(left, right)
}

function randomNonce(): Buffer {
  return randomBytes(NONCE_BYTES)
}

function encryptPayload(
  plaintext: Buffer,
  { key, context }: Binding,
  { bound, nonce }: { bound: Buffer; nonce: Buffer },
) {
  const encKey = key.derive(context.purpose, 'encrypted', 'enc')
  return Buffer.concat([nonce, xaesEncrypt(encKey, plaintext, { nonce, aad: bound })])
}

function decryptPayload(payload: Buffer, { key, context }: Binding, bound: Buffer): Buffer | undefined {
  const encKey = key.derive(context.purpose, 'encrypted', 'enc')
  return xaesDecrypt(encKey, payload.subarray(NONCE_BYTES), {
    nonce: payload.subarray(0, NONCE_BYTES),
    aad: bound,
  })
}
