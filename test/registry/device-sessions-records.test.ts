import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Sealer } from '../../lib/seal/sealer.ts'
import { SECRET } from '../store/parts-store.ts'
import { ValkeyKind } from '../store/stores.ts'
import { newSid } from './requests.ts'

describe("strict records, as a service's source of truth for device sessions has them", () => {
  const kind = new ValkeyKind()
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const sealer = new Sealer({ secrets: [SECRET], encrypt: false })
  const meta = { created: 1_700_000_000_000 }
  const cookie = { originalMaxAge: null, httpOnly: true, path: '/' }

  /** A plaintext as the store writes them, with what is given. */
  function plaintext({
    version = 1,
    kindOfBody = 't',
    ...parts
  }: {
    version?: number
    kindOfBody?: string
    meta?: unknown
    length?: number
  }): Buffer {
    const metaBytes = Buffer.from(
      typeof parts.meta === 'string' ? parts.meta : JSON.stringify(parts.meta ?? meta),
    )
    const head = Buffer.alloc(12)
    head[0] = version
    head[1] = kindOfBody.charCodeAt(0)
    head.writeUInt16BE(parts.length ?? metaBytes.length, 2)
    return Buffer.concat([head, metaBytes, Buffer.from(JSON.stringify({ cookie, userId: 'alice' }))])
  }

  /** What a store answers for a record with that blob, and whether it said that something is wrong. */
  async function readBack(blobOf: (handle: string, prefix: string) => Promise<Buffer>) {
    const place = kind.place()
    const store = place.share()
    const sid = newSid()
    const told: unknown[] = []
    store.on('session-invalid', (facts) => told.push(facts))
    const backend = place.backend()
    await backend.put(store.handle(sid), {
      blob: await blobOf(store.handle(sid), place.prefix),
      expect: { kind: 'absent' },
      ttlMs: 60_000,
    })
    const session = await store.get(sid)
    await nextTurn()
    return { session, isTold: told.length > 0 }
  }

  const seal = (bytes: Buffer) => async (name: string, prefix: string) =>
    sealer.seal(bytes, { purpose: 'session', prefix, name })

  test('a record as the store writes it is read', async () => {
    expect(await readBack(seal(plaintext({})))).toMatchObject({
      session: { userId: 'alice' },
      isTold: false,
    })
  })

  test.each([
    ['an unknown field', plaintext({ meta: { ...meta, isAdmin: true } })],
    ['an unknown version', plaintext({ version: 2 })],
    ['an unknown kind of data', plaintext({ kindOfBody: 'x' })],
    ['bytes behind its fields', plaintext({ meta: `${JSON.stringify(meta)}garbage` })],
    ['a length that is not its own', plaintext({ length: 9999 })],
    ['a time with a fraction', plaintext({ meta: { created: 1.5 } })],
    ['a time as text', plaintext({ meta: { created: '2026-01-01T00:00:00Z' } })],
    ['a time that is no time', plaintext({ meta: { created: 1e300 } })],
    ['an end that is no time', plaintext({ meta: { ...meta, ends: 'never' } })],
    ['an owner that cannot be one', plaintext({ meta: { ...meta, owner: 'alice' } })],
    ['no time at all', plaintext({ meta: {} })],
  ])('one with %s is refused, although its seal is right', async (_, bytes) => {
    expect(await readBack(seal(bytes))).toEqual({ session: null, isTold: true })
  })

  test.each([
    [
      'trailing bytes',
      async (name: string, prefix: string) =>
        Buffer.concat([await seal(plaintext({}))(name, prefix), Buffer.of(0)]),
    ],
    [
      'the id of another session',
      async (_: string, prefix: string) => seal(plaintext({}))('x'.repeat(43), prefix),
    ],
    ['the prefix of another tenant', async (name: string) => seal(plaintext({}))(name, 'other')],
  ])('one with %s is refused', async (_, blobOf) => {
    expect(await readBack(blobOf)).toEqual({ session: null, isTold: true })
  })
})
