import { randomBytes } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Context } from '../../lib/seal/context.ts'
import { Sealer } from '../../lib/seal/sealer.ts'

const CONTEXT: Context = { purpose: 'record', prefix: 'sess', name: 'n'.repeat(43) }
const PLAINTEXT = Buffer.from(JSON.stringify({ user: 'alice', text: 'x'.repeat(219) }))

async function acceptedOf(sealer: Sealer, blobs: readonly Buffer[]): Promise<number> {
  const opened = await Promise.all(blobs.map((blob) => sealer.open(blob, CONTEXT)))
  return opened.filter(({ state }) => state === 'open').length
}

describe.each([
  { mode: 'signed', encrypt: false, bytes: 290 },
  { mode: 'encrypted', encrypt: true, bytes: 330 },
])('a blob in mode $mode', ({ encrypt, bytes }) => {
  const sealer = new Sealer({ secrets: [randomBytes(32), randomBytes(32)], encrypt })

  test('is refused after the change of any one bit', async () => {
    const blob = await sealer.seal(PLAINTEXT, CONTEXT)
    const flipped = Array.from({ length: blob.length * 8 }, (_, bit) => {
      const copy = Buffer.from(blob)
      copy[bit >> 3] = (copy[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      return copy
    })

    expect(flipped).toHaveLength(bytes * 8)
    expect(await acceptedOf(sealer, [blob])).toBe(1)
    expect(await acceptedOf(sealer, flipped)).toBe(0)
  })

  test('is refused with any number of bytes missing, at the end, at the start or in between', async () => {
    const blob = await sealer.seal(PLAINTEXT, CONTEXT)
    const places = [...blob.keys()]

    expect(
      await acceptedOf(
        sealer,
        places.map((at) => blob.subarray(0, at)),
      ),
    ).toBe(0)
    expect(
      await acceptedOf(
        sealer,
        places.map((at) => blob.subarray(at + 1)),
      ),
    ).toBe(0)
    expect(
      await acceptedOf(
        sealer,
        places.map((at) => Buffer.concat([blob.subarray(0, at), blob.subarray(at + 1)])),
      ),
    ).toBe(0)
  })

  test('is refused with bytes added, at the end, at the start or in between', async () => {
    const blob = await sealer.seal(PLAINTEXT, CONTEXT)
    const additions = [
      Buffer.of(0),
      Buffer.of(0xff),
      Buffer.from('\n'),
      randomBytes(16),
      randomBytes(32),
      Buffer.alloc(64),
      blob,
    ]
    const places = [...blob.keys(), blob.length]

    const extended = places.flatMap((at) =>
      additions.map((added) => Buffer.concat([blob.subarray(0, at), added, blob.subarray(at)])),
    )

    expect(extended).toHaveLength((bytes + 1) * 7)
    expect(await acceptedOf(sealer, extended)).toBe(0)
  })
})
