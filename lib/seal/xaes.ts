import { type Cipher, createCipheriv, createDecipheriv, createSecretKey, type KeyObject } from 'node:crypto'
import { NONCE_BYTES, TAG_BYTES } from './envelope.ts'

/** XAES-256-GCM (c2sp.org/XAES-256-GCM): 192-bit nonces, which may be drawn at random for 2^80 messages. */

/** What goes into one encryption or decryption besides the key. */
export interface XaesInput {
  /** 24 bytes. */
  readonly nonce: Buffer
  /** Bound to the message, not part of it. */
  readonly aad: Buffer
}

const BLOCK_BYTES = 16
const HALF_NONCE_BYTES = 12
// Node accepts tags of 4 bytes and more unless the length is pinned.
const GCM_OPTIONS = { authTagLength: TAG_BYTES }

/** Returns ciphertext and tag. */
export function xaesEncrypt(key: KeyObject, plaintext: Buffer, { nonce, aad }: XaesInput): Buffer {
  const messageKey = deriveMessageKey(key, nonce)
  const cipher = createCipheriv('aes-256-gcm', messageKey, nonce.subarray(HALF_NONCE_BYTES), GCM_OPTIONS)
  cipher.setAAD(aad)
  return Buffer.concat([cipher.update(plaintext), cipher.final(), cipher.getAuthTag()])
}

/** Takes ciphertext and tag; returns the plaintext, or `undefined` if they are not of this key, nonce and aad. */
export function xaesDecrypt(key: KeyObject, sealed: Buffer, { nonce, aad }: XaesInput): Buffer | undefined {
  const messageKey = deriveMessageKey(key, nonce)
  const decipher = createDecipheriv('aes-256-gcm', messageKey, nonce.subarray(HALF_NONCE_BYTES), GCM_OPTIONS)
  try {
    decipher.setAAD(aad)
    decipher.setAuthTag(sealed.subarray(-TAG_BYTES))
    return Buffer.concat([decipher.update(sealed.subarray(0, -TAG_BYTES)), decipher.final()])
  } catch {
    return undefined
  }
}

interface BlockCipher {
  readonly aes: Cipher
  /** What CMAC derives from the key. */
  readonly subkey: Buffer
}

const blockCiphers = new WeakMap<KeyObject, BlockCipher>()

// Without padding ECB encrypts each block by itself, so one cipher serves all messages of a key.
function blockCipherOf(key: KeyObject): BlockCipher {
  const known = blockCiphers.get(key)
  if (known !== undefined) return known
  const aes = createCipheriv('aes-256-ecb', key, null).setAutoPadding(false)
  const cipher = { aes, subkey: cmacSubkey(aes.update(Buffer.alloc(BLOCK_BYTES))) }
  blockCiphers.set(key, cipher)
  return cipher
}

/** Derives the AES-256-GCM key of one message: SP 800-108r1 in counter mode over CMAC, from the first half of the nonce. */
export function deriveMessageKey(key: KeyObject, nonce: Buffer): KeyObject {
  if (nonce.length !== NONCE_BYTES) throw new RangeError(`A nonce has ${NONCE_BYTES} bytes`)
  const { aes, subkey } = blockCipherOf(key)
  const blocks = Buffer.alloc(2 * BLOCK_BYTES)
  fillCounterBlock(blocks.subarray(0, BLOCK_BYTES), 1, nonce)
  fillCounterBlock(blocks.subarray(BLOCK_BYTES), 2, nonce)
  for (let at = 0; at < blocks.length; at++)
    blocks[at] = byteAt(blocks, at) ^ byteAt(subkey, at % BLOCK_BYTES)
  return createSecretKey(aes.update(blocks))
}

// NIST SP 800-38B §6.1: doubling in GF(2^128).
function cmacSubkey(block: Buffer): Buffer {
  const doubled = Buffer.alloc(BLOCK_BYTES)
  for (let at = 0; at < BLOCK_BYTES; at++)
    doubled[at] = (byteAt(block, at) << 1) | (byteAt(block, at + 1) >> 7)
  const carry = byteAt(block, 0) >> 7
  doubled[BLOCK_BYTES - 1] = byteAt(doubled, BLOCK_BYTES - 1) ^ (carry * 0x87)
  return doubled
}

function fillCounterBlock(block: Buffer, counter: number, nonce: Buffer): void {
  block.writeUInt16BE(counter)
  block.write('X', 2)
  nonce.copy(block, 4, 0, HALF_NONCE_BYTES)
}

// Past the end is 0, as in a shift.
function byteAt(bytes: Buffer, at: number): number {
  return bytes[at] ?? 0
}
