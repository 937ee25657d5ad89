import { once } from 'node:events'
import { createServer, request, ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Express, Request } from 'express'
import session, { MemoryStore } from 'express-session'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { deniesTaint } from '../../lib/http/labels/taint-gates.ts'
import { taintLabels, taintOf } from '../../lib/http/labels/taint-labels.ts'
import type { LabelStore } from '../../lib/labels/label-store.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { openMemory, openValkey } from '../labels/subjects.ts'
import { type StoreKind, storeKinds, ValkeyKind } from '../store/stores.ts'
import { createTaintApp, frameworks, serve, Visitor } from './taint-site.ts'

interface Stores {
  readonly sessions: SessionStore
  readonly labels: LabelStore
}

/** One way in which a session comes with a request, and what the client sends for it. */
interface Arrival {
  readonly name: string
  readonly session?: { readonly name?: string }
  readonly before?: (app: Express, stores: Stores) => unknown
  readonly headers: (cookie: string, sid: string) => Readonly<Record<string, string>>
}

const percentEncoded = (text: string) =>
  [...text].map((letter) => `%${letter.charCodeAt(0).toString(16)}`).join('')
const contentOf = (cookie: string) => cookie.slice(cookie.indexOf('=') + 1)
const encoded = (cookie: string, encode: (value: string) => string) =>
  `connect.sid=${encode(decodeURIComponent(contentOf(cookie)))}`
const withHeader = (pick: (sid: string) => object) => (app: Express) =>
  void app.use((req, _res, next) => {
    Object.assign(req, pick(req.get('x-sid') ?? ''))
    next()
  })
const bearer =
  (load: (req: Request, store: SessionStore, sid: string) => Promise<unknown>) =>
  (app: Express, { sessions }: Stores) =>
    void app.use(async (req, _res, next) => {
      const sid = req.get('authorization')?.slice('Bearer '.length)
      if (sid !== undefined) await load(req, sessions, sid)
      next()
    })

const arrivals: readonly Arrival[] = [
  { name: 'by its cookie as it was set', headers: (cookie) => ({ cookie }) },
  {
    name: 'by a cookie of which one letter is percent-encoded',
    headers: (cookie) => ({
      cookie: encoded(
        cookie,
        (value) => percentEncoded(value.slice(0, 3)) + encodeURIComponent(value.slice(3)),
      ),
    }),
  },
  {
    name: 'by a cookie that is percent-encoded all over',
    headers: (cookie) => ({ cookie: encoded(cookie, percentEncoded) }),
  },
  {
    name: 'by a cookie in quotes, encoded',
    headers: (cookie) => ({ cookie: encoded(cookie, (value) => `"${percentEncoded(value)}"`) }),
  },
  {
    name: 'by the first of two cookies of one name',
    headers: (cookie) => ({ cookie: `a=b; ${encoded(cookie, percentEncoded)}; connect.sid=s%3Aother.AAAA` }),
  },
  {
    name: 'by a cookie of another name',
    session: { name: 'my app' },
    headers: (cookie) => ({
      cookie: `my app=${encoded(cookie, percentEncoded).slice('connect.sid='.length)}`,
    }),
  },
  {
    name: 'by what cookie-parser found',
    before: withHeader((sid) => ({ signedCookies: { 'connect.sid': sid || undefined } })),
    headers: (_cookie, sid) => ({ 'x-sid': sid }),
  },
  {
    name: 'by a token, through get and createSession',
    before: bearer(async (req, store, sid) => {
      const data = await store.get(sid)
      Object.assign(req, { sessionID: sid, sessionStore: store })
      if (data) store.createSession(req, data)
    }),
    headers: (_cookie, sid) => ({ authorization: `Bearer ${sid}` }),
  },
  {
    name: 'by a token, through load',
    before: bearer(async (req, store, sid) => {
      const loaded = await new Promise((resolve) => store.load(sid, (_error, found) => resolve(found)))
      Object.assign(req, { sessionID: sid, sessionStore: store, session: loaded })
    }),
    headers: (_cookie, sid) => ({ authorization: `Bearer ${sid}` }),
  },
]

const kinds = storeKinds()
beforeAll(() => Promise.all(kinds.map((kind) => kind.start())))
afterAll(() => Promise.all(kinds.map((kind) => kind.stop())))

function open(kind: StoreKind): Stores {
  const { store } = kind instanceof ValkeyKind ? openValkey(kind.server.url) : openMemory()
  onTestFinished(() => store.close())
  return { sessions: kind.place().share(), labels: store }
}

const routes = (app: Express) => {
  app.post('/export', deniesTaint('pii'), (_req, res) => void res.send('exported'))
  app.post('/check', async (req, res) => {
    const { session: own } = req
    own.note = 'something'
    await taintOf(req).check()
    res.json([...(await taintOf(req).check())])
  })
}

async function exportOf(app: Express, headers: Readonly<Record<string, string>>): Promise<number> {
  const site = await serve(app)
  onTestFinished(() => site.close())
  return (await new Visitor(site).ask('POST', '/export', { headers })).status
}

describe.each(frameworks)('a labelled session on $framework', ({ express }) => {
  describe.each(kinds.map((kind) => ({ where: kind.name, kind })))('$where', ({ kind }) => {
    it.each(arrivals)('is known when it comes $name', async ({ headers, before, session: options }) => {
      const stores = open(kind)
      const terms = { express, ...stores, routes, session: { ...options } }
      const app = createTaintApp({
        ...terms,
        before: (made) => before?.(made, stores),
      })
      const plain = await serve(createTaintApp({ ...terms, session: {} }))
      onTestFinished(() => plain.close())
      const visitor = new Visitor(plain)
      await visitor.post('/begin')
      const { cookie = '', sid } = visitor

      expect(await exportOf(app, headers(cookie, sid))).toBe(200)
      // By another process, so that the session itself knows nothing of it.
      await stores.labels.add(sid, ['pii'])
      expect(await exportOf(app, headers(cookie, sid))).toBe(403)
    })
  })

  it('is known on an upgrade request', async () => {
    const { store: labels } = openMemory()
    const app = createTaintApp({ express, labels, routes, isGuarded: false })
    const server = createServer(app)
    server.on('upgrade', (req, socket) => {
      const res = new ServerResponse(req)
      res.assignSocket(socket as never)
      app(req as never, res as never)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => void server.close())
    const { port } = server.address() as AddressInfo
    const visitor = new Visitor({ port })
    await visitor.post('/begin')
    await labels.add(visitor.sid, ['pii'])
    const cookie = encoded(visitor.cookie ?? '', percentEncoded)

    const sent = request({
      host: '127.0.0.1',
      port,
      method: 'POST',
      path: '/export',
      headers: { cookie, connection: 'upgrade', upgrade: 'websocket' },
    }).end()
    const [response] = await once(sent, 'response')
    response.destroy()

    expect(response.statusCode).toBe(403)
  })

  it('is asked for once the request has given it content, as others may know its id from then on', async () => {
    const { store: labels } = openMemory()
    let loads = 0
    const counting: LabelStore = {
      ...labelsOf(labels),
      load: (...args) => {
        loads += 1
        return labels.load(...args)
      },
    }
    const site = await serve(createTaintApp({ express, labels: counting, routes }))
    onTestFinished(() => site.close())

    await new Visitor(site).post('/export')
    expect(loads).toBe(0)
    await new Visitor(site).post('/check')
    expect(loads).toBeGreaterThan(0)
  })

  it('that has expired is nobody’s, and its cookie makes nobody known', async () => {
    const { store: labels } = openMemory()
    const sessions = new InProcessStore()
    const site = await serve(createTaintApp({ express, labels, sessions, routes }))
    onTestFinished(() => site.close())
    const visitor = new Visitor(site)
    await visitor.post('/begin')
    await labels.add(visitor.sid, ['pii'])
    await sessions.destroy(visitor.sid)

    expect((await visitor.post('/export')).status).toBe(200)
  })

  it.each<[string, (sessions: SessionStore) => (app: Express) => unknown]>([
    [
      'of another store',
      () => (app) =>
        app.use(
          session({
            store: new MemoryStore(),
            secret: 'keyboard cat',
            resave: false,
            saveUninitialized: false,
          }),
        ),
    ],
    [
      'made of a copy of what was loaded',
      (sessions) => (app) =>
        app.use(async (req, _res, next) => {
          const sid = req.get('x-sid')
          Object.assign(req, { sessionID: sid, sessionStore: sessions })
          const data = sid === undefined ? null : await sessions.get(sid)
          if (data) sessions.createSession(req, { ...data })
          next()
        }),
    ],
  ])('%s is refused, as what it remembers is not known', async (_, before) => {
    const sessions = new InProcessStore()
    const { store: labels } = openMemory()
    const site = await serve(createTaintApp({ express, labels, sessions, routes }))
    onTestFinished(() => site.close())
    const visitor = new Visitor(site)
    await visitor.post('/begin')

    const app = createTaintApp({
      express,
      labels,
      sessions,
      routes,
      isGuarded: false,
      before: before(sessions),
      taint: { onStoreError: () => 'continue' },
    })
    expect(await exportOf(app, { 'x-sid': visitor.sid })).toBe(500)
  })
})

function labelsOf(store: LabelStore): LabelStore {
  return {
    load: (...args) => store.load(...args),
    add: (...args) => store.add(...args),
    declassify: (...args) => store.declassify(...args),
    check: () => store.check(),
    close: () => store.close(),
  }
}

describe('what a label store of the app’s own answers', () => {
  const garbage: readonly [string, Partial<LabelStore>][] = [
    ['nothing to a load', { load: async () => undefined as never }],
    [
      'a load with a word for its state',
      { load: async () => ({ state: 'fine', labels: new Set() }) as never },
    ],
    ['a load with a list', { load: async () => ({ state: 'stored', labels: ['x'] }) as never }],
    [
      'a load with what are no labels',
      { load: async () => ({ state: 'stored', labels: new Set([7]) }) as never },
    ],
    [
      'a load with declassified text',
      { load: async () => ({ state: 'stored', labels: new Set(), declassified: 'pii' }) as never },
    ],
  ]
  const badAdds: readonly [string, Partial<LabelStore>][] = [
    ['nothing to an add', { add: async () => undefined }],
    ['an add with an empty set', { add: async () => new Set() }],
    ['an add with a list', { add: async () => ['pii'] as never }],
  ]

  const visitTo = async (answers: Partial<LabelStore>) => {
    const labels = { ...labelsOf(openMemory().store), ...answers }
    const app = createTaintApp({
      labels,
      routes: (made) => {
        routes(made)
        made.get('/read', async (req, res) => {
          await taintOf(req)
            .add('pii')
            .catch(() => {})
          res.send('CANARY')
        })
      },
    })
    const site = await serve(app)
    onTestFinished(() => site.close())
    const visitor = new Visitor(site)
    await visitor.post('/begin')
    return visitor
  }

  it.each(garbage)('%s: no gate is passed', async (_, answers) => {
    expect(await (await visitTo(answers)).post('/export')).toMatchObject({ status: 503 })
  })

  it.each(badAdds)('%s: no byte of the handler leaves', async (_, answers) => {
    const { status, body } = await (await visitTo(answers)).get('/read')
    expect({ status, body }).toMatchObject({ status: 503 })
    expect(body).not.toContain('CANARY')
  })

  it('that forgets what sessions remember counts as lost', async () => {
    const sessions = new InProcessStore()
    const site = await serve(
      createTaintApp({
        sessions,
        routes: (app) =>
          app.get(
            '/read',
            (req, res) =>
              void taintOf(req)
                .add('secret')
                .then(() => res.end()),
          ),
      }),
    )
    onTestFinished(() => site.close())
    const visitor = new Visitor(site)
    await visitor.get('/read')
    const labels = labelsOf(openMemory().store)
    const forgetful = await serve(
      createTaintApp({
        sessions,
        labels: { ...labels, load: async () => ({ state: 'empty', labels: new Set() }) },
        routes,
      }),
    )
    onTestFinished(() => forgetful.close())

    expect((await new Visitor(forgetful, visitor.cookie).post('/export')).status).toBe(403)
  })

  it.each([null, '', 7, {}, Promise.resolve('ann')])(
    'a subject %o is an error that names the option',
    async (subject) => {
      const site = await serve(createTaintApp({ routes, taint: { subject: () => subject as never } }))
      onTestFinished(() => site.close())

      const { status, body } = await new Visitor(site).post('/export')
      expect(status).toBe(500)
      expect(body).toContain('&quot;subject&quot;')
    },
  )

  it('of taintLabels mounted twice with different label stores is an error', async () => {
    const site = await serve(
      createTaintApp({ routes: (app) => void app.use(taintLabels({ store: openMemory().store })) }),
    )
    onTestFinished(() => site.close())

    expect((await new Visitor(site).get('/elsewhere')).body).toContain('mounted twice')
  })
})
