import { createCipheriv, type KeyObject } from 'node:crypto'

/**
 * The known attack on AES-GCM, which does not commit to its key: one ciphertext and tag that verify under two keys.
 * The tag is linear in each ciphertext block, so one free block can be solved for. Blocks are elements of
 * GF(2^128) as in NIST SP 800-38D §6.3, here as bigints.
 */

export interface GcmSide {
  readonly key: KeyObject
  readonly aad: Buffer
}

const REDUCTION = 0xe1n << 120n

/** Ciphertext (one block) and tag that decrypt under both sides with the same 12-byte nonce. */
export function collideGcm(left: GcmSide, right: GcmSide, nonce: Buffer): Buffer {
  const [a, b] = [tagTerms(left, nonce), tagTerms(right, nonce)]
  const block = multiply(a.constant ^ b.constant, invert(a.factor ^ b.factor))
  return Buffer.concat([toBytes(block), toBytes(a.constant ^ multiply(block, a.factor))])
}

/** The tag of a one-block ciphertext C is constant + C * factor. */
function tagTerms({ key, aad }: GcmSide, nonce: Buffer): { constant: bigint; factor: bigint } {
  const hashKey = toElement(encryptBlock(key, Buffer.alloc(16)))
  const mask = toElement(encryptBlock(key, Buffer.concat([nonce, Buffer.of(0, 0, 0, 1)])))
  const factor = multiply(hashKey, hashKey)
  const lengths = Buffer.alloc(16)
  lengths.writeBigUInt64BE(BigInt(aad.length * 8))
  lengths.writeBigUInt64BE(128n, 8)
  const constant = mask ^ multiply(hashAad(hashKey, aad), factor) ^ multiply(toElement(lengths), hashKey)
  return { constant, factor }
}

function hashAad(hashKey: bigint, aad: Buffer): bigint {
  let hash = 0n
  for (let at = 0; at < aad.length; at += 16) {
    const block = Buffer.alloc(16)
    aad.copy(block, 0, at, at + 16)
    hash = multiply(hash ^ toElement(block), hashKey)
  }
  return hash
}

function multiply(left: bigint, right: bigint): bigint {
  let product = 0n
  let shifted = right
  for (let bit = 127n; bit >= 0n; bit--) {
    if ((left >> bit) & 1n) product ^= shifted
    shifted = shifted & 1n ? (shifted >> 1n) ^ REDUCTION : shifted >> 1n
  }
  return product
}

// By Fermat: x^(2^128 - 2).
function invert(element: bigint): bigint {
  let power = element
  let inverse = 1n << 127n
  for (let bit = 1; bit < 128; bit++) {
    power = multiply(power, power)
    inverse = multiply(inverse, power)
  }
  return inverse
}

function encryptBlock(key: KeyObject, block: Buffer): Buffer {
  return createCipheriv('aes-256-ecb', key, null).setAutoPadding(false).update(block)
}

function toElement(block: Buffer): bigint {
  return BigInt(`0x${block.toString('hex')}`)
}

function toBytes(element: bigint): Buffer {
  return Buffer.from(element.toString(16).padStart(32, '0'), 'hex')
}
