import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { deniesTaint } from '../../lib/http/labels/taint-gates.ts'
import { placeOf } from '../../lib/labels/label.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { type Observed, openValkey } from '../labels/subjects.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { askRaw, askRawHttp2 } from './raw-exchange.ts'
import { answerHttp2, CANARY, mountPaths, paths, routeOf } from './taint-paths.ts'
import { createTaintApp, type Site, serve, serveHttp2, Visitor } from './taint-site.ts'

const USER = 'gateway'
const RIGHTS =
  '~taint:* resetchannels -@all +scard +smembers +sadd +srem +pttl +pexpire +time +eval +evalsha +info +ping'
const GATE_TIMES = inject('suite') === 'long' ? 100 : 20
const TIMEOUT_MS = 100

let server: ValkeyServer
let other: ValkeyServer
let proxy: FaultProxy
let labels: Observed
let admin: Redis
let site: Site
let http2Site: Site

const sessions = new InProcessStore()

beforeAll(async () => {
  ;[server, other] = await Promise.all([startValkey(), startValkey()])
  proxy = await startFaultProxy(server)
  admin = server.client()
  await admin.call('ACL', 'SETUSER', USER, 'on', '>pass', ...RIGHTS.split(' '))
  // Half open so soon that a test need not wait for the next server to be found.
  const breaker = { failures: 5, halfOpenAfterMs: 50 }
  const connection = { url: proxy.url, username: USER, password: 'pass' }
  labels = openValkey(proxy.url, {
    connection,
    connectTimeoutMs: TIMEOUT_MS,
    commandTimeoutMs: TIMEOUT_MS,
    breaker,
  })
  site = await serve(
    createTaintApp({
      labels: labels.store,
      sessions,
      isGuarded: false,
      routes: (app) => {
        app.post('/export', deniesTaint('unrelated'), (_req, res) => void res.send(CANARY))
        app.get('/public', (_req, res) => void res.send('public'))
        mountPaths(app)
      },
    }),
  )
  http2Site = await serveHttp2({ labels: labels.store, sessions }, answerHttp2)
})

afterAll(async () => {
  await Promise.all([site?.close(), http2Site?.close()])
  await labels?.store.close()
  await proxy?.stop()
  await Promise.all([server?.stop(), other?.stop()])
})

interface Fault {
  readonly fault: string
  begin(visitor: Visitor): Promise<unknown>
  end(): Promise<unknown>
}

const acl = (rule: string) => admin.call('ACL', 'SETUSER', USER, rule)
const config = (name: string, value: string) => admin.config('SET', name, value)
const keyOf = (visitor: Visitor) => placeOf('taint:v1', visitor.sid).key
const network = (fault: Parameters<FaultProxy['set']>[0]): Fault => ({
  fault: `the network: ${fault.kind}`,
  begin: () => proxy.set(fault),
  end: () => proxy.set({ kind: 'pass' }),
})

const outages: readonly Fault[] = [
  network({ kind: 'delay', direction: 'both', ms: 2000 }),
  network({ kind: 'blackhole' }),
  network({ kind: 'drop-reply', times: 1000 }),
  network({ kind: 'reset' }),
  network({ kind: 'refuse' }),
  network({ kind: 'accept-then-close' }),
  network({ kind: 'cut', bytes: 5 }),
  network({ kind: 'pause' }),
  { fault: 'a frozen server', begin: () => server.freeze(), end: () => server.thaw() },
  {
    fault: 'a server that is a replica',
    begin: () => admin.replicaof('127.0.0.1', other.port),
    end: () => admin.replicaof('NO', 'ONE'),
  },
  {
    fault: 'a server without its replicas',
    begin: () => config('min-replicas-to-write', '1'),
    end: () => config('min-replicas-to-write', '0'),
  },
]

const refusedAdds: readonly Fault[] = [
  { fault: 'no right to SADD', begin: () => acl('-sadd'), end: () => acl('+sadd') },
  { fault: 'a full server', begin: () => config('maxmemory', '1'), end: () => config('maxmemory', '0') },
]

const damages: readonly Fault[] = [
  { fault: 'deleted', begin: (visitor) => admin.del(keyOf(visitor)), end: async () => {} },
  {
    fault: 'expired',
    begin: async (visitor) => {
      await admin.pexpire(keyOf(visitor), 1)
      await until(async () => (await admin.exists(keyOf(visitor))) === 0)
    },
    end: async () => {},
  },
  { fault: 'flushed', begin: () => admin.flushall(), end: async () => {} },
  {
    fault: 'of a wrong type',
    begin: async (visitor) => {
      await admin.del(keyOf(visitor))
      await admin.set(keyOf(visitor), 'x')
    },
    end: async () => {},
  },
  {
    fault: 'holding what is no label',
    begin: (visitor) => admin.sadd(keyOf(visitor), 'not a label'),
    end: async () => {},
  },
  {
    fault: 'holding a mark that somebody made up',
    begin: (visitor) => admin.sadd(keyOf(visitor), '!aaaaaaaaaaaaaaaaaaaaaapii'),
    end: async () => {},
  },
  {
    fault: 'far too large',
    begin: (visitor) =>
      admin.sadd(keyOf(visitor), ...Array.from({ length: 10_000 }, (_, index) => `l${index}`)),
    end: async () => {},
  },
]

/** What the client saw of every path, each asked for by a session and by somebody new. */
async function everyPath({ cookie: own }: Visitor): Promise<readonly string[]> {
  const asked = [own, undefined].flatMap((cookie) => [
    ...paths.map(({ name, method, headers }) =>
      askRaw({ port: site.port, path: routeOf(name), method, headers, cookie }),
    ),
    askRawHttp2({ port: http2Site.port, path: '/', cookie }),
  ])
  return (await Promise.all(asked)).map(({ text }) => text)
}

/** Does the work while the fault lasts, for a visitor with a session, labelled or not. */
async function during<Value>(
  fault: Fault,
  work: (visitor: Visitor) => Promise<Value>,
  isLabelled = true,
): Promise<Value> {
  const visitor = new Visitor(site)
  const path = isLabelled ? '/send' : '/labels'
  await visitor.post('/begin')
  await until(async () => (await visitor.get(path)).status === 200, {
    what: 'the store answers again',
    everyMs: 50,
  })
  await fault.begin(visitor)
  labels.alarms.length = 0
  try {
    return await work(visitor)
  } finally {
    await fault.end()
  }
}

const PATHS = paths.length + 1
const statuses = (answers: readonly string[]) =>
  answers.map((answer) => Number(/^HTTP\/1\.1 (\d+)|":status":(\d+)/.exec(answer)?.slice(1).join('')))

describe.each([...outages, ...refusedAdds])('with $fault', (fault) => {
  const isOutage = outages.includes(fault)

  it(`no byte of a handler leaves by ${PATHS} paths, a gate ${isOutage ? `denies ${GATE_TIMES} of ${GATE_TIMES} times` : 'is passed'}, and who has no session is served`, async () => {
    const { answers, gated, anonymous } = await during(
      fault,
      async (visitor) => ({
        answers: await everyPath(visitor),
        gated: await Promise.all(
          Array.from({ length: isOutage ? GATE_TIMES : 0 }, () =>
            new Visitor(site, visitor.cookie).post('/export'),
          ),
        ),
        anonymous: await new Visitor(site).post('/export'),
      }),
      false,
    )

    expect(answers.filter((answer) => answer.includes(CANARY))).toEqual([])
    expect(statuses(answers)).toEqual(Array(2 * PATHS).fill(503))
    expect(answers.filter((answer) => !/retry-after"?: ?"?\d/i.test(answer))).toEqual([])
    expect(gated.map(({ status }) => status)).toEqual(Array(gated.length).fill(503))
    expect(anonymous).toMatchObject({ status: 200, body: CANARY })
  })
})

describe('an outage', () => {
  // Two tries, each with a wait for the connection and one for the reply, and a busy machine.
  const BUDGET_MS = 2 * (2 * TIMEOUT_MS) + 2000

  it.each(outages.filter(({ fault }) => /blackhole|refuse|frozen/.test(fault)))(
    'by $fault holds no request longer than its time limits say, and who has no session is served',
    async (fault) => {
      const slowest = { own: 0, anonymous: 0 }
      const timed = async (visitor: Visitor, who: keyof typeof slowest) => {
        const startMs = performance.now()
        const { status } = await visitor.get('/labels')
        slowest[who] = Math.max(slowest[who], performance.now() - startMs)
        return status
      }

      const statuses = await during(fault, ({ cookie }) =>
        Promise.all([
          ...Array.from({ length: 20 }, () => timed(new Visitor(site, cookie), 'own')),
          ...Array.from({ length: 20 }, () => timed(new Visitor(site), 'anonymous')),
        ]),
      )

      expect(statuses).toEqual([...Array(20).fill(503), ...Array(20).fill(200)])
      expect(slowest.own).toBeLessThan(BUDGET_MS)
      expect(slowest.anonymous).toBeLessThan(BUDGET_MS)
    },
  )
})

describe.each(damages)('with a labelled set $fault', (fault) => {
  it(`a gate denies ${GATE_TIMES} of ${GATE_TIMES} times, whatever it asks for, and anonymous requests are served`, async () => {
    const { gated, anonymous } = await during(fault, async ({ cookie }) => {
      const asked = Array.from({ length: GATE_TIMES }, () => new Visitor(site, cookie).post('/export'))
      const gated = (await Promise.all(asked)).map(({ status, body }) =>
        status === 403 || status === 503 ? 'denied' : body,
      )
      return { gated, anonymous: await new Visitor(site).post('/export') }
    })

    expect(gated).toEqual(Array(GATE_TIMES).fill('denied'))
    expect(anonymous).toMatchObject({ status: 200, body: CANARY })
    // On a busy machine some of the loads are late, and then fail instead.
    expect(labels.codes().length).toBeGreaterThan(0)
    expect(labels.codes().filter((code) => code !== 'labels-lost' && code !== 'load-failed')).toEqual([])
  })
})

describe('an alarm', () => {
  it('of its own tells that labels can be read but not added', async () => {
    const [noRight] = refusedAdds
    if (!noRight) throw new Error('listed above')

    const reply = await during(noRight, (visitor) => visitor.get('/send'), false)

    expect(reply.status).toBe(503)
    expect(labels.alarms).toMatchObject([
      { code: 'append-failed', error: 'ERR_STORE_OUTCOME_UNKNOWN', reason: 'no-permission' },
    ])
  })

  it('never carries an id', async () => {
    const ids: string[] = []
    const [outage] = outages.filter(({ fault }) => fault.includes('refuse'))
    if (!outage) throw new Error('listed above')

    await during(outage, async (visitor) => {
      ids.push(visitor.sid)
      return everyPath(visitor)
    })

    expect(labels.alarms.length).toBeGreaterThan(0)
    expect(ids.filter((id) => JSON.stringify(labels.alarms).includes(id))).toEqual([])
  })
})
