import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Server } from 'node:http'
import { setTimeout as delay } from 'node:timers/promises'
import { RedisStore } from 'connect-redis'
import express from 'express'
import session, { type SessionData, Store } from 'express-session'
import { createClient, type RedisClientType } from 'redis'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { ValkeyStore } from '../../lib/index.ts'
import { until } from '../support/until.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { jsonOf } from './cli.ts'

const CLIENTS = inject('suite') === 'long' ? 2000 : 200
const WORKERS = 16
const SECRET = randomBytes(32).toString('hex')
const TIMEOUT_MS = 280_000

let valkey: ValkeyServer
let redis: RedisClientType

beforeAll(async () => {
  valkey = await startValkey()
  redis = createClient({ url: `redis://${valkey.host}:${valkey.port}` })
  await redis.connect()
})
afterAll(async () => {
  redis.destroy()
  await valkey.stop()
})

const oldStore = () => new RedisStore({ client: redis, prefix: 'shop:', ttl: 3600 })

const newStore = () =>
  new ValkeyStore({
    connection: { url: valkey.url },
    secrets: [SECRET],
    prefix: 'shop2',
    legacy: { kind: 'connect-redis', prefix: 'shop:', until: new Date(Date.now() + 3_600_000) },
  })

/** As docs/guide/from-connect-redis.md shows it: finds exported sessions, which are named by handles. */
class ReturnedStore extends Store {
  readonly #inner: RedisStore

  constructor(inner: RedisStore) {
    super()
    this.#inner = inner
  }

  override get = (sid: string, done: (error: unknown, session?: SessionData | null) => void) =>
    void this.#inner.get(handle(sid), done)
  override set = (sid: string, data: SessionData, done?: (error?: unknown) => void) =>
    void this.#inner.set(handle(sid), data, done)
  override touch = (sid: string, data: SessionData, done?: () => void) =>
    void this.#inner.touch(handle(sid), data, done)
  override destroy = (sid: string, done?: (error?: unknown) => void) =>
    void this.#inner.destroy(handle(sid), done)
}

function handle(sid: string): string {
  return createHash('sha256').update(sid).digest('base64url')
}

interface Shopping {
  user?: string
  userId?: string
  cart?: number[]
}

/** One process of the app. */
class Node {
  readonly #server: Server
  readonly origin: string

  private constructor(server: Server) {
    this.#server = server
    const { port } = server.address() as { port: number }
    this.origin = `http://127.0.0.1:${port}`
  }

  static async start(store: Store): Promise<Node> {
    const app = express()
    app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false }))
    app.post('/login', (req, res) => {
      const shopping = req.session as Shopping
      shopping.userId = String(req.query['user'])
      shopping.cart = []
      res.json({})
    })
    app.post('/add', (req, res) => {
      const shopping = req.session as Shopping
      shopping.cart = [...(shopping.cart ?? []), 1]
      res.json({ userId: shopping.userId, items: shopping.cart.length })
    })
    const server = app.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return new Node(server)
  }

  /** Serves what it has begun, and no more. */
  async drain(): Promise<void> {
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.#server.closeIdleConnections()
    await closed
  }
}

/** A signed-in client, which knows what must be in its cart. */
class Client {
  readonly user: string
  #cookie = ''
  #items = 0
  requests = 0
  readonly losses: string[] = []

  constructor(user: string) {
    this.user = user
  }

  async signIn(origin: string): Promise<void> {
    const response = await fetch(`${origin}/login?user=${this.user}`, { method: 'POST' })
    this.#cookie = response.headers.getSetCookie()[0]?.split(';')[0] ?? ''
    await response.text()
  }

  async add(origin: string): Promise<void> {
    const headers = { cookie: this.#cookie, connection: 'close' }
    const response = await fetch(`${origin}/add`, { method: 'POST', headers })
    const found = (await response.json()) as { userId?: string; items: number }
    this.#items += 1
    if (found.userId !== this.user || found.items !== this.#items)
      this.losses.push(`${this.user}: ${this.#items} added, ${found.items} found for ${found.userId}`)
    this.#items = found.items
    this.requests += 1
  }
}

/** Clients that shop without a pause, through a balancer that sends each to the node it names; to none, and they wait. */
class Traffic {
  #origins: readonly string[] = []
  #isOver = false
  /** The origins of requests that are under way. */
  readonly #underWay = new Map<Client, string>()
  readonly #clients: readonly Client[]
  readonly #done: Promise<unknown>

  constructor(clients: readonly Client[]) {
    this.#clients = clients
    this.#done = Promise.all(Array.from({ length: WORKERS }, (_, worker) => this.#shop(worker)))
  }

  /** Sends clients to these nodes from their next requests on, and waits until no other node has a request under way. */
  async route(nodes: readonly Node[]): Promise<void> {
    const origins = nodes.map(({ origin }) => origin)
    this.#origins = origins
    const isDrained = () => [...this.#underWay.values()].every((origin) => origins.includes(origin))
    await until(isDrained, { what: 'the other nodes are drained' })
  }

  /** Waits until each client has shopped that often more. */
  async rounds(count: number): Promise<void> {
    const enough = new Map(this.#clients.map((client) => [client, client.requests + count]))
    const isEnough = () => this.#clients.every((client) => client.requests >= (enough.get(client) ?? 0))
    await until(isEnough, { withinMs: 240_000, everyMs: 20, what: 'each client has shopped' })
  }

  async end(): Promise<void> {
    this.#isOver = true
    await this.#done
  }

  async #shop(worker: number): Promise<void> {
    const mine = this.#clients.filter((_, at) => at % WORKERS === worker)
    while (!this.#isOver)
      for (const [at, client] of mine.entries()) {
        while (this.#origins.length === 0 && !this.#isOver) await delay(5)
        const origin = this.#origins[at % this.#origins.length]
        if (origin === undefined) return
        this.#underWay.set(client, origin)
        await client.add(origin)
        this.#underWay.delete(client)
      }
  }
}

describe('An app on connect-redis', () => {
  it('is switched under traffic, node by node, and back: nobody loses a session or an item', {
    timeout: TIMEOUT_MS,
  }, async () => {
    const clients = Array.from({ length: CLIENTS }, (_, at) => new Client(`user-${at}`))
    const [oldA, oldB] = [await Node.start(oldStore()), await Node.start(oldStore())]
    for (let at = 0; at < CLIENTS; at += WORKERS)
      await Promise.all(clients.slice(at, at + WORKERS).map((client) => client.signIn(oldA.origin)))
    const traffic = new Traffic(clients)
    await traffic.route([oldA, oldB])
    await traffic.rounds(1)

    // The first node is replaced while the second serves all; then the second while the new first one does.
    await traffic.route([oldB])
    await oldA.drain()
    const stores = [newStore(), newStore()] as const
    const newA = await Node.start(stores[0])
    await traffic.rounds(1)
    await traffic.route([newA])
    await oldB.drain()
    const newB = await Node.start(stores[1])
    await traffic.route([newA, newB])
    await traffic.rounds(2)

    expect(clients.flatMap(({ losses }) => losses)).toEqual([])
    expect(await redis.keys('shop:*')).toEqual([])
    expect(await stores[0].registry.count('user-0')).toBe(1)

    // Back: what changes between export and start would be lost, so requests wait for as long as that takes.
    await traffic.route([])
    await Promise.all([newA.drain(), newB.drain()])
    const env = { VALKEY_URL: valkey.url, SESSION_KEY: SECRET }
    const words = [
      'export',
      'connect-redis',
      '--prefix',
      'shop2',
      '--to-prefix',
      'shop:',
      '--apply',
      '--rate',
      '100000',
    ]
    expect(await jsonOf(words, env)).toMatchObject({ exported: CLIENTS })
    const [backA, backB] = [
      await Node.start(new ReturnedStore(oldStore())),
      await Node.start(new ReturnedStore(oldStore())),
    ]
    await traffic.route([backA, backB])
    await traffic.rounds(2)
    await traffic.end()

    expect(clients.flatMap(({ losses }) => losses)).toEqual([])
    await Promise.all([backA.drain(), backB.drain(), ...stores.map((store) => store.close())])
  })
})
