import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test, vi } from 'vitest'
import { StoreSecretsError } from '../../lib/errors.ts'
import type { Context } from '../../lib/seal/context.ts'
import { MAX_OVERHEAD_BYTES } from '../../lib/seal/envelope.ts'
import { Sealer, type SealerOptions } from '../../lib/seal/sealer.ts'
import type { Secret, Secrets } from '../../lib/seal/secret.ts'
import { SEED } from '../support/seed.ts'

const A = randomBytes(32)
const B = randomBytes(32)
const CONTEXT: Context = { purpose: 'record', prefix: 'sess', name: 'n'.repeat(43) }
const PLAINTEXT = Buffer.from('{"user":"alice"}')
const MODES = [
  { mode: 'signed', encrypt: false },
  { mode: 'encrypted', encrypt: true },
]

function createSealer(secrets: Secrets, encrypt: boolean): Sealer {
  return new Sealer({ secrets, encrypt })
}

function relabelled(blob: Buffer, modeByte: number): Buffer {
  const copy = Buffer.from(blob)
  copy[4] = modeByte
  return copy
}

describe.each(MODES)('a Sealer in mode $mode', ({ encrypt }) => {
  test('opens what it sealed, whatever the bytes and the context', async () => {
    const sealer = createSealer([A], encrypt)
    const contexts = fc.record({
      purpose: fc.stringMatching(/^[a-z][a-z0-9-]{0,31}$/),
      prefix: fc.string({ unit: 'binary' }),
      name: fc.string({ unit: 'binary' }),
    })

    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000, size: 'max' }), contexts, async (bytes, context) => {
        const plaintext = Buffer.from(bytes)
        const blob = await sealer.seal(plaintext, context)
        const opened = await sealer.open(blob, context)
        expect(opened).toMatchObject({ state: 'open', current: true })
        expect(opened.state === 'open' && opened.plaintext.equals(plaintext)).toBe(true)
        expect(blob.length - plaintext.length).toBe(encrypt ? MAX_OVERHEAD_BYTES : 45)
      }),
      { numRuns: 2_000, seed: SEED },
    )
  })

  test('opens each blob in its own context only: 4 purposes, 2 prefixes, 10 names, all pairs', async () => {
    const contexts = ['record', 'registry', 'refresh-token', 'label'].flatMap((purpose) =>
      ['sess', 'sess2'].flatMap((prefix) => [...'0123456789'].map((name) => ({ purpose, prefix, name }))),
    )
    const sealer = createSealer([A], encrypt)
    const blobs = await Promise.all(contexts.map((context) => sealer.seal(PLAINTEXT, context)))

    const pairs = blobs.flatMap((blob, sealedIn) =>
      contexts.map((context, openedIn) => ({ blob, sealedIn, context, openedIn })),
    )
    const results = await Promise.all(
      pairs.map(async (pair) => ({ ...pair, ...(await sealer.open(pair.blob, pair.context)) })),
    )

    expect(results).toHaveLength(6400)
    expect(results.filter(({ state }) => state === 'open')).toHaveLength(80)
    expect(
      results.filter(({ state, sealedIn, openedIn }) => (state === 'open') !== (sealedIn === openedIn)),
    ).toEqual([])
    expect(results.filter(({ state }) => state === 'unknown-key')).toEqual([])
  })

  test('refuses the blobs of the other mode, relabelled ones too, and plaintext', async () => {
    const sealer = createSealer([A], encrypt)
    const own = await sealer.seal(PLAINTEXT, CONTEXT)
    const others = await createSealer([A], !encrypt).seal(PLAINTEXT, CONTEXT)
    const ownMode = encrypt ? 2 : 1
    const wrong = [
      others,
      relabelled(others, ownMode),
      relabelled(own, 3 - ownMode),
      PLAINTEXT,
      Buffer.from(JSON.stringify({ user: 'admin', fill: 'x'.repeat(500) })),
      Buffer.concat([own.subarray(0, 13), PLAINTEXT]),
    ]

    const states = await Promise.all(wrong.map(async (blob) => (await sealer.open(blob, CONTEXT)).state))

    expect((await sealer.open(own, CONTEXT)).state).toBe('open')
    expect(states).toEqual(Array(6).fill('invalid'))
  })

  test('says unknown-key for a whole envelope of its mode whose key id it lacks, and for nothing else', async () => {
    const foreign = await createSealer([B], encrypt).seal(PLAINTEXT, CONTEXT)
    const foreignOtherMode = await createSealer([B], !encrypt).seal(PLAINTEXT, CONTEXT)
    const sealer = createSealer([A], encrypt)

    expect(await sealer.open(foreign, CONTEXT)).toEqual({ state: 'unknown-key' })
    expect(await sealer.open(foreignOtherMode, CONTEXT)).toEqual({ state: 'invalid' })
    expect(await sealer.open(foreign.subarray(0, 44), CONTEXT)).toEqual({ state: 'invalid' })
    expect(await sealer.open(relabelled(foreign, 7), CONTEXT)).toEqual({ state: 'invalid' })
  })

  test('answers unknown-key to 1,000 key ids it does not have', async () => {
    const sealer = createSealer([A, B], encrypt)
    const blob = await sealer.seal(PLAINTEXT, CONTEXT)
    const named = ['__proto__', 'toString', 'valueOf.'].map((text) => Buffer.from(text).subarray(0, 8))
    const ids = [
      ...named,
      Buffer.alloc(8),
      Buffer.alloc(8, 0xff),
      ...Array.from({ length: 995 }, () => randomBytes(8)),
    ]

    const opened = await Promise.all(
      ids.map((id) => sealer.open(Buffer.concat([blob.subarray(0, 5), id, blob.subarray(13)]), CONTEXT)),
    )

    expect(opened).toEqual(Array(1000).fill({ state: 'unknown-key' }))
  })

  test('takes no blob under the name of another of its secrets', async () => {
    const sealer = createSealer([A, B], encrypt)
    const byA = await sealer.seal(PLAINTEXT, CONTEXT)
    const byB = await createSealer([B], encrypt).seal(PLAINTEXT, CONTEXT)

    expect(await sealer.open(Buffer.concat([byB.subarray(0, 13), byA.subarray(13)]), CONTEXT)).toEqual({
      state: 'invalid',
    })
    expect(await sealer.open(Buffer.concat([byA.subarray(0, 13), byB.subarray(13)]), CONTEXT)).toEqual({
      state: 'invalid',
    })
    expect(await sealer.open(byB, CONTEXT)).toEqual({ state: 'open', plaintext: PLAINTEXT, current: false })
  })

  test('rotates without losing a blob: [A], [A, B], [B, A], [B]', async () => {
    const [first, second, third, last] = [[A], [A, B], [B, A], [B]].map((secrets) =>
      createSealer(secrets, encrypt),
    )
    if (first === undefined || second === undefined || third === undefined || last === undefined)
      throw new Error('unreachable')
    const old = await first.seal(PLAINTEXT, CONTEXT)
    const resealed = await third.seal(PLAINTEXT, CONTEXT)

    expect(await first.open(old, CONTEXT)).toMatchObject({ state: 'open', current: true })
    expect(await second.open(old, CONTEXT)).toMatchObject({ state: 'open', current: true })
    expect(await first.open(await second.seal(PLAINTEXT, CONTEXT), CONTEXT)).toMatchObject({
      state: 'open',
      current: true,
    })
    expect(await third.open(old, CONTEXT)).toMatchObject({ state: 'open', current: false })
    expect(await second.open(resealed, CONTEXT)).toMatchObject({ state: 'open', current: false })
    expect(await third.open(resealed, CONTEXT)).toMatchObject({ state: 'open', current: true })
    expect(await last.open(resealed, CONTEXT)).toMatchObject({ state: 'open', current: true })
    expect(await last.open(old, CONTEXT)).toEqual({ state: 'unknown-key' })
  })

  test('answers every kind of forgery with the very same object', async () => {
    const sealer = createSealer([A], encrypt)
    const blob = await sealer.seal(PLAINTEXT, CONTEXT)
    const flipped = (at: number) =>
      Buffer.concat([blob.subarray(0, at), Buffer.of((blob[at] ?? 0) ^ 1), blob.subarray(at + 1)])
    const forgeries = [
      Buffer.alloc(0),
      flipped(0),
      flipped(3),
      relabelled(blob, 9),
      flipped(14),
      flipped(blob.length - 1),
      blob.subarray(1),
    ]

    const opened = await Promise.all(forgeries.map((forgery) => sealer.open(forgery, CONTEXT)))
    const elsewhere = await sealer.open(blob, { ...CONTEXT, name: 'x' })

    expect(new Set([...opened, elsewhere]).size).toBe(1)
    expect(elsewhere).toEqual({ state: 'invalid' })
    expect(Object.isFrozen(elsewhere)).toBe(true)
  })

  test('rejects a context that has no encoding, when sealing and when opening', async () => {
    const sealer = createSealer([A], encrypt)
    const blob = await sealer.seal(PLAINTEXT, CONTEXT)

    expect(() => sealer.seal(PLAINTEXT, { ...CONTEXT, name: '\ud800' })).toThrow(TypeError)
    expect(() => sealer.open(blob, { ...CONTEXT, purpose: 'a/b' })).toThrow(TypeError)
  })

  test('waits for secrets that come later, and shares one fetch among all first calls', async () => {
    const source = vi.fn(async () => [A, B])
    const sealer = createSealer(source, encrypt)
    const blob = await createSealer([A], encrypt).seal(PLAINTEXT, CONTEXT)

    const results = await Promise.all([
      sealer.open(blob, CONTEXT),
      sealer.seal(PLAINTEXT, CONTEXT),
      sealer.open(blob, CONTEXT),
    ])

    expect(source).toHaveBeenCalledTimes(1)
    expect(results[0]).toEqual({ state: 'open', plaintext: PLAINTEXT, current: true })
    expect(await createSealer([A], encrypt).open(results[1], CONTEXT)).toMatchObject({ state: 'open' })
  })

  test('fails with StoreSecretsError while its secrets cannot be fetched, then recovers', async () => {
    const source = vi
      .fn<() => Promise<Secret[]>>()
      .mockRejectedValueOnce(new Error('down'))
      .mockRejectedValueOnce(new Error('down'))
    source.mockResolvedValue([A])
    const sealer = createSealer(source, encrypt)

    await expect(sealer.seal(PLAINTEXT, CONTEXT)).rejects.toThrow(StoreSecretsError)
    await expect(sealer.open(Buffer.alloc(0), CONTEXT)).rejects.toThrow(StoreSecretsError)
    const blob = await sealer.seal(PLAINTEXT, CONTEXT)

    expect(await sealer.open(blob, CONTEXT)).toMatchObject({ state: 'open' })
    expect(source).toHaveBeenCalledTimes(3)
  })
})

describe('an encrypting Sealer', () => {
  test('draws a new nonce each time and shows nothing of the plaintext', async () => {
    const sealer = createSealer([A], true)

    const blobs = await Promise.all(Array.from({ length: 5_000 }, () => sealer.seal(PLAINTEXT, CONTEXT)))

    expect(new Set(blobs.map((blob) => blob.toString('hex', 13, 37))).size).toBe(5_000)
    expect(new Set(blobs.map((blob) => blob.toString('hex', 13 + 12, 37))).size).toBe(5_000)
    expect(blobs.filter((blob) => blob.includes('alice'))).toEqual([])
  })
})

describe('the options of a Sealer', () => {
  test.each([undefined, null, 0, 1, 'true', 'false', {}])('refuse encrypt: %j', (encrypt) => {
    expect(() => new Sealer({ secrets: [A], encrypt } as unknown as SealerOptions)).toThrow(
      /^Option "encrypt" must be true or false/,
    )
  })

  test('refuse wrong secrets at construction', () => {
    expect(() => createSealer([], false)).toThrow(/^Option "secrets" must be a list/)
    expect(() => createSealer(['short'], false)).toThrow(/^Option "secrets\[0\]" must be at least 32 bytes/)
  })
})

describe('The MAC of a context', () => {
  const context: Context = { purpose: 'refresh-token', prefix: 'sess', name: 'a name' }

  test('is the same from every sealer that has its key, first or not, in either mode', async () => {
    const keyId = await createSealer([A], false).keyId()
    const macs = await Promise.all([
      createSealer([A], false).mac(context, keyId),
      createSealer([B, A], true).mac(context, keyId),
    ])

    expect(macs[0]).toHaveLength(32)
    expect(macs[1]).toEqual(macs[0])
    expect(await createSealer([B], false).mac(context, keyId)).toBeUndefined()
  })

  test('is another for each purpose, prefix, name and secret', async () => {
    const sealer = createSealer([A], false)
    const others = [
      context,
      { ...context, purpose: 'session' },
      { ...context, prefix: 'sess2' },
      { ...context, name: 'another name' },
    ]
    const macs = await Promise.all(others.map(async (one) => sealer.mac(one, await sealer.keyId())))
    const other = createSealer([B], false)
    macs.push(await other.mac(context, await other.keyId()))

    expect(new Set(macs.map((mac) => mac?.toString('hex'))).size).toBe(5)
  })
})
