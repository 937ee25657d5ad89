import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { type Context, encodeContext } from '../../lib/seal/context.ts'
import { encodeEnvelope, encodeHeader } from '../../lib/seal/envelope.ts'
import { Keyring } from '../../lib/seal/keyring.ts'
import { Sealer } from '../../lib/seal/sealer.ts'
import type { SealingKey } from '../../lib/seal/sealing-key.ts'
import { hmacSha256 } from '../../lib/seal/sealing-key.ts'
import { deriveMessageKey, xaesDecrypt } from '../../lib/seal/xaes.ts'
import { collideGcm } from './gcm-collision.ts'

const CONTEXT: Context = { purpose: 'record', prefix: 'sess', name: 'n'.repeat(43) }
const A = randomBytes(32)
const B = randomBytes(32)
const NONCE = randomBytes(24)

async function keyOf(secret: Buffer): Promise<SealingKey> {
  return (await new Keyring([secret]).load()).first
}

function bound(key: SealingKey): Buffer {
  return Buffer.concat([encodeContext(CONTEXT), encodeHeader('encrypted', key.id)])
}

function encKey(key: SealingKey) {
  return key.derive('record', 'encrypted', 'enc')
}

/** Ciphertext and tag that the inner encryption accepts under both keys: what someone who has both secrets can make. */
function collide(a: SealingKey, b: SealingKey): Buffer {
  const side = (key: SealingKey) => ({ key: deriveMessageKey(encKey(key), NONCE), aad: bound(key) })
  return collideGcm(side(a), side(b), NONCE.subarray(12))
}

function label(key: SealingKey, payload: Buffer, macBy: SealingKey): Buffer {
  const mac = hmacSha256(macBy.derive('record', 'encrypted', 'mac'), [bound(key), payload])
  return encodeEnvelope(encodeHeader('encrypted', key.id), payload, mac)
}

describe('a payload made to decrypt under two secrets', () => {
  test('does decrypt under both, to different texts, when only the inner encryption is asked', async () => {
    const [a, b] = [await keyOf(A), await keyOf(B)]
    const sealed = collide(a, b)

    const byA = xaesDecrypt(encKey(a), sealed, { nonce: NONCE, aad: bound(a) })
    const byB = xaesDecrypt(encKey(b), sealed, { nonce: NONCE, aad: bound(b) })

    expect(byA).toHaveLength(16)
    expect(byB).toHaveLength(16)
    expect(byA).not.toEqual(byB)
  })

  test('opens under one secret only: the outer MAC commits to the key, whichever key id is written on it', async () => {
    const [a, b] = [await keyOf(A), await keyOf(B)]
    const payload = Buffer.concat([NONCE, collide(a, b)])
    const blob = label(a, payload, a)
    const swapped = Buffer.concat([encodeHeader('encrypted', b.id), blob.subarray(13)])
    const sealers = [[A], [B], [A, B], [B, A]].map((secrets) => new Sealer({ secrets, encrypt: true }))

    const statesOf = (bytes: Buffer) =>
      Promise.all(sealers.map(async (sealer) => (await sealer.open(bytes, CONTEXT)).state))

    expect(await statesOf(blob)).toEqual(['open', 'unknown-key', 'open', 'open'])
    expect(await statesOf(swapped)).toEqual(['unknown-key', 'invalid', 'invalid', 'invalid'])
    expect(await statesOf(label(b, payload, a))).toEqual(['unknown-key', 'invalid', 'invalid', 'invalid'])
    expect(await statesOf(label(a, payload, b))).toEqual(['invalid', 'unknown-key', 'invalid', 'invalid'])
  })
})
