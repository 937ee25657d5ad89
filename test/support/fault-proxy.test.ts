import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Redis, RedisOptions } from 'iovalkey'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts'
import { until } from './until.ts'
import { startValkey, type ValkeyServer } from './valkey.ts'

const INCR = '*2\r\n$4\r\nincr\r\n$1\r\nn\r\n'
const ONCE: RedisOptions = { maxRetriesPerRequest: 0, enableOfflineQueue: true, retryStrategy: () => 20 }

let server: ValkeyServer
let direct: Redis
let proxy: FaultProxy

beforeAll(async () => {
  server = await startValkey()
  direct = server.client()
})
afterAll(() => server.stop())

beforeEach(async () => {
  await direct.flushall()
  proxy = await startFaultProxy(server)
})
afterEach(() => proxy.stop())

async function throughProxy(options: RedisOptions = {}): Promise<Redis> {
  const client = server.client({ ...ONCE, port: proxy.port, ...options })
  await client.ping()
  return client
}

async function rawSocket(): Promise<Socket> {
  const socket = connect(proxy.port, '127.0.0.1')
  socket.on('error', () => undefined)
  await once(socket, 'connect')
  return socket
}

/** All that a socket receives until it ends, and how it ended. */
async function receive(socket: Socket): Promise<{ text: string; code: string | undefined }> {
  let text = ''
  let code: string | undefined
  socket.on('data', (chunk) => {
    text += chunk
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    code = error.code
  })
  await once(socket, 'close').catch(() => undefined)
  return { text, code }
}

describe('A fault proxy', () => {
  it('passes commands and replies on, and counts them', async () => {
    const client = await throughProxy()

    await client.set('key', 'x'.repeat(200_000))

    expect(await client.get('key')).toHaveLength(200_000)
    expect(proxy.counts.connections).toBe(1)
    expect(proxy.counts.requestBytes).toBeGreaterThan(200_000)
    expect(proxy.counts.replyBytes).toBeGreaterThan(200_000)
  })

  it('ends the connection to the server when the client goes', async () => {
    const client = await throughProxy({ connectionName: 'leaver' })
    expect(String(await direct.client('LIST'))).toContain('name=leaver')

    client.disconnect()

    await until(async () => !String(await direct.client('LIST')).includes('name=leaver'))
    await until(() => proxy.open === 0)
  })

  it.each(['request', 'reply'] as const)(
    'delays each %s by that long, in order, and not by more for each',
    async (direction) => {
      const client = await throughProxy()
      await proxy.set({ kind: 'delay', direction, ms: 1000 })
      const began = performance.now()
      const before = proxy.counts.requestBytes
      const replies = []
      for (let sent = 1; sent <= 3; sent++) {
        replies.push(client.incr('n'))
        // So that each is a packet of its own.
        await until(() => proxy.counts.requestBytes >= before + sent * INCR.length, { everyMs: 1 })
      }
      const answers = await Promise.all(replies)

      const tookMs = performance.now() - began
      expect(answers).toEqual([1, 2, 3])
      expect(tookMs).toBeGreaterThanOrEqual(999)
      expect(tookMs).toBeLessThan(2900)
    },
  )

  it('delays requests before they are applied, and replies after', async () => {
    const client = await throughProxy()
    await proxy.set({ kind: 'delay', direction: 'reply', ms: 200 })
    const reply = client.set('key', 'value')

    await until(async () => (await direct.get('key')) === 'value', { withinMs: 190, everyMs: 5 })

    expect(await reply).toBe('OK')
  })

  it('swallows everything as a black hole, and resets what lost bytes when that ends', async () => {
    const client = await throughProxy()
    await proxy.set({ kind: 'blackhole' })
    const lost = client.set('key', 'value').then(
      () => 'applied',
      () => 'failed',
    )
    const opened = await rawSocket()
    opened.write('PING\r\n')
    await until(() => proxy.counts.connections === 2)
    expect(await Promise.race([lost, new Promise((resolve) => setTimeout(resolve, 100))])).toBeUndefined()

    await proxy.set({ kind: 'pass' })

    expect(await lost).toBe('failed')
    expect(await direct.get('key')).toBeNull()
    expect(await client.ping()).toBe('PONG')
    expect(opened.destroyed || (await receive(opened)).code === 'ECONNRESET').toBe(true)
  })

  it('drops a reply after its request was applied, and resets the connection', async () => {
    const client = await throughProxy()
    await proxy.set({ kind: 'drop-reply' })

    await expect(client.incr('n')).rejects.toThrow()

    expect(await direct.get('n')).toBe('1')
    expect(proxy.counts.droppedReplies).toBe(1)
    expect(await client.incr('n')).toBe(2)
  })

  it('drops the replies of picked requests only, and as many as told', async () => {
    const client = await throughProxy()
    await proxy.set({ kind: 'drop-reply', times: 2, when: (request) => request.includes('incr') })

    expect(await client.set('key', 'value')).toBe('OK')
    await expect(client.incr('n')).rejects.toThrow()
    expect(await client.get('key')).toBe('value')
    await expect(client.incr('n')).rejects.toThrow()

    expect(await client.incr('n')).toBe(3)
  })

  it('resets open connections and new ones', async () => {
    const open = await rawSocket()
    await until(() => proxy.open === 1)
    const ended = receive(open)

    await proxy.set({ kind: 'reset' })

    expect((await ended).code).toBe('ECONNRESET')
    const next = connect(proxy.port, '127.0.0.1')
    expect((await receive(next)).code).toBe('ECONNRESET')
  })

  it('refuses connections, and takes them again', async () => {
    const client = await throughProxy()
    await proxy.set({ kind: 'refuse' })
    const refused = connect(proxy.port, '127.0.0.1')
    const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException]

    await proxy.set({ kind: 'pass' })

    expect(error.code).toBe('ECONNREFUSED')
    await until(async () => (await client.ping().catch(() => '')) === 'PONG')
  })

  it('accepts connections and closes them in order', async () => {
    await proxy.set({ kind: 'accept-then-close' })

    const { text, code } = await receive(await rawSocket())

    expect(text).toBe('')
    expect(code).toBeUndefined()
    expect(proxy.counts.connections).toBe(1)
  })

  it('splits both ways into single bytes', async () => {
    await proxy.set({ kind: 'split' })
    const socket = await rawSocket()
    const chunks: number[] = []
    socket.on('data', (chunk) => chunks.push(chunk.length))

    socket.write('ECHO 0123456789\r\n')

    await until(() => chunks.reduce((sum, length) => sum + length, 0) === '$10\r\n0123456789\r\n'.length)
    expect(chunks.length).toBeGreaterThan(3)
    socket.destroy()
    expect(await (await throughProxy()).echo('whole')).toBe('whole')
  })

  it('cuts a connection after some bytes of its replies, inside a bulk string', async () => {
    await direct.set('key', '0123456789')
    const socket = await rawSocket()
    await proxy.set({ kind: 'cut', bytes: 9 })
    socket.write('GET key\r\n')

    const { text, code } = await receive(socket)

    expect(text).toBe('$10\r\n0123')
    expect(code).toBeUndefined()
  })

  it('cuts also where a reply comes in several pieces', async () => {
    const socket = await rawSocket()
    await proxy.set({ kind: 'cut', bytes: 9 })
    socket.write('PING\r\n')
    const [first] = await once(socket, 'data')
    socket.write('PING\r\n')

    const { text } = await receive(socket)

    expect(String(first) + text).toBe('+PONG\r\n+P')
  })

  it('pauses without losing anything', async () => {
    const client = await throughProxy()
    await proxy.set({ kind: 'pause' })
    const replies = Promise.all([client.incr('n'), client.incr('n')])
    expect(await Promise.race([replies, new Promise((resolve) => setTimeout(resolve, 100))])).toBeUndefined()
    expect(await direct.get('n')).toBeNull()

    await proxy.set({ kind: 'pass' })

    expect(await replies).toEqual([1, 2])
    expect(proxy.counts.connections).toBe(1)
  })

  it('resets its clients when the server is gone', async () => {
    const other = await startValkey()
    const alone = await startFaultProxy(other)
    await other.stop()
    const socket = connect(alone.port, '127.0.0.1')

    const { code } = await receive(socket)

    expect(code).toBe('ECONNRESET')
    await alone.stop()
  })
})
