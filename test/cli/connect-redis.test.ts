import { randomBytes } from 'node:crypto'
import { RedisStore } from 'connect-redis'
import { createClient, type RedisClientType } from 'redis'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { ValkeyStore } from '../../lib/index.ts'
import { until } from '../support/until.ts'
import { startCluster, startValkey, type ValkeyServer } from '../support/valkey.ts'
import { jsonOf, runCli, startCli } from './cli.ts'

const COUNT = inject('suite') === 'long' ? 100_000 : 2000
const TIMEOUT_MS = 280_000
const SECRET = randomBytes(32).toString('hex')

let valkey: ValkeyServer
let redis: RedisClientType
let env: Record<string, string>
let store: ValkeyStore

beforeAll(async () => {
  valkey = await startValkey()
  redis = createClient({ url: `redis://${valkey.host}:${valkey.port}` })
  await redis.connect()
  env = { VALKEY_URL: valkey.url, SESSION_KEY: SECRET, SESSION_PREFIX: 'new' }
  store = new ValkeyStore({ connection: { url: valkey.url }, secrets: [SECRET], prefix: 'new' })
})
afterAll(async () => {
  await store.close()
  redis.destroy()
  await valkey.stop()
})
beforeEach(async () => {
  await redis.flushAll()
})

const newSid = () => randomBytes(24).toString('base64url')

interface Counts {
  readonly isApplied: boolean
  readonly isWhole: boolean
  readonly [outcome: string]: number | boolean
}

/** Stores sessions as an app on connect-redis does. */
async function storeOld(
  count: number,
  session: object = { userId: 'alice', cart: ['book'] },
): Promise<string[]> {
  const old = new RedisStore({ client: redis, prefix: 'shop:', ttl: 3600 })
  const cookie = { originalMaxAge: null, path: '/', httpOnly: true }
  const sids = Array.from({ length: count }, newSid)
  for (let at = 0; at < count; at += 500)
    await Promise.all(sids.slice(at, at + 500).map((sid) => old.set(sid, { cookie, ...session } as never)))
  return sids
}

const importing = ['import', 'connect-redis', '--from-prefix', 'shop:', '--rate', '100000']

describe('import connect-redis', () => {
  it('writes nothing before it is told to', async () => {
    await storeOld(3)

    expect(await jsonOf<Counts>(importing, env)).toEqual({ ready: 3, isApplied: false, isWhole: true })
    expect(await store.length()).toBe(0)
  })

  it('takes sessions over under their ids, registered, with what is left of their lives', async () => {
    const [sid = ''] = await storeOld(1)
    await redis.pExpire(`shop:${sid}`, 1_800_000)

    expect(await jsonOf(importing.concat('--apply'), env)).toMatchObject({ adopted: 1 })
    expect(await store.get(sid)).toMatchObject({
      userId: 'alice',
      cart: ['book'],
      cookie: { httpOnly: true },
    })
    const [listed] = await store.registry.list('alice')
    const leftMs = (listed?.status === 'active' ? listed.expiresAt.getTime() : 0) - Date.now()
    expect(listed?.handle).toBe(store.handle(sid))
    expect(leftMs).toBeLessThan(1_802_000)
    expect(leftMs).toBeGreaterThan(1_700_000)
    expect(await redis.exists(`shop:${sid}`)).toBe(1)
  })

  it('deletes only when told, passes over what is there, and brings nothing back that was ended', async () => {
    const [changed = '', ended = '', fresh = ''] = await storeOld(3)
    await runCli(importing.concat('--apply'), env)
    await store.set(changed, {
      cookie: { originalMaxAge: null },
      userId: 'alice',
      cart: ['book', 'pen'],
    } as never)
    await store.destroy(ended)
    const again = await jsonOf(importing.concat('--apply', '--delete'), env)

    expect(again).toEqual({ exists: 2, ended: 1, isApplied: true, isWhole: true })
    expect(await store.get(changed)).toMatchObject({ cart: ['book', 'pen'] })
    expect(await store.get(ended)).toBeNull()
    expect(await store.get(fresh)).not.toBeNull()
    expect(await redis.keys('shop:*')).toEqual([])
    expect((await runCli(importing.concat('--delete'), env)).code).toBe(2)
  })

  it('skips odd keys, counts them by cause, and exits with 1', async () => {
    const cookie = { originalMaxAge: null }
    const whole = JSON.stringify({ cookie, userId: 'bob' })
    const odd: Record<string, string> = {
      broken: '{"cookie":',
      binary: '\u0000\u0001',
      number: '42',
      cookieless: '{"userId":"bob"}',
      strange: '{"cookie":{"originalMaxAge":"soon"}}',
      nameless: JSON.stringify({ cookie, userId: { no: 'id' } }),
      huge: JSON.stringify({ cookie, text: 'x'.repeat(70_000) }),
      'not an id': whole,
    }
    for (const [name, value] of Object.entries(odd)) await redis.set(`shop:${name}`, value, { PX: 60_000 })
    await redis.set('shop:endless', whole)
    await redis.set(
      'shop:past',
      JSON.stringify({ cookie: { ...cookie, expires: '2020-01-01T00:00:00.000Z' } }),
    )
    await redis.hSet('shop:hash', 'a', 'b')
    await redis.set('shop:polluting', `{"__proto__":{"admin":true},"cookie":{"originalMaxAge":null}}`, {
      PX: 60_000,
    })
    const ran = await runCli(importing.concat('--apply', '--json'), env)

    expect(ran.code).toBe(1)
    expect(JSON.parse(ran.stdout)).toEqual({
      adopted: 1,
      broken: 3,
      expired: 1,
      'no-session': 2,
      'no-session-id': 1,
      'no-ttl': 1,
      'no-user-id': 1,
      'other-type': 1,
      'too-large': 1,
      isApplied: true,
      isWhole: true,
    })
    expect(Object.keys((await store.get('polluting')) ?? {})).toEqual(['cookie'])
  })

  it('needs no more rights than acl prints, and the option "legacy" neither', async () => {
    const [adopted = '', imported = ''] = await storeOld(2)
    const words = ['acl', '--form', 'aclfile', '--prefix', 'new', '--legacy-prefix', 'shop:']
    const { stdout } = await runCli(words, { VALKEY_APP_PASSWORD: 'pw' })
    await valkey.client().call('ACL', 'SETUSER', ...stdout.trim().split(' ').slice(1))
    const url = `valkey://app:pw@${valkey.host}:${valkey.port}`
    const legacy = { kind: 'connect-redis', prefix: 'shop:', until: new Date(Date.now() + 60_000) } as const
    const app = new ValkeyStore({ connection: { url }, secrets: [SECRET], prefix: 'new', legacy })
    const found = await app.get(adopted)
    await app.close()
    const user = { ...env, VALKEY_USERNAME: 'app', VALKEY_PASSWORD: 'pw' }

    expect(found).toMatchObject({ userId: 'alice' })
    expect(await jsonOf(importing.concat('--apply', '--delete'), user)).toMatchObject({ adopted: 1 })
    expect(await store.get(imported)).toMatchObject({ userId: 'alice' })
    expect(await redis.keys('shop:*')).toEqual([])
  })

  it('gives a lifetime to those without, and finds the user where it is told', async () => {
    const session = { cookie: { originalMaxAge: null }, account: { id: 7 } }
    await redis.set('shop:endless', JSON.stringify(session))
    const words = importing.concat('--apply', '--ttl', '600', '--user-key', 'account.id')
    await runCli(words, env)
    const [listed] = await store.registry.list(7)

    expect(listed?.handle).toBe(store.handle('endless'))
    expect((listed?.status === 'active' ? listed.expiresAt.getTime() : 0) - Date.now()).toBeLessThan(602_000)
  })

  it('shows how far it is, and goes on after SIGINT', { timeout: TIMEOUT_MS }, async () => {
    const sids = await storeOld(COUNT, { cart: [1] })
    const slow = [...importing.slice(0, -1), String(Math.round(COUNT / 20)), '--apply', '--json']
    const first = startCli(slow, env)
    await until(() => /\d+ %, \d+ keys, \d+\/s, .* left/.test(first.stderr()), { withinMs: 60_000 })
    first.kill('SIGINT')
    const { code, stdout, stderr } = await first.finished
    const before = JSON.parse(stdout) as { adopted: number; isWhole: boolean }
    const after = await jsonOf(importing.concat('--apply', '--delete'), env)

    expect([code, before.isWhole]).toEqual([130, false])
    expect(after).toMatchObject({ adopted: COUNT - before.adopted, exists: before.adopted, isWhole: true })
    expect(`${stdout}${stderr}`).not.toContain(sids[0])
    expect(await redis.keys('shop:*')).toEqual([])
    expect(await store.get(sids.at(-1) ?? '')).toMatchObject({ cart: [1] })
  })

  it('takes them from another server, into a cluster', { timeout: TIMEOUT_MS }, async () => {
    const cluster = await startCluster()
    const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }))
    const there = new ValkeyStore({ connection: { nodes }, secrets: [SECRET], prefix: 'new' })
    try {
      const [sid = ''] = await storeOld(20)
      const words = importing.concat('--from-url', valkey.url, '--apply', '--nodes')
      const list = nodes.map(({ host, port }) => `${host}:${port}`).join(',')

      expect(await jsonOf(words.concat(list), { SESSION_KEY: SECRET, SESSION_PREFIX: 'new' })).toMatchObject({
        adopted: 20,
      })
      expect(await there.get(sid)).toMatchObject({ userId: 'alice' })
    } finally {
      await there.close()
      await cluster.stop()
    }
  })
})

describe('export connect-redis', () => {
  const exporting = ['export', 'connect-redis', '--to-prefix', 'back:', '--rate', '100000']

  it('writes nothing before it is told to, and then what connect-redis reads', async () => {
    const sid = newSid()
    await store.set(sid, {
      cookie: { originalMaxAge: 600_000, path: '/' },
      userId: 'alice',
      cart: [1],
    } as never)
    const dry = await jsonOf(exporting, env)
    const keys = await redis.keys('back:*')
    const done = await jsonOf(exporting.concat('--apply'), env)
    const back = new RedisStore({ client: redis, prefix: 'back:' })
    const session = await back.get(store.handle(sid))

    expect(dry).toEqual({ ready: 1, isApplied: false, isWhole: true })
    expect(keys).toEqual([])
    expect(done).toMatchObject({ exported: 1 })
    expect(session).toMatchObject({ userId: 'alice', cart: [1], cookie: { originalMaxAge: 600_000 } })
    expect(new Date(Reflect.get(session ?? {}, 'cookie').expires).getTime()).toBeGreaterThan(Date.now())
    expect(await redis.pTTL(`back:${store.handle(sid)}`)).toBeGreaterThan(500_000)
  })

  it('leaves out what has ended, and says what it cannot open', async () => {
    const [kept, ended] = [newSid(), newSid()]
    for (const sid of [kept, ended]) await store.set(sid, { cookie: { originalMaxAge: null } } as never)
    await store.destroy(ended)
    const stranger = { ...env, SESSION_KEY: randomBytes(32).toString('hex') }
    const ran = await runCli(exporting.concat('--apply', '--json'), stranger)

    expect(await jsonOf(exporting.concat('--apply'), env)).toMatchObject({ exported: 1 })
    expect(await redis.keys('back:*')).toEqual([`back:${store.handle(kept)}`])
    expect([ran.code, JSON.parse(ran.stdout)]).toMatchObject([1, { 'unknown-key': 1 }])
  })

  it('writes them to a cluster, and from a cluster to one server', { timeout: TIMEOUT_MS }, async () => {
    const cluster = await startCluster()
    try {
      const sids = Array.from({ length: 20 }, newSid)
      for (const sid of sids)
        await store.set(sid, {
          cookie: { originalMaxAge: null },
          userId: 'alice',
          cart: [sid.length],
        } as never)
      const nodes = cluster.nodes.map(({ host, port }) => `${host}:${port}`).join(',')
      const away = await jsonOf(exporting.concat('--apply', '--to-nodes', nodes), env)
      const client = cluster.client()
      const values = await Promise.all(sids.map((sid) => client.get(`back:${store.handle(sid)}`)))
      // What was exported goes back in as sessions of the cluster, and out again to the server.
      const words = ['--nodes', nodes, '--from-prefix', 'back:', '--apply', '--rate', '100000']
      const there = await jsonOf(['import', 'connect-redis', ...words], env)
      const home = await jsonOf(exporting.concat('--apply', '--nodes', nodes, '--to-url', valkey.url), env)

      expect([away, there, home]).toMatchObject([{ exported: 20 }, { adopted: 20 }, { exported: 20 }])
      expect(values.map((value) => JSON.parse(value ?? '{}').userId)).toEqual(sids.map(() => 'alice'))
      expect(await redis.keys('back:*')).toHaveLength(20)
    } finally {
      await cluster.stop()
    }
  })
})
