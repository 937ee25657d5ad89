import { createHash } from 'node:crypto'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { performance } from 'node:perf_hooks'
import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { SessionStoreError } from '../../lib/errors.ts'
import { deniesTaint, taints } from '../../lib/http/labels/taint-gates.ts'
import { createLabelStore } from '../../lib/labels/create-label-store.ts'
import type { LabelStore } from '../../lib/labels/label-store.ts'
import { createTaintApp, serve, Visitor } from '../http/taint-site.ts'
import { createCertificates, tlsArguments } from '../support/certificates.ts'
import { EventLoopWatch } from '../support/event-loop.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { freePort } from '../support/free-port.ts'
import { until } from '../support/until.ts'
import { countCommands, startValkey, type ValkeyServer } from '../support/valkey.ts'
import { type LabelOptions, newSid, type Observed, openValkey } from './subjects.ts'

let server: ValkeyServer
let admin: Redis

beforeAll(async () => {
  server = await startValkey()
  admin = server.client()
})

afterAll(() => server?.stop())

const keyOf = (sid: string) => `taint:v1:${createHash('sha256').update(sid).digest('hex')}`

function open(options: LabelOptions = {}): Observed {
  const opened = openValkey(server.url, options)
  onTestFinished(() => opened.store.close())
  return opened
}

async function proxied(options: LabelOptions = {}) {
  const proxy = await startFaultProxy(server)
  onTestFinished(() => proxy.stop())
  const opened = open({ connection: { url: proxy.url }, ...options })
  await until(() => opened.store.load(newSid()).catch(() => undefined), { what: 'the store is connected' })
  opened.alarms.length = 0
  return { ...opened, proxy }
}

/** A gateway: one route reads what is labelled, another is a sink. */
async function gateway(labels: LabelStore): Promise<Visitor> {
  const site = await serve(
    createTaintApp({
      labels,
      routes: (app) => {
        app.get('/read', taints('pii'), (_req, res) => void res.send('CANARY'))
        app.post('/export', deniesTaint('pii'), (_req, res) => void res.send('exported'))
      },
    }),
  )
  onTestFinished(() => site.close())
  const visitor = new Visitor(site)
  await visitor.post('/begin')
  return visitor
}

describe('a gateway’s label store', () => {
  it('Config-selectable store: in-process by default, Valkey when configured, no recompiling.', async () => {
    const sid = newSid()
    const stores = [{}, { kind: 'valkey', connection: { url: server.url } }].map((config) =>
      createLabelStore(JSON.parse(JSON.stringify(config))),
    )
    onTestFinished(() => Promise.all(stores.map((store) => store.close())).then(() => {}))

    for (const store of stores) expect(await store.add(sid, ['pii'])).toEqual(new Set(['pii']))

    expect(await admin.smembers(keyOf(sid))).toEqual(['pii'])
  })

  describe('Labels persist across restarts and are shared across nodes: an append on one node is seen by a load on another (read your writes, primary only).', () => {
    it('across nodes', async () => {
      const [one, other] = [open().store, open().store]

      for (let round = 0; round < 100; round += 1) {
        const sid = newSid()
        await one.add(sid, ['pii'])
        expect((await other.load(sid)).labels).toEqual(new Set(['pii']))
      }
    })

    it('across a restart of both sides', async () => {
      const durable = await startValkey({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
      onTestFinished(() => durable.stop())
      const sid = newSid()
      const before = openValkey(durable.url)
      await before.store.add(sid, ['pii'], { atLeastMs: 60_000 })
      await before.store.close()

      await durable.restart()

      const after = openValkey(durable.url)
      onTestFinished(() => after.store.close())
      expect((await after.store.load(sid)).labels).toEqual(new Set(['pii']))
    })

    it('across a failover; and never by a replica', async () => {
      const replica = await startValkey()
      onTestFinished(() => replica.stop())
      const atReplica = replica.client()
      await admin.config('SET', 'repl-diskless-sync-delay', '0')
      await atReplica.replicaof(server.host, server.port)
      const sid = newSid()
      await open().store.add(sid, ['pii'])
      await until(async () => (await atReplica.sismember(keyOf(sid), 'pii')) === 1)
      const { store } = openValkey(replica.url, { retries: 0 })
      onTestFinished(() => store.close())

      await expect(store.load(sid)).rejects.toMatchObject({
        code: 'ERR_STORE_UNAVAILABLE',
        reason: 'read-only',
      })
      await atReplica.replicaof('NO', 'ONE')
      await until(() =>
        store
          .load(sid)
          .then(({ labels }) => labels.has('pii'))
          .catch(() => false),
      )
    })
  })

  it('Append is one atomic server-side set union plus expiry in one round trip; never a client read-modify-write. Empty append is a no-op.', async () => {
    const { store, proxy } = await proxied({ ttl: 60 })
    await store.add(newSid(), ['known'])
    const sid = newSid()

    const counted = await countCommands(admin, () => store.add(sid, ['pii', 'secret']))
    const { requestBytes } = proxy.counts
    const nothing = await countCommands(admin, () => store.add(sid, []))

    expect(counted).toMatchObject({ evalsha: 1, sadd: 1, pexpire: 1 })
    expect(nothing).toEqual({})
    expect(proxy.counts.requestBytes).toBe(requestBytes)
    expect(await admin.pttl(keyOf(sid))).toBeGreaterThan(59_000)
  })

  it('Key `taint:v1:<hex sha256(session id)>`: collision-free, no raw ids in the keyspace.', async () => {
    const own = await startValkey()
    onTestFinished(() => own.stop())
    const { store } = openValkey(own.url)
    onTestFinished(() => store.close())
    const sids = Array.from({ length: 50 }, newSid)

    await Promise.all(sids.map((sid) => store.add(sid, ['pii'])))

    expect((await own.client().keys('*')).sort()).toEqual(sids.map(keyOf).sort())
  })

  describe('A confirmed unknown session is *empty*, an error is an *error*: unreachable, timeout, undecodable and partial answers deny the request.', () => {
    it('empty', async () => {
      const { store } = open()
      const visitor = await gateway(store)

      expect((await store.load(newSid())).state).toBe('empty')
      expect((await visitor.post('/export')).status).toBe(200)
    })

    it.each<[string, Parameters<Awaited<ReturnType<typeof proxied>>['proxy']['set']>[0]]>([
      ['unreachable', { kind: 'refuse' }],
      ['timeout', { kind: 'blackhole' }],
      ['partial', { kind: 'cut', bytes: 7 }],
    ])('%s', async (_, fault) => {
      const { store, proxy, codes } = await proxied({ commandTimeoutMs: 100, connectTimeoutMs: 50 })
      const visitor = await gateway(store)
      await proxy.set(fault)

      expect((await visitor.post('/export')).status).toBe(503)
      expect(codes()).toContain('load-failed')
    })

    it('undecodable', async () => {
      const { store, codes } = open()
      const visitor = await gateway(store)
      await admin.sadd(keyOf(visitor.sid), 'no label')

      await expect(store.load(visitor.sid)).rejects.toThrow(SessionStoreError)
      expect((await visitor.post('/export')).status).toBe(503)
      expect(codes()).toEqual(['load-failed', 'load-failed'])
    })
  })

  it('An append error denies the request just as a load error does, before any labelled response leaves; with an alarm of its own.', async () => {
    const { store, codes } = open()
    const visitor = await gateway(store)
    await admin.config('SET', 'maxmemory', '1')
    onTestFinished(() => admin.config('SET', 'maxmemory', '0').then(() => {}))

    const { status, body } = await visitor.get('/read')

    expect(status).toBe(503)
    expect(body).not.toContain('CANARY')
    expect(codes()).toEqual(['append-failed'])
  })

  describe('Optional sliding TTL, off by default; refreshed on load and append; a failed refresh on load does not fail the read but raises an alarm; a TTL shorter than the declared longest session life warns at start.', () => {
    it('refreshes on append, and on load if it slides', async () => {
      const fixed = open({ ttl: 100 }).store
      const sliding = open({ ttl: 100, slidingTtl: true }).store
      const sid = newSid()
      const ttlAfter = async (work: () => Promise<unknown>) => {
        await admin.pexpire(keyOf(sid), 50_000)
        await work()
        return Math.ceil((await admin.pttl(keyOf(sid))) / 1000)
      }
      await fixed.add(sid, ['pii'])

      expect(await ttlAfter(() => fixed.load(sid))).toBe(50)
      expect(await ttlAfter(() => fixed.add(sid, ['pii']))).toBe(100)
      expect(await ttlAfter(() => sliding.load(sid))).toBe(100)
      expect(await ttlAfter(() => sliding.add(sid, ['pii']))).toBe(100)
    })

    it('reads although it cannot refresh', async () => {
      const sid = newSid()
      await open({ ttl: 50 }).store.add(sid, ['pii'])
      await admin.call('ACL', 'SETUSER', 'reader', 'on', '>pass', '~taint:*', '+@all', '-pexpire')
      const connection = { url: server.url, username: 'reader', password: 'pass' }
      const { store, codes } = open({ connection, ttl: 100, slidingTtl: true })

      expect((await store.load(sid)).labels).toEqual(new Set(['pii']))
      expect(codes()).toEqual(['refresh-failed'])
    })

    it('warns at start', () => {
      const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
      onTestFinished(() => warn.mockRestore())

      expect(open({ ttl: 3600, longestSessionTtl: 7200 }).codes()).toEqual(['ttl-too-short'])
      expect(warn).toHaveBeenCalledWith(expect.stringContaining('longestSessionTtl'), {
        code: 'ESV_TTL_TOO_SHORT',
      })
    })
  })

  describe('250 ms to connect, 500 ms a command, 1 retry, breaker after 5 consecutive failures, all configurable.', () => {
    const defaults: LabelOptions = {
      connectTimeoutMs: undefined,
      commandTimeoutMs: undefined,
      retries: undefined,
      breaker: undefined,
    }
    const timed = async (store: LabelStore) => {
      const loop = new EventLoopWatch()
      const startMs = performance.now()
      const error: unknown = await store.load(newSid()).catch((failure: unknown) => failure)
      const endMs = performance.now()
      loop.stop()
      return {
        ms: endMs - startMs,
        runningMs: endMs - startMs - loop.stalledMs(startMs, endMs),
        reason: (error as { reason?: string }).reason,
      }
    }
    // Beyond the time for which this process did not run, timers fire a little late on a machine that is busy.
    const lateMs = 400

    it('by default', async () => {
      const nowhere = open({ ...defaults, connection: { url: `valkey://127.0.0.1:${await freePort()}` } })
      const unconnected = await timed(nowhere.store)
      const { store, proxy } = await proxied(defaults)
      await proxy.set({ kind: 'pause' })
      const unanswered = await timed(store)

      expect(unconnected.reason).toBe('connection')
      expect(unconnected.ms).toBeGreaterThanOrEqual(240)
      expect(unconnected.runningMs).toBeLessThan(250 + lateMs)
      // Whichever is first: our own time limit, or the client's for a silent socket.
      expect(unanswered.reason).toMatch(/^(timeout|connection)$/)
      expect(unanswered.ms).toBeGreaterThanOrEqual(990)
      expect(unanswered.runningMs).toBeLessThan(1050 + lateMs)
    })

    it('as configured', async () => {
      const { store, proxy } = await proxied({ commandTimeoutMs: 50, retries: 0, breaker: false })
      await proxy.set({ kind: 'pause' })

      const { ms, runningMs } = await timed(store)

      expect(ms).toBeGreaterThanOrEqual(45)
      expect(runningMs).toBeLessThan(50 + lateMs)
    })

    it('a breaker opens after 5 failures in a row, and denies at once', async () => {
      const { store, proxy } = await proxied({
        commandTimeoutMs: 60,
        retries: 0,
        breaker: { halfOpenAfterMs: 60_000 },
      })
      const visitor = await gateway(store)
      await proxy.set({ kind: 'pause' })
      const reasons: (string | undefined)[] = []
      // More than 5 only where this process was too busy to look: what it misses then is held against no server.
      await until(async () => reasons.push((await timed(store)).reason) && reasons.at(-1) === 'breaker-open')

      expect(reasons.length).toBeGreaterThan(5)
      expect((await visitor.post('/export')).status).toBe(503)
      visitor.cookie = undefined
      expect((await visitor.post('/export')).status).toBe(200)
    })
  })

  describe('TLS off loopback, ACL user with least privilege, eviction policy and TTL self-checks, operator runbook. Sessionless traffic never touches the store.', () => {
    it('a server off loopback is refused at construction without TLS', () => {
      const configured = (url: string) => () => createLabelStore({ kind: 'valkey', connection: { url } })

      expect(configured('valkey://valkey.invalid:6379')).toThrow(/TLS/)
    })

    it('labels travel by TLS, and to no server whose certificate is not known', async () => {
      const dir = mkdtempSync(join(tmpdir(), 'gateway-store-'))
      const port = await freePort()
      const certificates = await createCertificates()
      const args = [...tlsArguments(dir, port, certificates), '--tls-auth-clients', 'no']
      const secured = await startValkey({ args })
      onTestFinished(() => secured.stop().then(() => rmSync(dir, { recursive: true })))
      const url = `valkeys://127.0.0.1:${port}`
      const sid = newSid()
      const patience = { connectTimeoutMs: 5000, commandTimeoutMs: 5000 }

      const { store } = open({ ...patience, connection: { url, tls: { ca: certificates.authority.cert } } })
      const { store: stranger } = open({ connectTimeoutMs: 100, connection: { url } })

      expect(await store.add(sid, ['pii'])).toEqual(new Set(['pii']))
      await expect(stranger.load(sid)).rejects.toMatchObject({ status: 503 })
      expect(await secured.client().smembers(keyOf(sid))).toEqual(['pii'])
    })

    it('a user with the documented rights can do everything, and without any one of them something fails', async () => {
      const guide = readFileSync('docs/guide/taint-labels.md', 'utf8')
      const rule = /ACL SETUSER labels on >password ([^`]+?)\n```/.exec(guide)?.[1] ?? ''
      const rights = rule.split(/\s+/).filter((right) => right !== '')
      const everything = async (given: readonly string[]) => {
        const username = `labels-${newSid()}`
        await admin.call('ACL', 'SETUSER', username, 'on', '>password', ...given)
        const connection = { url: server.url, username, password: 'password' }
        const { store, alarms } = openValkey(server.url, {
          connection,
          connectTimeoutMs: 200,
          retries: 0,
          ttl: 1,
        })
        try {
          const sid = newSid()
          await store.load(sid)
          await store.add(sid, ['pii'])
          await store.declassify({ sid, labels: ['pii'], actor: { type: 'test' }, reason: 'test' })
          await store.add(sid, ['pii'])
          await store.load(sid, { remembered: ['more'], atLeastMs: 60_000 })
          await store.check()
          return alarms.every(({ code }) => code === 'labels-shrunk')
        } catch {
          return false
        } finally {
          await store.close()
        }
      }
      // Each store sends its scripts in full once only to a server that does not know them.
      const forgetScripts = () => admin.script('FLUSH')

      expect(rights.length).toBeGreaterThan(10)
      await forgetScripts()
      expect(await everything(rights)).toBe(true)
      for (const right of rights.filter((given) => given.startsWith('+') || given.startsWith('~'))) {
        await forgetScripts()
        expect([right, await everything(rights.filter((given) => given !== right))]).toEqual([right, false])
      }
      for (const denied of [
        'KEYS *',
        'FLUSHALL',
        'CONFIG GET *',
        'SCRIPT FLUSH',
        'GET sess:x',
        'SADD other:key x',
        'SET taint:v1:x y',
      ]) {
        const user = server.client({ username: 'labels-denied', password: 'password', lazyConnect: true })
        await admin.call('ACL', 'SETUSER', 'labels-denied', 'on', '>password', ...rights)
        const [command = '', ...args] = denied.split(' ')
        await expect(user.call(command, ...args)).rejects.toThrow('NOPERM')
        user.disconnect()
      }
    })

    it('the eviction policy and the ttl are looked at', async () => {
      vi.spyOn(process, 'emitWarning').mockImplementationOnce(() => {})
      await admin.config('SET', 'maxmemory-policy', 'volatile-ttl')
      onTestFinished(() => admin.config('SET', 'maxmemory-policy', 'noeviction').then(() => {}))
      const { store } = open({ ttl: 1, longestSessionTtl: 2 })

      expect((await store.check()).map(({ code }) => code).sort()).toEqual([
        'eviction-policy',
        'ttl-too-short',
      ])
    })

    it('the runbook is there', () => {
      const guide = readFileSync('docs/guide/taint-labels.md', 'utf8')

      for (const piece of [
        'noeviction',
        'longestSessionTtl',
        'labels-lost',
        'append-failed',
        'Blast radius',
      ]) {
        expect(guide).toContain(piece)
      }
    })

    it('sessionless traffic never touches the store', async () => {
      const { store, codes } = open({
        connection: { url: `valkey://127.0.0.1:${await freePort()}` },
        connectTimeoutMs: 50,
      })
      const visitor = await gateway(store)
      visitor.cookie = undefined

      expect((await visitor.post('/export')).status).toBe(200)
      expect((await visitor.get('/labels')).status).toBe(200)
      expect(codes()).toEqual([])
    })
  })

  describe('Tests on a real server: cross-node union, TTL refresh, noeviction, ACL denial, fail-closed, decode error; a missing server is loud, never a silent pass.', () => {
    it('unions what nodes add at the same time', async () => {
      const nodes = [open().store, open().store, open().store]
      const sid = newSid()
      const labels = Array.from({ length: 60 }, (_, index) => `label-${index}`)

      await Promise.all(labels.map((label, index) => nodes[index % 3]?.add(sid, [label])))

      for (const node of nodes) expect((await node.load(sid)).labels).toEqual(new Set(labels))
    })

    it('runs on a server of our own, and fails where there is none', async () => {
      expect(existsSync(`/proc/${server.pid}`) || process.platform !== 'linux').toBe(true)
      expect(await admin.info('server')).toMatch(/(valkey|redis)_version:\d/)
      const { store, codes } = open({
        connection: { url: `valkey://127.0.0.1:${await freePort()}` },
        connectTimeoutMs: 50,
      })

      await expect(store.load(newSid())).rejects.toMatchObject({ status: 503, reason: 'connection' })
      await expect(store.add(newSid(), ['pii'])).rejects.toMatchObject({ status: 503, reason: 'connection' })
      expect(codes()).toEqual(['load-failed', 'append-failed'])
    })
  })
})
