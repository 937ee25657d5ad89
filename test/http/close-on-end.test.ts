import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, get, type IncomingMessage, type Server } from 'node:http'
import { connect as connectHttp2, createServer as createHttp2Server, type Http2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { type CloseOnEndOptions, closeOnEnd, InProcessStore } from '../../lib/index.ts'
import { TestClock } from '../support/clock.ts'
import { until } from '../support/until.ts'

const SID = 'a-session-id-of-some-length'
const COOKIE = { originalMaxAge: null }
const servers: Server[] = []

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

async function listen(server: Server): Promise<number> {
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function storeWithSession(clock = new TestClock()): Promise<InProcessStore> {
  const store = new InProcessStore({ clock, ttl: 60 })
  await store.set(SID, Object.assign({ cookie: COOKIE }, { userId: 'alice' }))
  return store
}

/** The same store as an object that no class of this module has made, as a store of the CommonJS build is. */
function ofAnotherClass({ registry }: InProcessStore): CloseOnEndOptions['store'] {
  return { registry } as CloseOnEndOptions['store']
}

async function openSocket(store: InProcessStore): Promise<WebSocket> {
  const server = createServer()
  const sockets = new WebSocketServer({ server })
  sockets.on('connection', (connection) => closeOnEnd({ store, target: { sid: SID }, connection }))
  const socket = new WebSocket(`ws://127.0.0.1:${await listen(server)}`)
  await once(socket, 'open')
  return socket
}

async function openStream(store: InProcessStore): Promise<IncomingMessage> {
  const server = createServer((_req, res) => {
    res.writeHead(200, { 'Content-Type': 'text/event-stream' })
    res.write('data: hello\n\n')
    closeOnEnd({ store, target: { userId: 'alice' }, connection: res })
  })
  const [response] = (await once(get({ port: await listen(server), host: '127.0.0.1' }), 'response')) as [
    IncomingMessage,
  ]
  response.resume()
  return response
}

/** Each kind of connection, closed by its client. */
const gone: Readonly<Record<string, () => Promise<CloseOnEndOptions['connection']>>> = {
  WebSocket: async () => {
    const server = createServer()
    const opened = once(new WebSocketServer({ server }), 'connection')
    const client = new WebSocket(`ws://127.0.0.1:${await listen(server)}`)
    const [[connection]] = await Promise.all([opened, once(client, 'open')])
    client.close()
    await once(connection, 'close')
    return connection
  },
  'response of HTTP/1.1': async () => {
    const server = createServer()
    const asked = once(server, 'request')
    const client = get({ port: await listen(server), host: '127.0.0.1' }).on('error', () => {})
    const [, connection] = await asked
    client.destroy()
    await once(connection, 'close')
    return connection
  },
  'response of HTTP/2': async () => {
    const server: Http2Server = createHttp2Server().listen(0, '127.0.0.1')
    onTestFinished(() => void server.close())
    await once(server, 'listening')
    const asked = once(server, 'request')
    const client = connectHttp2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
    client.request({ ':path': '/' }).on('error', () => {})
    const [, connection] = await asked
    client.destroy()
    await once(connection, 'close')
    return connection
  },
}

describe('closeOnEnd', () => {
  test('closes a WebSocket with code 4401 and the reason when its session ends', async () => {
    const store = await storeWithSession()
    const socket = await openSocket(store)

    const closed = once(socket, 'close')
    await store.registry.end({ sid: SID }, { reason: 'banned' })

    const [code, reason] = await closed
    expect([code, String(reason)]).toEqual([4401, 'banned'])
  })

  test('lets a connection live, by an id that looks like a handle, until its session ends', async () => {
    const store = new InProcessStore()
    const sid = randomBytes(32).toString('base64url')
    await store.set(sid, Object.assign({ cookie: COOKIE }, { userId: 'alice' }))
    const closes: unknown[] = []
    const connection = { close: (_code: number, reason: string) => closes.push(reason), once: () => {} }
    closeOnEnd({ store, target: { sid }, connection })

    await store.registry.end({ sid }, { reason: 'banned' })

    await until(() => closes.length > 0)
    expect(closes).toEqual(['banned'])
  })

  test('closes at once what opens after the session has ended', async () => {
    const store = await storeWithSession()
    await store.destroy(SID)

    const server = createServer()
    new WebSocketServer({ server }).on('connection', (connection) =>
      closeOnEnd({ store, target: { sid: SID }, connection }),
    )
    const socket = new WebSocket(`ws://127.0.0.1:${await listen(server)}`)

    const [code, reason] = await once(socket, 'close')
    expect([code, String(reason)]).toEqual([4401, 'logout'])
  })

  test('ends a stream of server-sent events when any session of its user ends', async () => {
    const store = await storeWithSession()
    const response = await openStream(store)

    const ended = once(response, 'end')
    await store.registry.endAll('alice')

    await ended
    expect(response.complete).toBe(true)
  })

  test('closes when the session expires', async () => {
    const clock = new TestClock()
    const store = new InProcessStore({ clock, ttl: 0.05 })
    await store.set(SID, Object.assign({ cookie: COOKIE }, { userId: 'alice' }))
    const socket = await openSocket(store)

    const closed = once(socket, 'close')
    clock.advance(1000)

    const [code, reason] = await closed
    expect([code, String(reason)]).toEqual([4401, 'expired'])
  })

  test.each([
    ['not yet stored', async () => {}],
    [
      'expired before',
      async (store: InProcessStore, clock: TestClock) => {
        await store.set(SID, Object.assign({ cookie: COOKIE }, { userId: 'alice' }))
        clock.advance(61_000)
      },
    ],
  ])('closes at once, with the reason unknown, for a session that is %s', async (_, prepare) => {
    const clock = new TestClock()
    const store = new InProcessStore({ clock, ttl: 60 })
    await prepare(store, clock)
    const socket = await openSocket(store)

    const [code, reason] = await once(socket, 'close')

    expect([code, String(reason)]).toEqual([4401, 'unknown'])
  })

  test.each([
    [
      'throws',
      () => {
        throw new Error('no')
      },
    ],
    ['rejects', () => Promise.reject(new Error('no'))],
  ])('cuts a connection whose close %s, and tells of it by a warning', async (_, fail) => {
    const store = await storeWithSession()
    const warned = once(process, 'warning')
    const cuts: string[] = []
    const listeners = { once: () => {} }
    closeOnEnd({
      store,
      target: { sid: SID },
      connection: { ...listeners, close: fail, terminate: () => cuts.push('terminated') },
    })
    closeOnEnd({
      store,
      target: { sid: SID },
      connection: { ...listeners, end: fail, destroy: () => cuts.push('destroyed') },
    })
    closeOnEnd({ store, target: { sid: SID }, connection: { ...listeners, close: fail, terminate: fail } })

    await store.destroy(SID)

    await until(() => cuts.length === 2)
    expect(cuts.toSorted()).toEqual(['destroyed', 'terminated'])
    expect(await warned).toMatchObject([{ name: 'SessionConnectionWarning' }])
  })

  test('takes a store of the package’s other module format', async () => {
    const store = await storeWithSession()
    const closes: unknown[] = []
    closeOnEnd({
      store: ofAnotherClass(store),
      target: { sid: SID },
      connection: { close: (code, reason) => closes.push([code, reason]), once: () => {} },
    })

    await store.destroy(SID)

    await until(() => closes.length > 0)
    expect(closes).toEqual([[4401, 'logout']])
  })

  test('leaves the connection alone once it is told to stop', async () => {
    const store = await storeWithSession()
    const closes: unknown[] = []
    const connection = { close: (code: number) => closes.push(code), once: () => {} }
    const witness = closeOnEnd({
      store,
      target: { sid: SID },
      connection: { ...connection, close: () => closes.push('witness') },
    })

    const stop = closeOnEnd({ store, target: { sid: SID }, connection })
    stop()
    await store.destroy(SID)

    await until(() => closes.length > 0)
    expect(closes).toEqual(['witness'])
    witness()
  })

  test('stops watching when the connection closes first', async () => {
    const store = await storeWithSession()
    let onClose = () => {}
    const closes: unknown[] = []
    closeOnEnd({
      store,
      target: { sid: SID },
      connection: { close: (code) => closes.push(code), once: (_event, listener) => (onClose = listener) },
    })

    onClose()
    await store.destroy(SID)

    await store.registry.watch({ sid: SID }).ended
    expect(closes).toEqual([])
  })

  test.each(Object.entries(gone))('does not watch for a %s that has closed before', async (_, open) => {
    const store = await storeWithSession()
    const connection = await open()
    const watched: (AbortSignal | undefined)[] = []
    const registry = {
      watch: (...[target, options]: Parameters<typeof store.registry.watch>) => {
        watched.push(options?.signal)
        return store.registry.watch(target, options)
      },
    }
    const ends = vi.spyOn(connection as { end(): unknown }, connection.close ? ('close' as 'end') : 'end')

    closeOnEnd({ store: { registry } as InProcessStore, target: { userId: 'alice' }, connection })

    expect(watched.map((signal) => signal?.aborted)).toEqual([true])
    await store.destroy(SID)
    await store.registry.watch({ sid: SID }).ended
    expect(ends).not.toHaveBeenCalled()
  })

  test.each([
    ['no options', undefined, /"options"/],
    ['no connection', { store: new InProcessStore(), target: { sid: SID } }, /"connection"/],
    [
      'an unknown option',
      { store: new InProcessStore(), target: { sid: SID }, connection: { close() {}, once() {} }, sid: SID },
      /"sid"/,
    ],
    [
      'a store that is none',
      { store: {}, target: { sid: SID }, connection: { close() {}, once() {} } },
      /"store"/,
    ],
    [
      'a connection that cannot be closed',
      { store: new InProcessStore(), target: { sid: SID }, connection: { once() {} } },
      /"connection"/,
    ],
    [
      'a connection without events',
      { store: new InProcessStore(), target: { sid: SID }, connection: { close() {} } },
      /"connection.once"/,
    ],
  ])('fails at once with %s', (_, options, message) => {
    expect(() => closeOnEnd(options as unknown as Parameters<typeof closeOnEnd>[0])).toThrow(message)
  })
})
