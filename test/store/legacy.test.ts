import { randomBytes } from 'node:crypto'
import { RedisStore } from 'connect-redis'
import type { SessionData } from 'express-session'
import type { Redis } from 'iovalkey'
import { createClient, type RedisClientType } from 'redis'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { type LegacyOptions, type SessionStoreOptions, ValkeyStore } from '../../lib/index.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'

const SECRET = randomBytes(32).toString('hex')
const PREFIX = 'shop:'
const GONE_WITHIN_MS = 600_000

let valkey: ValkeyServer
let redis: RedisClientType
let admin: Redis
let old: RedisStore
const stores: ValkeyStore[] = []

beforeAll(async () => {
  valkey = await startValkey()
  redis = createClient({ url: `redis://${valkey.host}:${valkey.port}` })
  await redis.connect()
  admin = valkey.client()
  old = new RedisStore({ client: redis, prefix: PREFIX, ttl: 3600 })
})
afterEach(async () => {
  await Promise.all(stores.splice(0).map((store) => store.close()))
})
afterAll(async () => {
  redis.destroy()
  await valkey.stop()
})

const tomorrow = () => new Date(Date.now() + 86_400_000)

function newStore(
  legacy: Partial<LegacyOptions> | 'none' = {},
  options: Pick<SessionStoreOptions, 'clock'> = {},
): ValkeyStore {
  const store = new ValkeyStore({
    connection: { url: valkey.url },
    secrets: [SECRET],
    prefix: 'new',
    ...options,
    ...(legacy !== 'none' && {
      legacy: { kind: 'connect-redis', prefix: PREFIX, until: tomorrow(), ...legacy },
    }),
  })
  stores.push(store)
  return store
}

async function signedIn(session: object = { userId: 'alice', cart: ['book'] }): Promise<string> {
  const sid = randomBytes(24).toString('base64url')
  const cookie = { originalMaxAge: null, path: '/', httpOnly: true }
  await old.set(sid, { cookie, ...session } as unknown as SessionData)
  return sid
}

describe('A session of connect-redis', () => {
  it('is none without the option', async () => {
    const sid = await signedIn()

    expect(await newStore('none').get(sid)).toBeNull()
  })

  it('is adopted when its cookie comes: sealed, registered, and removed where it was', async () => {
    const user = `user-${randomBytes(4).toString('hex')}`
    const sid = await signedIn({ userId: user, cart: ['book'] })
    const store = newStore()

    expect(await store.get(sid)).toMatchObject({ userId: user, cart: ['book'], cookie: { httpOnly: true } })
    expect(await redis.exists(`${PREFIX}${sid}`)).toBe(0)
    expect(await newStore('none').get(sid)).toMatchObject({ userId: user })
    const [listed] = await store.registry.list(user)
    expect(listed?.handle).toBe(store.handle(sid))
    const leftMs = (listed?.status === 'active' ? listed.expiresAt.getTime() : 0) - Date.now()
    expect(leftMs).toBeGreaterThan(3_500_000)
    expect(leftMs).toBeLessThan(3_602_000)
  })

  it('is kept once by two nodes that adopt it at the same time', async () => {
    const nodes = [newStore(), newStore(), newStore()]
    for (let round = 0; round < 30; round += 1) {
      const user = `twice-${round}`
      const sid = await signedIn({ userId: user, cart: [round] })
      const found = await Promise.all(nodes.map((node) => node.get(sid)))

      expect(found.map((session) => Reflect.get(session ?? {}, 'cart'))).toEqual(nodes.map(() => [round]))
      expect(await nodes[0]?.registry.count(user)).toBe(1)
      expect(await redis.exists(`${PREFIX}${sid}`)).toBe(0)
    }
  })

  it('is none from "until" on', async () => {
    let nowMs = Date.now()
    const store = newStore({ until: new Date(nowMs + 5000) }, { clock: { now: () => nowMs } })
    const [before, after] = [await signedIn(), await signedIn()]

    expect(await store.get(before)).not.toBeNull()
    nowMs += 5000
    expect(await store.get(after)).toBeNull()
    expect(await redis.exists(`${PREFIX}${after}`)).toBe(1)
  })

  it('comes back under no circumstances once it was ended', async () => {
    const sid = await signedIn()
    const store = newStore()
    const value = (await redis.get(`${PREFIX}${sid}`)) ?? ''
    await store.get(sid)
    await store.destroy(sid)
    await redis.set(`${PREFIX}${sid}`, value, { PX: 3_600_000 })

    expect(await store.get(sid)).toBeNull()
    expect(await redis.exists(`${PREFIX}${sid}`)).toBe(0)
  })

  it('lives no longer in the old place than a tombstone stands, should it not be removed', async () => {
    // Without the right to remove, as a process that dies before it does.
    await admin.call('ACL', 'SETUSER', 'clumsy', 'on', '>pw', '~*', '&*', '+@all', '-unlink')
    const sid = await signedIn()
    const url = `valkey://clumsy:pw@${valkey.host}:${valkey.port}`
    const store = newStore({ connection: { url } })

    expect(await store.get(sid)).toMatchObject({ userId: 'alice' })
    const leftMs = await redis.pTTL(`${PREFIX}${sid}`)
    expect(leftMs).toBeGreaterThan(0)
    expect(leftMs).toBeLessThanOrEqual(GONE_WITHIN_MS)
  })

  it('stays as it was when it cannot be stored', async () => {
    const sid = await signedIn()
    const store = newStore()
    await admin.config('SET', 'maxmemory', '1')
    const failed = await store.get(sid).catch((error: unknown) => error)
    await admin.config('SET', 'maxmemory', '0')

    expect(failed).toMatchObject({ code: 'ERR_STORE_UNAVAILABLE', reason: 'out-of-memory' })
    expect(await redis.pTTL(`${PREFIX}${sid}`)).toBeGreaterThan(GONE_WITHIN_MS)
    expect(await store.get(sid)).toMatchObject({ userId: 'alice' })
  })
})

describe('What somebody has planted in the old place', () => {
  const cookie = { originalMaxAge: null }

  it.each([
    ['broken JSON', '{"cookie":{'],
    ['no object', '"text"'],
    ['an array', '[{"cookie":{}}]'],
    ['no cookie', '{"userId":"admin"}'],
    ['a cookie that is none', '{"cookie":[]}'],
    ['a cookie whose age is none', '{"cookie":{"originalMaxAge":"1e9"}}'],
    ['more than maxBytes', JSON.stringify({ cookie, text: 'x'.repeat(70_000) })],
    ['depth', `{"cookie":{"originalMaxAge":null},"deep":${'['.repeat(5000)}${']'.repeat(5000)}}`],
    ['what is no text', Buffer.from([0x7b, 0xff, 0xfe, 0x7d])],
  ])('counts as none: %s', async (_, value) => {
    const sid = randomBytes(24).toString('base64url')
    await admin.set(`${PREFIX}${sid}`, value, 'EX', 60)
    const store = newStore()

    expect(await store.get(sid)).toBeNull()
    expect(await admin.exists(`new:r:{${store.handle(sid)}}`)).toBe(0)
  })

  it('counts as none where it is no string', async () => {
    const sid = randomBytes(24).toString('base64url')
    await admin.hset(`${PREFIX}${sid}`, 'cookie', '{}')

    expect(await newStore().get(sid)).toBeNull()
  })

  it('loses what reaches prototypes and sets no cookie of its own', async () => {
    const sid = randomBytes(24).toString('base64url')
    const planted = `{"__proto__":{"isAdmin":true},"userId":"bob","cookie":{"originalMaxAge":null,"path":"/","domain":"x; Secure","__proto__":{"a":1},"serialize":"x"}}`
    await admin.set(`${PREFIX}${sid}`, planted, 'EX', 60)
    const session = await newStore().get(sid)

    expect(Reflect.get(session ?? {}, 'isAdmin')).toBeUndefined()
    expect(Object.keys(session ?? {}).sort()).toEqual(['cookie', 'userId'])
    expect(Object.keys(session?.cookie ?? {}).sort()).toEqual(['expires', 'originalMaxAge', 'path'])
  })
})

describe('adopt', () => {
  it('stores what another store has kept, once, and never over what is there or was ended', async () => {
    const store = newStore('none')
    const sid = randomBytes(24).toString('base64url')
    const session = { cookie: { originalMaxAge: null }, cart: [1] }
    const first = await store.adopt(sid, session, { ttl: 60 })
    const second = await store.adopt(sid, { ...session, cart: [2] }, { ttl: 60 })
    const cart = Reflect.get((await store.get(sid)) ?? {}, 'cart')
    await store.destroy(sid)

    expect([first, second, cart]).toEqual(['adopted', 'exists', [1]])
    expect(await store.adopt(sid, session)).toBe('ended')
    await expect(store.adopt('no id!', session)).rejects.toMatchObject({ code: 'ERR_SESSION_ID' })
    await expect(store.adopt(sid, session, { ttl: Number.NaN })).rejects.toThrow(/Option "ttl"/)
  })
})

describe('The option "legacy"', () => {
  it.each([
    [{ kind: 'connect-mongo' }, /"legacy.kind"/],
    [{ prefix: undefined }, /"legacy.prefix"/],
    [{ until: 'soon' }, /"legacy.until"/],
    [{ until: new Date(Number.NaN) }, /"legacy.until"/],
    [{ untill: tomorrow() }, /Unknown option "untill" of "legacy"/],
    [{ client: 42 }, /"client"/],
  ])('is refused as %o', (wrong, message) => {
    expect(() => newStore(wrong as never)).toThrow(message)
  })
})
