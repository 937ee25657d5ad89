import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import express from 'express'
import session from 'express-session'
import { afterAll, beforeAll, describe, expect, onTestFinished, test, vi } from 'vitest'
import { createValkeyClient } from '../../../lib/backend/valkey/connection/connection.ts'
import type { ValkeyBackend } from '../../../lib/backend/valkey/valkey-backend.ts'
import { sessionGuard } from '../../../lib/http/guard/session-guard.ts'
import { withDeadline } from '../../../lib/operations.ts'
import { Patience } from '../../../lib/patience.ts'
import { ValkeyStore } from '../../../lib/store/valkey-store.ts'
import { SECRET } from '../../store/parts-store.ts'
import { until } from '../../support/until.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import { absent, newBlob, newHandle, write } from '../contract/subject.ts'
import { echo, FakeClient, fail, never, runnerOn } from './fake-client.ts'
import { newPrefix, openBackend } from './subjects.ts'

const DEFAULTS = { connectTimeoutMs: 250, commandTimeoutMs: 500 }
const BREAKER = { failures: 5, halfOpenAfterMs: 60_000 }

let server: ValkeyServer

beforeAll(async () => {
  server = await startValkey()
})

afterAll(() => server.stop())

/** As a synchronous hash, a large JSON or a garbage collection does. */
function block(ms: number): void {
  const until = performance.now() + ms
  while (performance.now() < until);
}

/** Blocks after what was called has been sent, and before a socket is read. */
async function blockOnceSent(ms: number): Promise<void> {
  for (let turn = 0; turn < 100; turn += 1) await null
  block(ms)
}

async function open(): Promise<ValkeyBackend> {
  const client = createValkeyClient({ url: server.url }, DEFAULTS)
  const backend = openBackend(client, { ...DEFAULTS, breaker: BREAKER, ownsClient: true })
  onTestFinished(() => backend.close())
  await until(() => client.status === 'ready')
  return backend
}

describe('a process that was busy', () => {
  test.each([300, 600, 1000])('for %i ms with 20 reads in flight fails none of them', async (busyMs) => {
    const backend = await open()
    const reads = Array.from({ length: 20 }, () => backend.get(newHandle(), 65_536))
    await blockOnceSent(busyMs)

    expect(await Promise.all(reads)).toEqual(Array(20).fill(undefined))
    expect(backend.condition.breaker).toBe('closed')
  })

  test('again and again fails nothing either', async () => {
    const backend = await open()
    for (let round = 0; round < 2; round += 1) {
      const reads = Array.from({ length: 20 }, () => backend.get(newHandle(), 65_536))
      await blockOnceSent(520)
      setImmediate(block, 520)
      expect(await Promise.all(reads)).toEqual(Array(20).fill(undefined))
    }
    expect(backend.condition.breaker).toBe('closed')
  })

  test('opens no breaker with short limits, while its client connects again', async () => {
    const limits = { connectTimeoutMs: 50, commandTimeoutMs: 150 }
    const client = createValkeyClient({ url: server.url }, limits)
    const backend = openBackend(client, { ...limits, breaker: { ...BREAKER, failures: 1 }, ownsClient: true })
    onTestFinished(() => backend.close())
    await until(() => client.status === 'ready')
    for (let round = 0; round < 3; round += 1) {
      const reads = Array.from({ length: 20 }, () => backend.get(newHandle(), 65_536))
      await blockOnceSent(600)
      await Promise.allSettled(reads)
      expect(backend.condition.breaker).toBe('closed')
    }
  })

  test('before it sends fails nothing', async () => {
    const backend = await open()
    block(1100)
    const reads = Array.from({ length: 20 }, () => backend.get(newHandle(), 65_536))

    expect(await Promise.all(reads)).toEqual(Array(20).fill(undefined))
    expect(backend.condition.breaker).toBe('closed')
  })

  test('gets large replies and the outcome of writes', async () => {
    const backend = await open()
    const handles = Array.from({ length: 20 }, newHandle)
    const puts = handles.map((handle) => backend.put(handle, write(absent, newBlob(60_000))))
    await blockOnceSent(600)
    expect((await Promise.all(puts)).map(({ answer }) => answer)).toEqual(Array(20).fill('stored'))

    const gets = handles.map((handle) => backend.get(handle, 65_536))
    await blockOnceSent(600)
    expect(await Promise.all(gets)).toEqual(
      Array(20).fill(expect.objectContaining({ blob: expect.any(Buffer) })),
    )
    expect(backend.condition.breaker).toBe('closed')
  })

  test('while it connects finds its server all the same', async () => {
    const client = createValkeyClient({ url: server.url }, DEFAULTS)
    const backend = openBackend(client, { ...DEFAULTS, breaker: BREAKER, ownsClient: true })
    onTestFinished(() => backend.close())
    const reads = Array.from({ length: 20 }, () => backend.get(newHandle(), 65_536))
    block(400)

    expect(await Promise.all(reads)).toEqual(Array(20).fill(undefined))
    expect(backend.condition.breaker).toBe('closed')
  })

  test.each(['Command timed out', 'Connection is closed.', 'Socket timeout. Expecting data'])(
    'repeats what its client gave up meanwhile (%s), and holds it against no server',
    async (message) => {
      const client = new FakeClient(
        () => delay(20).then(fail(message)),
        () => delay(20).then(fail('Connection is closed.')),
        () => 'here',
      )
      const runner = runnerOn(client, {
        commandTimeoutMs: 200,
        breaker: { failures: 2, halfOpenAfterMs: 60_000 },
      })
      const call = runner.read(echo)
      setImmediate(block, 300)

      expect(await call).toBe('here')
      expect(client.calls).toBe(3)
      expect(runner.condition.breaker).toBe('closed')
    },
  )

  test('opens no breaker by what its client gave up meanwhile', async () => {
    const client = new FakeClient(() => delay(20).then(fail('Command timed out')))
    const runner = runnerOn(client, {
      commandTimeoutMs: 200,
      retries: 0,
      breaker: { failures: 1, halfOpenAfterMs: 60_000 },
    })
    const calls = Array.from({ length: 10 }, () => runner.read(echo).catch(() => {}))
    setImmediate(block, 300)
    await Promise.all(calls)

    expect(runner.condition.breaker).toBe('closed')
  })

  test('repeats no write that must not be sent twice', async () => {
    const client = new FakeClient(() => delay(20).then(fail('Command timed out')))
    const call = runnerOn(client, { commandTimeoutMs: 200, retries: 0 }).write(echo)
    setImmediate(block, 300)

    await expect(call).rejects.toMatchObject({ code: 'ERR_STORE_OUTCOME_UNKNOWN' })
    expect(client.calls).toBe(1)
  })

  test('still gives a server up that does not answer', async () => {
    const runner = runnerOn(new FakeClient(never), { breaker: { failures: 2, halfOpenAfterMs: 60_000 } })
    const call = runner.read(echo)
    setImmediate(block, 200)

    await expect(call).rejects.toMatchObject({ reason: 'timeout' })
    expect(runner.condition.breaker).toBe('open')
  })
})

test('ten requests of a signed-in user get their pages though the process was busy for 700 ms', async () => {
  const store = new ValkeyStore({
    connection: { url: server.url },
    prefix: newPrefix(),
    secrets: [SECRET],
    onUnsafeServer: 'ignore',
  })
  const app = express()
  let isBusyNext = false
  app.use((_req, _res, next) => {
    next()
    // Its session is on its way by now.
    if (isBusyNext) setImmediate(block, 700)
    isBusyNext = false
  })
  app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false }))
  app.use(sessionGuard({ store }))
  app.get('/in', (req, res) => {
    Object.assign(req.session, { userId: 'ann' })
    res.send('ok')
  })
  app.get('/', (req, res) => res.send(String(Reflect.get(req.session, 'userId'))))
  const listening = app.listen(0, '127.0.0.1')
  onTestFinished(async () => {
    listening.close()
    await store.close()
  })
  await once(listening, 'listening')
  await until(async () => (await store.health()).isReady)
  const url = `http://127.0.0.1:${(listening.address() as AddressInfo).port}`
  const signedIn = await fetch(`${url}/in`)
  const cookie = signedIn.headers.get('set-cookie')?.split(';')[0] ?? ''

  isBusyNext = true
  const pages = Array.from({ length: 10 }, () => fetch(url, { headers: { cookie } }))

  expect(await Promise.all((await Promise.all(pages)).map((page) => page.text()))).toEqual(
    Array(10).fill('ann'),
  )
  expect(await store.health()).toMatchObject({ isReady: true, breaker: 'closed' })
})

describe('a deadline', () => {
  test('that passed while nobody looked is judged after what was there to be read', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const reader = connect((server.address() as AddressInfo).port, '127.0.0.1')
    const [writer] = (await once(server, 'connection')) as [Socket]
    onTestFinished(() => {
      reader.destroy()
      writer.destroy()
      server.close()
    })
    writer.write('there to be read')
    const work = once(reader, 'data')
    const outcome = withDeadline(work, 50, () => new Error('late'))
    block(200)

    expect(String(await outcome)).toBe('there to be read')
  })

  test('passes at last, even if this process is busy all the time', async () => {
    const over = vi.fn()
    const patience = new Patience(40, over)
    const busy = setInterval(() => block(60), 1)
    onTestFinished(() => {
      clearInterval(busy)
      patience.end()
    })

    await until(() => over.mock.calls.length > 0)
    expect(patience.busyMs).toBeGreaterThan(0)
  })

  test('that was ended is not judged', async () => {
    const over = vi.fn()
    const patience = new Patience(1, over)
    patience.end()
    await delay(50)

    expect(over).not.toHaveBeenCalled()
  })
})
