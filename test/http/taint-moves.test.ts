import { AsyncLocalStorage } from 'node:async_hooks'
import { once } from 'node:events'
import type { Express, Request } from 'express'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { StoreUnavailableError } from '../../lib/errors.ts'
import { deniesTaint, taints } from '../../lib/http/labels/taint-gates.ts'
import type { LabelStore } from '../../lib/labels/label-store.ts'
import { openMemory, openValkey } from '../labels/subjects.ts'
import { type StoreKind, storeKinds, ValkeyKind } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { Random } from '../support/random.ts'
import { createTaintApp, type Reply, regenerate, type SiteOptions, serve, Visitor } from './taint-site.ts'

const kinds = storeKinds()
beforeAll(() => Promise.all(kinds.map((kind) => kind.start())))
afterAll(() => Promise.all(kinds.map((kind) => kind.stop())))

/** Lets the verbs of racing requests run one at a time, in an order of its choice. Those of other requests run at once. */
class Turnstile {
  readonly #racer = new AsyncLocalStorage<string>()
  readonly #waiting: { readonly racer: string; readonly run: () => Promise<unknown> }[] = []
  readonly #running = new Set<string>()

  mount = (app: Express) =>
    void app.use((req, _res, next) => {
      const racer = req.get('x-racer')
      if (racer === undefined) next()
      else this.#racer.run(racer, next)
    })

  take<Value>(verb: () => Promise<Value>): Promise<Value> {
    const racer = this.#racer.getStore()
    if (racer === undefined || !this.#running.has(racer)) return verb()
    return new Promise((resolve, reject) => {
      this.#waiting.push({ racer, run: () => verb().then(resolve, reject) })
    })
  }

  async race(
    random: Random,
    racers: Readonly<Record<string, () => Promise<Reply>>>,
  ): Promise<readonly Reply[]> {
    const replies = Object.entries(racers).map(([name, start]) => {
      this.#running.add(name)
      return start().finally(() => {
        this.#running.delete(name)
      })
    })
    while (this.#running.size > 0) {
      await this.#rest()
      const [next] = this.#waiting.splice(random.below(this.#waiting.length), 1)
      await next?.run()
    }
    return Promise.all(replies)
  }

  // Until all wait, or the one that does not waits for another: saves of one session queue up in a process.
  async #rest(): Promise<void> {
    const waits = (name: string) => this.#waiting.some(({ racer }) => racer === name)
    for (let turns = 0; turns < 30 && ![...this.#running].every(waits); turns += 1)
      await new Promise((resolve) => setImmediate(resolve))
  }

  backend(inner: Backend): Backend {
    return wrapBackend(inner, {
      get: (...args) => this.take(() => inner.get(...args)),
      put: (...args) => this.take(() => inner.put(...args)),
      touch: (...args) => this.take(() => inner.touch(...args)),
      end: (...args) => this.take(() => inner.end(...args)),
    })
  }

  labels(inner: LabelStore): LabelStore {
    return {
      load: (...args) => this.take(() => inner.load(...args)),
      add: (...args) => this.take(() => inner.add(...args)),
      declassify: (...args) => inner.declassify(...args),
      check: () => inner.check(),
      close: () => inner.close(),
    }
  }
}

const routes = (app: Express) => {
  app.get('/read', taints('pii'), (req, res) => {
    if (req.query['change'] !== undefined) req.session.note = 'read'
    res.send('PII')
  })
  app.post('/export', deniesTaint('pii'), async (req, res) => {
    app.emit('uploading')
    await bodyOf(req)
    res.send('exported')
  })
  app.post('/renew', async (req, res) => {
    await bodyOf(req)
    const { user } = req.session
    await regenerate(req)
    if (user !== undefined) req.session.user = user
    req.session.note = 'renewed'
    res.end()
  })
  app.post('/sign-in', async (req, res) => {
    await bodyOf(req)
    await regenerate(req)
    req.session.user = req.get('x-user') ?? 'ann'
    res.end()
  })
  app.post('/sign-in-place', async (req, res) => {
    await bodyOf(req)
    req.session.user = req.get('x-user') ?? 'ann'
    res.end()
  })
  app.post('/sign-out-in-place', async (req, res) => {
    await bodyOf(req)
    delete req.session.user
    res.end()
  })
  app.post('/sign-out', async (req, res) => {
    await bodyOf(req)
    await regenerate(req)
    res.end()
  })
}

async function bodyOf(req: Request): Promise<void> {
  // Of a refused request it never comes to its end.
  for await (const _ of req.on('error', () => {}));
}

let opened = 0

async function open(kind: StoreKind, { taint, ...options }: SiteOptions = {}) {
  const observed =
    kind instanceof ValkeyKind ? openValkey(kind.server.url, { prefix: `taint:${opened++}` }) : openMemory()
  const turnstile = new Turnstile()
  const place = kind.place()
  const sessions = place.over(turnstile.backend(place.backend()))
  const app = createTaintApp({
    labels: turnstile.labels(observed.store),
    sessions,
    taint: { ...taint },
    before: turnstile.mount,
    routes,
    ...options,
  })
  const site = await serve(app)
  onTestFinished(async () => {
    await site.close()
    await observed.store.close()
  })
  return { ...observed, app, site, sessions, turnstile }
}

const bySubject = { taint: { subject: (req: Request) => req.session?.user } }
const declassify = async (store: LabelStore, visitor: Visitor) => {
  await visitor.get('/read')
  await store.declassify({ sid: visitor.sid, labels: ['pii'], actor: { type: 'dpo' }, reason: 'reviewed' })
}

interface Move {
  readonly name: string
  readonly path: string
  readonly options?: SiteOptions
  readonly first?: (store: LabelStore, visitor: Visitor, user: string) => Promise<unknown>
}

const moves: readonly Move[] = [
  { name: 'a regenerate, with labels of sessions', path: '/renew' },
  { name: 'a regenerate, after the label was declassified', path: '/renew', first: declassify },
  { name: 'a sign-in with regenerate, with labels of users', path: '/sign-in', options: bySubject },
  { name: 'a sign-in without regenerate, with labels of users', path: '/sign-in-place', options: bySubject },
  {
    name: 'a sign-in without regenerate, after the label was declassified, with labels of users',
    path: '/sign-in-place',
    options: bySubject,
    first: declassify,
  },
  {
    name: 'a sign-out without regenerate, after the label was declassified, with labels of users',
    path: '/sign-out-in-place',
    options: bySubject,
    first: async (store, visitor, user) => {
      await visitor.ask('POST', '/sign-in', { headers: { 'x-user': user } })
      await visitor.get('/read')
      await store.declassify({ subject: user, labels: ['pii'], actor: { type: 'dpo' }, reason: 'reviewed' })
    },
  },
  {
    name: 'a sign-out with regenerate, with labels of users',
    path: '/sign-out',
    options: bySubject,
    first: (_store, visitor, user) => visitor.ask('POST', '/sign-in', { headers: { 'x-user': user } }),
  },
]

describe.each(kinds.map((kind) => ({ where: kind.name, kind })))('$where, labels read beside', ({ kind }) => {
  const rounds = (kind instanceof ValkeyKind ? 8 : 25) * (inject('suite') === 'long' ? 3 : 1)

  it.each(moves)('$name are kept, in whatever order', async ({ path, options, first }) => {
    const { site, store, turnstile } = await open(kind, options)
    const random = new Random(4711)
    const laundered: number[] = []
    for (let round = 0; round < rounds; round += 1) {
      const [visitor, user] = [new Visitor(site), `user-${round}`]
      await visitor.post('/begin')
      await first?.(store, visitor, user)
      const { cookie: old } = visitor
      const reader = new Visitor(site, old)
      const [read, moved] = await turnstile.race(random, {
        read: () => reader.get(round % 2 === 0 ? '/read' : '/read?change', { 'x-racer': 'read' }),
        move: () => visitor.ask('POST', path, { headers: { 'x-racer': 'move', 'x-user': user } }),
      })
      // One that came when the session had ended has got another one.
      const isOfOldSession = reader.cookie === old
      if (!isOfOldSession || read?.status !== 200 || moved?.status !== 200) continue
      if ((await visitor.post('/export')).status === 200) laundered.push(round)
    }

    // How often both succeed is chance; the next test has an order in which they do.
    expect(laundered).toEqual([])
  })

  it.each(moves)('$name and still under way are kept', async ({ path, options, first }) => {
    const { site, store, codes } = await open(kind, options)
    const visitor = new Visitor(site)
    await visitor.post('/begin')
    await first?.(store, visitor, 'ann')
    const reader = new Visitor(site, visitor.cookie)
    const slow = visitor.send('POST', path, { 'transfer-encoding': 'chunked' })
    slow.write('begin ')

    // When this is answered the slow request may have begun or not: it is carried either way.
    expect((await reader.get('/read')).status).toBe(200)
    slow.end('end')
    expect((await visitor.replyTo(slow)).status).toBe(200)

    expect((await visitor.post('/export')).status).toBe(403)
    expect(codes()).toEqual([])
  })

  it.each(moves)(
    '$name cannot be sent off by an upload that began before',
    async ({ path, options, first }) => {
      const { app, site, store } = await open(kind, options)
      const visitor = new Visitor(site)
      await visitor.post('/begin')
      await first?.(store, visitor, 'ann')
      const uploading = new Visitor(site, visitor.cookie)
      const begun = once(app, 'uploading')
      const upload = uploading.send('POST', '/export', { 'transfer-encoding': 'chunked' })
      upload.write('begin ')
      const uploaded = uploading.replyTo(upload)
      await begun

      await visitor.post(path)
      expect((await visitor.get('/read')).status).toBe(200)
      upload.end('PII')

      expect((await uploaded).status).not.toBe(200)
    },
  )
})

describe('a sign-in', () => {
  it('brings what its user has seen to the session, even if that has no labels of its own', async () => {
    const { site, sessions } = await open(kinds[0] as StoreKind, bySubject)
    const [laptop, phone] = [new Visitor(site), new Visitor(site)]
    await laptop.post('/sign-in')
    await laptop.get('/read')

    const { headers } = await phone.post('/sign-in')

    expect(headers['cache-control']).toBe('no-store')
    expect(await sessions.get(phone.sid)).toMatchObject({ tainted: true })
  })

  it.each(moves)(
    'is refused if what the old holder holds cannot be read: $name',
    async ({ path, options, first }) => {
      const { store } = openMemory()
      let isDown = false
      const failing: LabelStore = {
        load: async (...args) => {
          if (isDown) throw new StoreUnavailableError('timeout')
          return store.load(...args)
        },
        add: (...args) => store.add(...args),
        declassify: (...args) => store.declassify(...args),
        check: () => store.check(),
        close: () => store.close(),
      }
      const site = await serve(
        createTaintApp({
          labels: failing,
          routes: (app) => {
            app.post(path, (_req, _res, next) => {
              isDown = true
              next()
            })
            routes(app)
          },
          ...options,
        }),
      )
      onTestFinished(() => site.close())
      const visitor = new Visitor(site)
      await visitor.post('/begin')
      await first?.(store, visitor, 'ann')
      isDown = false

      expect(await visitor.post(path)).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
    },
  )
})
