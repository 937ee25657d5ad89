import * as crypto from 'node:crypto'
import { beforeEach, describe, expect, test, vi } from 'vitest'
import type { Context } from '../../lib/seal/context.ts'
import { Sealer } from '../../lib/seal/sealer.ts'

// Not fakes: the real functions, counted.
vi.mock('node:crypto', async (importOriginal) => {
  const real = await importOriginal<typeof crypto>()
  return {
    ...real,
    createHmac: vi.fn(real.createHmac),
    hkdfSync: vi.fn(real.hkdfSync),
    timingSafeEqual: vi.fn(real.timingSafeEqual),
    createCipheriv: vi.fn(real.createCipheriv),
    createDecipheriv: vi.fn(real.createDecipheriv),
  }
})

const CONTEXT: Context = { purpose: 'record', prefix: 'sess', name: 'n'.repeat(43) }
const SECRETS = Array.from({ length: 20 }, () => crypto.randomBytes(32))

function calls() {
  return {
    hmac: vi.mocked(crypto.createHmac).mock.calls.length,
    hkdf: vi.mocked(crypto.hkdfSync).mock.calls.length,
    compare: vi.mocked(crypto.timingSafeEqual).mock.calls.length,
    decrypt: vi.mocked(crypto.createDecipheriv).mock.calls.length,
  }
}

/** A sealer whose keys are derived already, and a blob of the last of its 20 secrets. */
async function createWarm(encrypt: boolean): Promise<{ sealer: Sealer; blob: Buffer }> {
  const sealer = new Sealer({ secrets: SECRETS, encrypt })
  const blob = await new Sealer({ secrets: SECRETS.slice(-1), encrypt }).seal(Buffer.from('text'), CONTEXT)
  await sealer.open(blob, CONTEXT)
  await sealer.seal(Buffer.from('text'), CONTEXT)
  vi.clearAllMocks()
  return { sealer, blob }
}

beforeEach(() => {
  vi.clearAllMocks()
})

describe.each([false, true])('with encrypt: %s', (encrypt) => {
  test('opening costs one HMAC, one comparison and no key derivation, with 20 secrets too', async () => {
    const { sealer, blob } = await createWarm(encrypt)

    const opened = await sealer.open(blob, CONTEXT)

    expect(opened.state).toBe('open')
    expect(calls()).toEqual({ hmac: 1, hkdf: 0, compare: 1, decrypt: encrypt ? 1 : 0 })
  })

  test('sealing costs one HMAC and no key derivation', async () => {
    const { sealer } = await createWarm(encrypt)

    await sealer.seal(Buffer.from('text'), CONTEXT)

    expect(calls()).toEqual({ hmac: 1, hkdf: 0, compare: 0, decrypt: 0 })
  })

  test('a wrong MAC is told by one HMAC, tries no other secret and decrypts nothing', async () => {
    const { sealer, blob } = await createWarm(encrypt)
    const forged = Buffer.concat([blob.subarray(0, -1), Buffer.of((blob.at(-1) ?? 0) ^ 1)])

    const opened = await sealer.open(forged, CONTEXT)

    expect(opened.state).toBe('invalid')
    expect(calls()).toEqual({ hmac: 1, hkdf: 0, compare: 1, decrypt: 0 })
  })

  test('an unknown key id, another mode and no envelope cost no HMAC at all', async () => {
    const { sealer, blob } = await createWarm(encrypt)
    const unknown = Buffer.concat([blob.subarray(0, 5), Buffer.alloc(8), blob.subarray(13)])
    const otherMode = Buffer.concat([blob.subarray(0, 4), Buffer.of(encrypt ? 1 : 2), blob.subarray(5)])

    const opened = await Promise.all(
      [unknown, otherMode, Buffer.alloc(100)].map((bytes) => sealer.open(bytes, CONTEXT)),
    )

    expect(opened.map(({ state }) => state)).toEqual(['unknown-key', 'invalid', 'invalid'])
    expect(calls()).toEqual({ hmac: 0, hkdf: 0, compare: 0, decrypt: 0 })
  })

  test('no key is made of a Buffer or a string where it is used', async () => {
    const { sealer, blob } = await createWarm(encrypt)

    await sealer.open(blob, CONTEXT)
    await sealer.seal(Buffer.from('text'), CONTEXT)

    const keys = [
      ...vi.mocked(crypto.createHmac).mock.calls.map(([, key]) => key),
      ...vi.mocked(crypto.createCipheriv).mock.calls.map(([, key]) => key),
      ...vi.mocked(crypto.createDecipheriv).mock.calls.map(([, key]) => key),
    ]
    expect(keys.length).toBeGreaterThanOrEqual(2)
    expect(keys.filter((key) => !(key instanceof crypto.KeyObject))).toEqual([])
  })
})

test('each GCM call pins the tag to 16 bytes', async () => {
  const { sealer, blob } = await createWarm(true)

  await sealer.open(blob, CONTEXT)
  await sealer.seal(Buffer.from('text'), CONTEXT)

  const gcm = [
    ...vi.mocked(crypto.createCipheriv).mock.calls,
    ...vi.mocked(crypto.createDecipheriv).mock.calls,
  ]
    .filter(([algorithm]) => String(algorithm) === 'aes-256-gcm')
    .map(([, , , options]) => options)
  expect(gcm).toEqual([{ authTagLength: 16 }, { authTagLength: 16 }])
})
