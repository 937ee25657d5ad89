import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type RequestHandler } from 'express'
import session from 'express-session'
import { InProcessStore, type SessionStore, sessionGuard, ValkeyStore } from 'express-session-valkey'
import { Server } from 'socket.io'
import { io, type Socket } from 'socket.io-client'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import { COOKIE_SECRET } from '../store/app.ts'
import { ValkeyServer } from '../support/valkey.ts'
import { browser, POST } from './browser.ts'
import { importCodeOf } from './page.ts'

const { shareSessions } = await importCodeOf<{
  shareSessions(io: Server, sessions: RequestHandler, store: SessionStore): void
}>('Socket.IO')

let valkey: ValkeyServer
beforeAll(async () => {
  valkey = await ValkeyServer.start()
})
afterAll(() => valkey?.stop())

/** An app whose pages and sockets have one session, as the guide puts them together. */
async function serve(store: SessionStore) {
  const sessions = session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false })
  const app = express().use(sessions, sessionGuard({ store }))
  app.post('/sign-in/:user', (req, res) => {
    Object.assign(req.session, { userId: req.params.user })
    res.send('')
  })
  app.post('/set/:key', (req, res) => {
    Object.assign(req.session, { [req.params.key]: true })
    res.send('')
  })
  app.get('/', (req, res) => {
    const { cookie: _, ...content } = { ...req.session } as Record<string, unknown>
    res.json(content)
  })
  const server = createServer(app)
  const sockets = new Server(server)
  shareSessions(sockets, sessions, store)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  onTestFinished(async () => {
    await sockets.close()
    await store.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

function onValkey(url = valkey.url): ValkeyStore {
  return new ValkeyStore({
    connection: { url },
    secrets: [randomBytes(32)],
    prefix: randomBytes(6).toString('hex'),
    connectTimeoutMs: 2000,
    commandTimeoutMs: 2000,
  })
}

function open(origin: string, cookie: string, transport = 'websocket'): Socket {
  const client = io(origin, {
    transports: [transport],
    reconnection: false,
    extraHeaders: { cookie },
  })
  onTestFinished(() => void client.close())
  return client
}

/** What comes of opening it: `connect`, `connect_error`, or the reason for which it was closed. */
function outcomeOf(client: Socket): Promise<string> {
  return new Promise((resolve) => {
    client.once('connect', () => resolve('connect'))
    client.once('connect_error', () => resolve('connect_error'))
  })
}

const closing = (client: Socket) =>
  new Promise<string>((resolve) => {
    client.once('disconnect', resolve)
  })

async function signedIn(origin: string) {
  const ann = browser(origin)
  await ann('/sign-in/ann', POST)
  return ann
}

const CLOSED_BY_SERVER = 'io server disconnect'

describe.each(['websocket', 'polling'])('a Socket.IO client that uses %s', (transport) => {
  test.each([
    ['in process', () => new InProcessStore()],
    ['on Valkey', onValkey],
  ])('has the session of the page, and saves from a handler, with sessions %s', async (_where, make) => {
    const origin = await serve(make())
    const ann = await signedIn(origin)
    const client = open(origin, ann.cookie(), transport)
    expect(await outcomeOf(client)).toBe('connect')

    expect(await client.emitWithAck('add', 'hat')).toEqual({ items: ['hat'] })
    await ann('/set/seen', POST)
    expect(await client.emitWithAck('add', 'coat')).toEqual({ items: ['hat', 'coat'] })

    expect(JSON.parse((await ann('/')).body)).toEqual({ userId: 'ann', items: ['hat', 'coat'], seen: true })
  })

  test('is closed at once without a sign-in', async () => {
    const origin = await serve(onValkey())
    const client = open(origin, '', transport)

    expect(await closing(client)).toBe(CLOSED_BY_SERVER)
  })

  test('is closed when its session ends elsewhere', async () => {
    const store = onValkey()
    const origin = await serve(store)
    const client = open(origin, (await signedIn(origin)).cookie(), transport)
    await outcomeOf(client)
    const closed = closing(client)

    await store.registry.endAll('ann')

    expect(await closed).toBe(CLOSED_BY_SERVER)
  })

  test('fails to connect during an outage, and learns of a save that fails', async () => {
    const own = await ValkeyServer.start()
    onTestFinished(() => own.stop())
    const origin = await serve(onValkey(own.url))
    const ann = await signedIn(origin)
    const client = open(origin, ann.cookie(), transport)
    expect(await outcomeOf(client)).toBe('connect')

    await own.kill()

    expect(await outcomeOf(open(origin, ann.cookie(), transport))).toBe('connect_error')
    // A client that polls is refused by the session of its next request.
    if (transport === 'websocket')
      expect(await client.emitWithAck('add', 'hat')).toEqual({ error: 'ERR_STORE_UNAVAILABLE' })
  })
})
