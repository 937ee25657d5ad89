import { randomBytes } from 'node:crypto'
import express from 'express'
import session from 'express-session'
import { sessionGuard, type ValkeyStore } from 'express-session-valkey'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { COOKIE_SECRET, listen } from '../store/app.ts'
import { until } from '../support/until.ts'
import { startCluster, startValkey, type ValkeyCluster, type ValkeyServer } from '../support/valkey.ts'
import { browser, POST } from './browser.ts'
import { importCodeOf } from './page.ts'

interface Client {
  disconnect(): void
}

interface Page {
  openRedis(host: string, port: number): Client
  openCluster(nodes: { host: string; port: number }[]): Client
  storeOn(client: Client): ValkeyStore
}

let server: ValkeyServer
let cluster: ValkeyCluster
beforeAll(async () => {
  process.env['SESSION_KEY'] = randomBytes(32).toString('hex')
  ;[server, cluster] = await Promise.all([startValkey(), startCluster()])
})
afterAll(() => Promise.all([server?.stop(), cluster?.stop()]))

describe.each([
  ['ioredis 5', 'ioredis'],
  ['ioredis 6', 'ioredis6'],
])('the code of the guide with %s', (_name, to) => {
  test.each([
    ['Redis', ({ openRedis }: Page) => openRedis(server.host, server.port)],
    [
      'Cluster',
      ({ openCluster }: Page) => openCluster(cluster.primaries.map(({ host, port }) => ({ host, port }))),
    ],
  ])('%s: signs in, lists devices, and signs out everywhere', async (_kind, open) => {
    const page = await importCodeOf<Page>('ioredis', { from: 'ioredis', to })
    const client = open(page)
    const store = page.storeOn(client)
    onTestFinished(async () => {
      await store.close()
      client.disconnect()
    })
    await until(async () => (await store.health()).isReady)
    const app = express()
    app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))
    app.use(sessionGuard({ store }))
    app.post('/sign-in/:user', (req, res) => {
      Object.assign(req.session, { userId: req.params.user })
      res.send('')
    })
    app.get('/', (req, res) => {
      res.json({ ...req.session, cookie: undefined })
    })
    const { origin, close } = await listen(app)
    onTestFinished(close)
    const devices = Array.from({ length: 6 }, () => browser(origin))

    for (const device of devices) expect((await device('/sign-in/ann', POST)).status).toBe(200)
    expect((await Promise.all(devices.map((device) => device('/')))).map(({ body }) => body)).toEqual(
      Array(6).fill('{"userId":"ann"}'),
    )
    expect(await store.registry.list('ann')).toHaveLength(6)
    await store.registry.endAll('ann')

    expect((await Promise.all(devices.map((device) => device('/')))).map(({ body }) => body)).toEqual(
      Array(6).fill('{}'),
    )
  })
})
