import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { ValkeyStore } from '../../lib/index.ts'
import { until } from '../support/until.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { jsonOf, runCli, startCli } from './cli.ts'
import { fill } from './keyspace.ts'

const COUNT = inject('suite') === 'long' ? 100_000 : 3000
const TIMEOUT_MS = 280_000

const [OLD, NEW] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]

let valkey: ValkeyServer
let store: ValkeyStore
let sids: string[]
let env: Record<string, string>

interface Stats {
  readonly sessions: number
  readonly read: number
  readonly bytes: number
  readonly unopened: number
  readonly keyIds: Readonly<Record<string, number>>
  readonly ages: readonly { readonly count: number }[]
}

beforeAll(async () => {
  valkey = await startValkey()
  env = { VALKEY_URL: valkey.url, SESSION_KEYS: `${NEW},${OLD}` }
  store = new ValkeyStore({
    connection: { url: valkey.url },
    secrets: [OLD],
    commandTimeoutMs: 20_000,
    ttl: 86_400,
  })
  sids = await fill(store, COUNT)
}, TIMEOUT_MS)
afterAll(async () => {
  await store.close()
  await valkey.stop()
})

describe('stats', () => {
  it('counts sessions, bytes and blobs by key id, and draws their ages and sizes', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const found = await jsonOf<Stats>(['stats'], env)
    const drawn = await runCli(['stats'], env)

    expect(found).toMatchObject({ sessions: COUNT, read: COUNT, unopened: 0 })
    expect(Object.values(found.keyIds)).toEqual([COUNT])
    expect(found.bytes).toBeGreaterThan(COUNT * 200)
    expect(found.ages.reduce((sum, { count }) => sum + count, 0)).toBe(COUNT)
    expect(drawn.stdout).toMatch(/age\n +< 1 min (.|\n)*█/)
    expect(drawn.stderr).toMatch(/100 %, \d+ keys, \d+\/s/)
  })

  it('reads but a sample when asked, and needs no secrets for what is in the clear', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const found = await jsonOf<Stats>(['stats', '--sample', '10'], { VALKEY_URL: valkey.url })

    expect(found).toMatchObject({ sessions: COUNT, read: COUNT / 10, unopened: COUNT / 10 })
  })

  it('takes no more memory for many sessions', { timeout: TIMEOUT_MS }, async () => {
    // All handles alone would take more than this much heap allows in the long suite.
    const { code } = await startCli(['stats'], env, ['--max-old-space-size=24']).finished

    expect(code).toBe(0)
  })
})

describe('rewrap', () => {
  it('changes nothing in a dry run', { timeout: TIMEOUT_MS }, async () => {
    expect(await jsonOf(['rewrap', '--dry-run', '--rate', '100000'], env)).toMatchObject({ rewrapped: COUNT })
    expect(await jsonOf(['rewrap', '--dry-run', '--rate', '100000'], env)).toMatchObject({ rewrapped: COUNT })
  })

  it('keeps to its rate, shows how far it is, and after SIGINT goes on where it stopped', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const rate = Math.round(COUNT / 20)
    const first = startCli(['rewrap', '--rate', String(rate), '--json'], env)
    await until(() => /\d+ %, \d+ keys, \d+\/s, .* left/.test(first.stderr()), { withinMs: 60_000 })
    first.kill('SIGINT')
    const { code, stdout } = await first.finished
    const before = JSON.parse(stdout) as { rewrapped: number; isWhole: boolean }
    const after = await jsonOf<{ rewrapped: number; current: number }>(['rewrap', '--rate', '100000'], env)

    expect([code, before.isWhole]).toEqual([130, false])
    expect(before.rewrapped).toBeGreaterThan(0)
    expect(before.rewrapped).toBeLessThan(COUNT)
    expect(after).toMatchObject({
      isWhole: true,
      rewrapped: COUNT - before.rewrapped,
      current: before.rewrapped,
    })
  })

  it('then lets the old secret go: every session opens with the new one alone', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const only = new ValkeyStore({
      connection: { url: valkey.url },
      secrets: [NEW],
      commandTimeoutMs: 20_000,
    })
    const loaded = await Promise.all(sids.slice(0, 1000).map((sid) => only.get(sid)))
    const found = await jsonOf<Stats>(['stats'], { VALKEY_URL: valkey.url, SESSION_KEY: NEW })
    await only.close()

    expect(loaded.filter((session) => session === null)).toEqual([])
    expect(found.unopened).toBe(0)
    expect((await runCli(['rewrap', '--rate', '100000'], env)).code).toBe(0)
  })

  it('loses no change of requests that run beside it', { timeout: TIMEOUT_MS }, async () => {
    // The nodes of the app seal with the secret they have; rewrap turns what they write again and again.
    const some = sids.slice(0, 200)
    const working = new AbortController()
    const secrets = [NEW, OLD]
    const app = new ValkeyStore({ connection: { url: valkey.url }, secrets, commandTimeoutMs: 20_000 })
    const back = { VALKEY_URL: valkey.url, SESSION_KEYS: `${OLD},${NEW}` }
    const rewraps = (async () => {
      for (let turn = 0; turn < 4; turn += 1)
        await runCli(['rewrap', '--rate', '100000'], turn % 2 === 0 ? back : env)
      working.abort()
    })()
    const request = { sessionStore: app } as never
    let saves = 0
    while (!working.signal.aborted) {
      saves += 1
      await Promise.all(
        some.map(async (sid) => {
          const data = await app.get(sid)
          if (data === null) return
          const live = app.createSession(Object.assign(Object.create(request), { sessionID: sid }), data)
          Object.assign(live, { saves })
          await app.set(sid, live)
        }),
      )
    }
    await rewraps
    const loaded = await Promise.all(some.map((sid) => app.get(sid)))
    await app.close()

    expect(saves).toBeGreaterThan(1)
    expect(loaded.map((session) => Reflect.get(session ?? {}, 'saves'))).toEqual(some.map(() => saves))
  })

  it('exits with 1 when something is sealed with none of the secrets', async () => {
    const stranger = { VALKEY_URL: valkey.url, SESSION_KEY: randomBytes(32).toString('hex') }
    const ran = await runCli(['rewrap', '--dry-run', '--rate', '100000', '--json'], stranger)

    expect(ran.code).toBe(1)
    expect(JSON.parse(ran.stdout)).toMatchObject({ 'unknown-key': COUNT })
  })
})
