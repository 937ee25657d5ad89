import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import { generateSession } from '../store/live-session.ts'
import { ValkeyKind } from '../store/stores.ts'
import { newSid, newUser, ownerOf, signIn, signInTimes } from './requests.ts'

const FENCE_MS = 15 * 60_000
const TERMS = { reason: 'password-changed', actor: { type: 'admin', id: 'carol-the-admin' } }
const AGENT = 'Browser of canary make'
// Where a tombstone's value and an entry of the departed begin to be sealed.
const TOMBSTONE_HEADER_BYTES = 44
const DEPARTED_HEADER_BYTES = 56

describe('what Valkey keeps of an ending', () => {
  const kind = new ValkeyKind()
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  function open(options: SessionStoreOptions = {}) {
    const place = kind.place()
    const keys = createKeys(place.prefix)
    const store = place.share({ device: () => ({ agent: AGENT }), ...options })
    const call = (command: string, ...args: (string | Buffer | number)[]) =>
      kind.client.callBuffer(command, ...args)
    return { place, keys, store, call, user: newUser() }
  }

  /** Every byte under the prefix. */
  async function dump({ place, call }: ReturnType<typeof open>): Promise<string> {
    const keys = (await call('keys', `${place.prefix}:*`)) as Buffer[]
    const values = await Promise.all(
      keys.map(async (key) => {
        const kind = String(await call('type', key))
        if (kind === 'string') return [await call('get', key)]
        return (await call(
          kind === 'hash' ? 'hgetall' : 'zrange',
          key,
          ...(kind === 'hash' ? [] : [0, -1]),
        )) as Buffer[]
      }),
    )
    return [...keys, ...values.flat()].map((bytes) => (bytes as Buffer).toString('latin1')).join('\n')
  }

  test('shows, when it is encrypted, neither reason nor actor nor device nor user nor id', async () => {
    const opened = open({ encrypt: true })
    const { store, user } = opened
    const sid = await signIn(store, user)
    await store.registry.end({ sid }, TERMS)
    await signIn(store, user)

    const bytes = await dump(opened)

    expect(await store.registry.list(user, { includeEnded: true })).toMatchObject([
      { device: { agent: AGENT } },
      { device: { agent: AGENT }, ending: TERMS },
    ])
    expect(bytes).toContain(store.handle(sid))
    for (const secret of [TERMS.reason, TERMS.actor.id, 'admin', AGENT, 'canary', user, sid])
      expect(bytes).not.toContain(secret)
  })

  test('shows, when it is only signed, what it says but no user and no id', async () => {
    const opened = open()
    const { store, user } = opened
    const sid = await signIn(store, user)
    await store.registry.end({ sid }, TERMS)

    const bytes = await dump(opened)

    expect(bytes).toContain(TERMS.actor.id)
    for (const secret of [user, sid]) expect(bytes).not.toContain(secret)
  })

  test.each([true, false])('cannot be changed or moved to another session (encrypt: %j)', async (encrypt) => {
    const { keys, store, call, user } = open({ encrypt })
    const sids = await signInTimes(store, user, 2)
    await store.registry.end({ sid: sids[0] ?? '' }, TERMS)
    await store.registry.end({ sid: sids[1] ?? '' }, { reason: 'other' })
    const [one = '', other = ''] = sids.map((sid) => keys.tombstone(store.handle(sid)))
    const value = (await call('get', one)) as Buffer

    const endings: unknown[] = []
    for (const at of [TOMBSTONE_HEADER_BYTES, TOMBSTONE_HEADER_BYTES + 20, value.length - 1]) {
      const changed = Buffer.from(value)
      changed[at] = (changed[at] ?? 0) ^ 1
      await call('set', one, changed)
      endings.push(await store.registry.ending({ sid: sids[0] ?? '' }))
    }
    await call('set', one, value.subarray(0, -1))
    endings.push(await store.registry.ending({ sid: sids[0] ?? '' }))
    await call('set', other, value)
    endings.push(await store.registry.ending({ sid: sids[1] ?? '' }))

    expect(endings).toEqual(Array(5).fill(undefined))
    await call('set', one, value)
    expect(await store.registry.ending({ sid: sids[0] ?? '' })).toMatchObject(TERMS)
  })

  test('cannot be made up in the list, nor be moved there to another session or user', async () => {
    const { keys, store, call, user } = open()
    const [sid = '', living = ''] = await signInTimes(store, user, 2)
    await store.registry.end({ sid }, TERMS)
    const departed = keys.registry(ownerOf(user))[4]
    const [entry = Buffer.of()] = (await call('zrange', departed, 0, -1)) as Buffer[]
    const renamed = Buffer.concat([Buffer.from(store.handle(living)), entry.subarray(43)])
    const changed = Buffer.from(entry)
    changed[DEPARTED_HEADER_BYTES + 25] = (changed[DEPARTED_HEADER_BYTES + 25] ?? 0) ^ 1
    const swapped = Buffer.concat([
      Buffer.from(store.handle(sid)),
      entry.subarray(43, DEPARTED_HEADER_BYTES),
      ((await call('get', keys.tombstone(store.handle(sid)))) as Buffer).subarray(TOMBSTONE_HEADER_BYTES),
    ])

    for (const forged of [renamed, changed, swapped]) {
      await call('del', departed)
      await call('zadd', departed, 1, forged)
      expect(await store.registry.list(user, { includeEnded: true })).toMatchObject([
        { handle: store.handle(living), status: 'active' },
      ])
    }
    await call('zadd', departed, 1, entry)
    expect(await store.registry.list(user, { includeEnded: true })).toHaveLength(2)
  })

  test.each([
    ["a user's session for endedTtl", 3600, 3_600_000],
    ["a user's session for 15 minutes at least", 60, FENCE_MS],
  ])('stands for %s', async (_, endedTtl, expectedMs) => {
    const { keys, store, call, user } = open({ endedTtl })
    const sid = await signIn(store, user)
    await store.destroy(sid)

    const leftMs = Number(await call('pttl', keys.tombstone(store.handle(sid))))

    expect(leftMs).toBeLessThanOrEqual(expectedMs)
    expect(leftMs).toBeGreaterThan(expectedMs - 30_000)
  })

  test('stands for 15 minutes if nobody was signed in, or nothing was there', async () => {
    const { keys, store, call } = open()
    const [anonymous, nothing] = [newSid(), newSid()]
    await store.set(anonymous, generateSession(store, anonymous, { content: { cart: 1 } }))
    await store.destroy(anonymous)
    await store.registry.end({ sid: nothing })

    for (const sid of [anonymous, nothing]) {
      const leftMs = Number(await call('pttl', keys.tombstone(store.handle(sid))))
      expect(leftMs).toBeLessThanOrEqual(FENCE_MS)
      expect(leftMs).toBeGreaterThan(FENCE_MS - 30_000)
    }
  })

  test('is gone by itself, registry included, once everything in it has had its time', async () => {
    const { place, keys, store, call, user } = open({ ttl: 0.3, endedTtl: 0.3 })
    await store.destroy(await signIn(store, user))
    await signIn(store, user)
    const registry = keys.registry(ownerOf(user))
    const ttls = await Promise.all(registry.map(async (key) => Number(await call('pttl', key))))

    // A registration outlasts its session by a second.
    expect(Math.max(...ttls)).toBeLessThanOrEqual(1300)
    await kind.pass(Math.max(...ttls) + 20)
    expect(await call('exists', ...registry)).toBe(0)
    expect(((await call('keys', `${place.prefix}:r:*`)) as Buffer[]).map(String)).toEqual([])
  })
})
