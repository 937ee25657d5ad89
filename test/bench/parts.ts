/**
 * What the parts of a `get` and a `set` cost at the least, each alone in a loop: with them anybody can work out how low the
 * floor lies on a machine. A session has 560 bytes of JSON.
 */
import { createCipheriv, createDecipheriv, createHmac, createSecretKey, hash, randomBytes } from 'node:crypto'
import { do_not_optimize, measure } from 'mitata'
import { newSid, sessionOf } from './content.ts'
import type { Measurement } from './result.ts'
import { type Bench, type Case, inRounds, scaled } from './rounds.ts'

const sid = newSid()
const session = sessionOf(1, 560)
const text = JSON.stringify(session)
const bytes = Buffer.from(text)
const key = createSecretKey(randomBytes(32))
const nonce = randomBytes(12)
const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
const sealed = Buffer.concat([cipher.update(bytes), cipher.final()])
const tag = cipher.getAuthTag()

const PARTS = {
  'hash of an id': () => hash('sha256', sid, 'base64url'),
  'MAC of a blob': () => createHmac('sha256', key).update(bytes).digest(),
  'AES-256-GCM, encrypting': () => {
    const encrypting = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 })
    const ciphertext = encrypting.update(bytes)
    encrypting.final()
    return [ciphertext, encrypting.getAuthTag()]
  },
  'AES-256-GCM, decrypting': () => {
    const decrypting = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: 16 }).setAuthTag(tag)
    const plaintext = decrypting.update(sealed)
    decrypting.final()
    return plaintext
  },
  'JSON.parse': () => JSON.parse(text) as unknown,
  'JSON.stringify': () => JSON.stringify(session),
  'a timer, set and cleared': () => clearTimeout(setTimeout(() => {}, 1000)),
} as const

export async function run(bench: Bench): Promise<Measurement[]> {
  const cases = Object.entries(PARTS).map(
    ([what, part]): Case => ({
      what,
      trials: [{ candidate: 'Node', run: () => microsOf(part, scaled(150e6, bench)) }],
    }),
  )
  return inRounds(cases, bench)
}

async function microsOf(part: () => unknown, minNanos: number): Promise<Readonly<Record<string, number>>> {
  const { p50 } = await measure(() => do_not_optimize(part()), { min_cpu_time: minNanos })
  return { micros: p50 / 1000 }
}
