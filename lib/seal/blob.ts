import { randomBytes } from 'node:crypto'
import { equalInConstantTime } from './constant-time.ts'
import { type Context, encodeContext } from './context.ts'
import { type Envelope, encodeEnvelope, encodeHeader, type Mode, NONCE_BYTES } from './envelope.ts'
import { hmacSha256 } from './hmac.ts'
import type { SealingKey } from './sealing-key.ts'
import { xaesDecrypt, xaesEncrypt } from './xaes.ts'

/** The key a blob is sealed with and the context it is bound to. */
export interface Binding {
  readonly key: SealingKey
  readonly context: Context
}

/** Seals a plaintext. `drawNonce` exists for known-answer tests; a nonce used twice breaks the encryption. */
export function sealBlob(plaintext: Buffer, mode: Mode, binding: Binding, drawNonce = randomNonce): Buffer {
  const header = encodeHeader(mode, binding.key.id)
  const bound = Buffer.concat([encodeContext(binding.context), header])
  const payload =
    mode === 'encrypted' ? encryptPayload(plaintext, binding, { bound, nonce: drawNonce() }) : plaintext
  return encodeEnvelope(header, payload, computeMac(mode, binding, [bound, payload]))
}

/** The plaintext, or `undefined` for any failure whatever. Nothing is decrypted before the MAC is verified. */
export function openEnvelope(envelope: Envelope, binding: Binding): Buffer | undefined {
  const context = encodeContext(binding.context)
  const mac = computeMac(envelope.mode, binding, [context, envelope.covered])
  if (!equalInConstantTime(mac, envelope.mac)) return undefined
  // A copy: a caller that writes into its plaintext must not write into the blob.
  return envelope.mode === 'encrypted'
    ? decryptPayload(envelope.payload, binding, Buffer.concat([context, envelope.header]))
    : Buffer.from(envelope.payload)
}

function randomNonce(): Buffer {
  return randomBytes(NONCE_BYTES)
}

function computeMac(mode: Mode, { key, context }: Binding, parts: readonly Buffer[]): Buffer {
  return hmacSha256(key.derive(context.purpose, mode, 'mac'), parts)
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
