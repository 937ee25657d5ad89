import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, inject, test } from 'vitest'
import type { Context } from '../../lib/seal/context.ts'
import { Sealer } from '../../lib/seal/sealer.ts'
import { SEED } from '../support/seed.ts'

const CONTEXT: Context = { purpose: 'record', prefix: 'sess', name: 'n'.repeat(43) }
const BATCH = 100
// More than enough: an edit may leave the bytes as they were.
const LEAST = inject('suite') === 'long' ? 100_000 : 20_000
const RUNS_PER_MODE = (1.15 * LEAST) / BATCH

const place = fc.nat(400)
const edit = fc.oneof(
  fc.record({ kind: fc.constant('flip' as const), at: place, mask: fc.integer({ min: 1, max: 255 }) }),
  fc.record({ kind: fc.constant('cut' as const), at: place, count: fc.integer({ min: 1, max: 64 }) }),
  fc.record({
    kind: fc.constant('insert' as const),
    at: place,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 24 }),
  }),
  fc.record({
    kind: fc.constant('overwrite' as const),
    at: place,
    bytes: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  }),
  fc.record({
    kind: fc.constant('splice' as const),
    at: place,
    donor: fc.nat(5),
    count: fc.integer({ min: 1, max: 400 }),
  }),
  fc.record({
    kind: fc.constant('move' as const),
    at: place,
    to: place,
    count: fc.integer({ min: 1, max: 64 }),
  }),
)
type Edit = typeof edit extends fc.Arbitrary<infer Value> ? Value : never

function replaceAt(blob: Buffer, at: number, bytes: Uint8Array, removed = bytes.length): Buffer {
  return Buffer.concat([blob.subarray(0, at), bytes, blob.subarray(at + removed)])
}

function applyEdit(blob: Buffer, change: Edit, donors: readonly Buffer[]): Buffer {
  const at = change.at % (blob.length + 1)
  switch (change.kind) {
    case 'flip':
      return replaceAt(blob, at, Buffer.of((blob[at] ?? 0) ^ change.mask))
    case 'cut':
      return replaceAt(blob, at, Buffer.alloc(0), change.count)
    case 'insert':
      return replaceAt(blob, at, change.bytes, 0)
    case 'overwrite':
      return replaceAt(blob, at, change.bytes)
    case 'splice':
      return replaceAt(blob, at, donors[change.donor]?.subarray(at, at + change.count) ?? Buffer.alloc(0))
    case 'move': {
      const moved = blob.subarray(at, at + change.count)
      const rest = replaceAt(blob, at, Buffer.alloc(0), change.count)
      return replaceAt(rest, change.to % (rest.length + 1), moved, 0)
    }
  }
}

/** Genuine blobs of other contexts, keys and modes: the best material a forger has. */
async function sealDonors(secrets: readonly Buffer[], encrypt: boolean): Promise<Buffer[]> {
  const [first, second] = secrets
  if (first === undefined || second === undefined) throw new Error('It takes two secrets')
  const own = new Sealer({ secrets: [first], encrypt })
  const other = await own.seal(Buffer.from('another text in the same context'), CONTEXT)
  return Promise.all([
    other.subarray(0, -32),
    own.seal(Buffer.from('{"user":"admin"}'), { ...CONTEXT, name: 'm'.repeat(43) }),
    own.seal(Buffer.from('{"user":"admin"}'), { ...CONTEXT, purpose: 'registry' }),
    new Sealer({ secrets: [second], encrypt }).seal(Buffer.from('{"user":"admin"}'), {
      ...CONTEXT,
      prefix: 'sess2',
    }),
    new Sealer({ secrets: [first], encrypt: !encrypt }).seal(Buffer.from('{"user":"admin"}'), CONTEXT),
    new Sealer({ secrets: [randomBytes(32)], encrypt }).seal(Buffer.from('{"user":"admin"}'), CONTEXT),
  ])
}

describe.each([
  { mode: 'signed', encrypt: false },
  { mode: 'encrypted', encrypt: true },
])('random edits of a blob in mode $mode', ({ mode, encrypt }) => {
  test(`are refused, more than ${LEAST} of them`, async () => {
    const secrets = [randomBytes(32), randomBytes(32)]
    const sealer = new Sealer({ secrets, encrypt })
    const blob = await sealer.seal(
      Buffer.from(JSON.stringify({ user: 'alice', text: 'x'.repeat(200) })),
      CONTEXT,
    )
    const donors = await sealDonors(secrets, encrypt)
    const batches = fc.array(fc.array(edit, { minLength: 1, maxLength: 4 }), {
      minLength: BATCH,
      maxLength: BATCH,
    })
    const seen = { open: 0, invalid: 0, 'unknown-key': 0 }

    await fc.assert(
      fc.asyncProperty(batches, async (batch) => {
        const edited = batch.map((edits) =>
          edits.reduce((bytes, change) => applyEdit(bytes, change, donors), blob),
        )
        const forged = edited.filter((bytes) => !bytes.equals(blob))
        for (const { state } of await Promise.all(forged.map((bytes) => sealer.open(bytes, CONTEXT))))
          seen[state]++
        if (seen.open > 0) throw new Error('a forgery was accepted')
      }),
      { numRuns: RUNS_PER_MODE, seed: SEED },
    )

    console.log(`${mode}: ${JSON.stringify(seen)}`)
    expect(seen.open).toBe(0)
    expect(seen.invalid + seen['unknown-key']).toBeGreaterThanOrEqual(LEAST)
    expect(seen.invalid).toBeGreaterThan(LEAST / 10)
    expect(seen['unknown-key']).toBeGreaterThan(LEAST / 100)
  })
})
