import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import type { Socket } from 'node:net'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { type RunningProgram, startProgram } from '../support/program.ts'
import { until } from '../support/until.ts'
import { type PlainValkey, plainValkey, ValkeyServer } from '../support/valkey.ts'

const EXAMPLES = new URL('../../examples/', import.meta.url)

let valkey: PlainValkey
let running: RunningProgram[] = []

beforeAll(async () => {
  valkey = await plainValkey()
})

afterEach(async () => {
  const stopping = running.map((program) => program.stop())
  running = []
  await Promise.all(stopping)
})

afterAll(async () => {
  await valkey?.stop()
})

function secret(): string {
  return randomBytes(32).toString('hex')
}

/** The environment of one app; the same environment twice is a restart of it. */
function environment(): Record<string, string> {
  return { VALKEY_URL: valkey.url, SESSION_KEY: secret(), COOKIE_SECRET: secret() }
}

async function start(file: string, env: Readonly<Record<string, string>> = {}): Promise<RunningProgram> {
  const program = await startProgram(`examples/${file}`, env)
  running.push(program)
  return program
}

/** A visitor, who keeps the one cookie these programs set. */
function visitor() {
  let cookie = ''
  const visit = async (url: string, init: RequestInit = {}): Promise<string> => {
    const answer = await fetch(url, { ...init, headers: { ...init.headers, ...(cookie && { cookie }) } })
    cookie = answer.headers.get('set-cookie')?.split(';', 1)[0] ?? cookie
    const text = await answer.text()
    return answer.ok ? text : `${answer.status} ${text}`
  }
  return Object.assign(visit, { cookie: () => cookie })
}

async function storedValues(): Promise<string[]> {
  const client = valkey.client()
  const values = await Promise.all((await client.keys('sess:r:*')).map((key) => client.getBuffer(key)))
  client.disconnect()
  return values.map((value) => value?.toString('latin1') ?? '')
}

describe('the examples', () => {
  const programs = readdirSync(EXAMPLES).filter((name) => name.endsWith('.ts'))

  it('are the ones that this file runs', () => {
    expect(programs).toEqual([
      '01-smallest.ts',
      '02-valkey.ts',
      '03-encrypted.ts',
      '04-key-rotation.ts',
      '05-messagepack.ts',
      '06-conflict-policy.ts',
      '07-sign-out-everywhere.ts',
      '08-websocket.ts',
      '09-server-sent-events.ts',
      '10-taint-gateway.ts',
      '11-metrics.ts',
      '12-tracing.ts',
      // Run by test/auth/examples.test.ts, as their comments say.
      'stateless.ts',
      'tokens.ts',
    ])
  })

  it.each(programs)('%s is in the table of examples/README.md and shorter than 60 lines', (name) => {
    const table = readFileSync(new URL('README.md', EXAMPLES), 'utf8')
    const lines = readFileSync(new URL(name, EXAMPLES), 'utf8').split('\n').length

    expect(table).toContain(`[${name}](${name})`)
    expect(lines).toBeLessThan(60)
  })
})

describe('01-smallest', () => {
  it('counts the visits of each visitor', async () => {
    const { origin } = await start('01-smallest.ts')
    const [ann, ben] = [visitor(), visitor()]

    expect(await ann(origin)).toBe('You have been here 1 times.\n')
    expect(await ann(origin)).toBe('You have been here 2 times.\n')
    expect(await ben(origin)).toBe('You have been here 1 times.\n')
  })
})

describe('02-valkey', () => {
  it('keeps counting after a restart', async () => {
    const env = environment()
    const ann = visitor()
    const first = await start('02-valkey.ts', env)
    await ann(first.origin)
    expect(await first.stop()).toBe(0)

    const second = await start('02-valkey.ts', env)

    expect(await ann(second.origin)).toBe('You have been here 2 times.\n')
  })

  it('says that it is ready', async () => {
    const { origin } = await start('02-valkey.ts', environment())

    expect(JSON.parse(await visitor()(`${origin}/ready`))).toMatchObject({ isReady: true })
  })

  it('says that it is not ready without Valkey', async () => {
    const { origin } = await start('02-valkey.ts', { ...environment(), VALKEY_URL: 'valkey://127.0.0.1:1' })

    expect(await visitor()(`${origin}/ready`)).toContain('503 {"isReady":false')
  })

  it('does not start without a secret', async () => {
    await expect(start('02-valkey.ts', { VALKEY_URL: valkey.url })).rejects.toThrow(
      'Option "secrets[0]" must be at least 32 bytes long',
    )
  })
})

describe('03-encrypted', () => {
  it('keeps a note that cannot be read in Valkey', async () => {
    const { origin } = await start('03-encrypted.ts', environment())
    const ann = visitor()
    const before = (await storedValues()).length

    await ann(origin, {
      method: 'POST',
      body: new URLSearchParams({ note: 'tell nobody' }),
      redirect: 'manual',
    })
    const stored = await storedValues()

    expect(await ann(origin)).toBe('Your note: tell nobody\n')
    expect(stored).toHaveLength(before + 1)
    expect(stored.join()).not.toContain('tell nobody')
  })
})

describe('04-key-rotation', () => {
  it('signs nobody out who comes by during the rotation, and counts who did not', async () => {
    const env = { VALKEY_URL: valkey.url, COOKIE_SECRET: secret() }
    const [older, newer] = [secret(), secret()]
    const [ann, ben] = [visitor(), visitor()]

    const before = await start('04-key-rotation.ts', { ...env, SESSION_KEYS: older })
    await Promise.all([ann(before.origin), ben(before.origin)])
    const during = await start('04-key-rotation.ts', { ...env, SESSION_KEYS: `${newer},${older}` })
    expect(await ann(during.origin)).toBe('You have been here 2 times.\n')
    const after = await start('04-key-rotation.ts', { ...env, SESSION_KEYS: newer })

    expect(await ann(after.origin)).toBe('You have been here 3 times.\n')
    expect(await ben(after.origin)).toBe('You have been here 1 times.\n')
    expect(await visitor()(`${after.origin}/retired`)).toBe('{"retired":1}')
  })
})

describe('05-messagepack', () => {
  it('loads a Date as a Date', async () => {
    const { origin } = await start('05-messagepack.ts', environment())
    const ann = visitor()
    const answer = `First visit in ${new Date().getFullYear()}.\n`

    expect(await ann(origin)).toBe(answer)
    expect(await ann(origin)).toBe(answer)
  })
})

describe('06-conflict-policy', () => {
  it('counts every one of 20 parallel requests to two processes', async () => {
    const env = environment()
    const [one, two] = [await start('06-conflict-policy.ts', env), await start('06-conflict-policy.ts', env)]
    const ann = visitor()
    await ann(one.origin, { method: 'POST' })

    const origins = Array.from({ length: 20 }, (_, index) => (index % 2 === 0 ? one.origin : two.origin))
    const answers = await Promise.all(origins.map((origin) => ann(origin, { method: 'POST' })))

    expect(new Set(answers).size).toBe(20)
    expect(await ann(one.origin)).toBe('{"points":21}')
  })
})

describe('07-sign-out-everywhere', () => {
  it('keeps three devices, lists them, and ends all but one', async () => {
    const { origin } = await start('07-sign-out-everywhere.ts', environment())
    const devices = [visitor(), visitor(), visitor(), visitor()]
    for (const device of devices) await device(`${origin}/sign-in/ann`, { method: 'POST' })
    const users = () => Promise.all(devices.map((device) => device(origin)))
    expect(await users()).toEqual(['{"user":null}', ...Array(3).fill('{"user":"ann"}')])

    const last = devices[3] ?? visitor()
    expect(JSON.parse(await last(`${origin}/devices/me`)).sessions).toHaveLength(3)
    const ended = await last(`${origin}/devices/me`, {
      method: 'DELETE',
      headers: { 'Sec-Fetch-Site': 'same-origin' },
    })

    expect(JSON.parse(ended).ended).toHaveLength(2)
    expect(await users()).toEqual([...Array(3).fill('{"user":null}'), '{"user":"ann"}'])
  })
})

describe('08-websocket', () => {
  it('closes the socket of who signs out', async () => {
    const { origin } = await start('08-websocket.ts', environment())
    const ann = visitor()
    await ann(`${origin}/sign-in/ann`, { method: 'POST' })
    const socket = open(origin, ann)
    const [greeting] = await once(socket, 'message')

    const closed = once(socket, 'close')
    await ann(`${origin}/sign-out`, { method: 'POST' })

    expect(String(greeting)).toBe('hello ann')
    expect((await closed).map(String)).toEqual(['4401', 'logout'])
    expect((await once(open(origin, ann), 'close')).map(String)).toEqual(['4401', 'signed-out'])
  })

  it('takes an outage for no sign-out', async () => {
    const server = await ValkeyServer.start({ args: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    try {
      const { origin } = await start('08-websocket.ts', { ...environment(), VALKEY_URL: server.url })
      const ann = visitor()
      await ann(`${origin}/sign-in/ann`, { method: 'POST' })
      const before = open(origin, ann)
      await once(before, 'message')

      await server.kill()
      const during = once(open(origin, ann), 'close')

      expect((await during).map(String)).toEqual(['1013', 'unavailable'])
      expect(before.readyState).toBe(WebSocket.OPEN)
      await server.restart()
      const greeting = await until(() => firstOf(open(origin, ann)))
      expect(greeting).toBe('hello ann')
      expect(before.readyState).toBe(WebSocket.OPEN)
    } finally {
      await server.stop()
    }
  })

  it('goes on after a client that breaks the protocol', async () => {
    const { origin } = await start('08-websocket.ts', environment())
    const ann = visitor()
    await ann(`${origin}/sign-in/ann`, { method: 'POST' })
    const broken = open(origin, ann)
    await once(broken, 'message')

    const closed = once(broken, 'close')
    // A frame with reserved bits, which no client library sends.
    const { _socket: raw } = broken as unknown as { readonly _socket: Socket }
    raw.write(Buffer.from([0xff, 0x80, 0, 0, 0, 0]))
    await closed

    expect((await once(open(origin, ann), 'message')).map(String)[0]).toBe('hello ann')
  })

  const open = (origin: string, { cookie }: { cookie(): string }) =>
    new WebSocket(origin.replace('http', 'ws'), { headers: { cookie: cookie() } })

  /** What a socket is told first; nothing if it is closed before. */
  const firstOf = (socket: WebSocket): Promise<string | undefined> =>
    new Promise((resolve) => {
      socket.once('message', (text) => resolve(String(text)))
      socket.once('close', () => resolve(undefined))
    })
})

describe('09-server-sent-events', () => {
  it('ends the stream of who signs out', async () => {
    const { origin } = await start('09-server-sent-events.ts')
    const ann = visitor()
    await ann(`${origin}/sign-in/ann`, { method: 'POST' })
    const stream = await fetch(`${origin}/events`, { headers: { cookie: ann.cookie() } })

    const whole = stream.text()
    await ann(`${origin}/sign-out`, { method: 'POST' })

    expect(await whole).toBe('data: hello ann\n\n')
  })
})

describe('10-taint-gateway', () => {
  it('lets nobody export or mail who has read customer data', async () => {
    const { origin } = await start('10-taint-gateway.ts', environment())
    const ann = visitor()
    const post = (path: string) => ann(`${origin}${path}`, { method: 'POST', body: 'text' })
    expect(await post('/export')).toBe('{"exported":"text"}')

    await ann(`${origin}/customers`)

    expect(await ann(`${origin}/labels`)).toBe('["pii"]')
    expect(await post('/export')).toMatch(/^403 /)
    expect(await post('/mail')).toMatch(/^403 /)
  })
})

describe('11-metrics', () => {
  it('counts operations and decisions for Prometheus, without an id', async () => {
    const { origin } = await start('11-metrics.ts', environment())
    const ann = visitor()
    await ann(origin)
    await ann(`${origin}/sign-out`)

    const metrics = await visitor()(`${origin}/metrics`)

    expect(metrics).toMatch(/session_operation_seconds_count\{operation="set",outcome="ok"\} 1\n/)
    expect(metrics).toMatch(/session_operation_seconds_count\{operation="get",outcome="ok"\} 1\n/)
    expect(metrics).toMatch(/session_operation_seconds_count\{operation="destroy",outcome="ok"\} 1\n/)
    expect(metrics).toMatch(
      /session_decisions_total\{decision="session-ended",reason="logout",state=""\} 1\n/,
    )
    expect(metrics).not.toContain(sidIn(ann.cookie()))
  })

  it('counts failures by their code', async () => {
    const { origin } = await start('11-metrics.ts', { ...environment(), VALKEY_URL: 'valkey://127.0.0.1:1' })
    await visitor()(origin)

    const metrics = await visitor()(`${origin}/metrics`)

    expect(metrics).toMatch(/operation="set",outcome="ERR_STORE_UNAVAILABLE"\} 1\n/)
    expect(metrics).toMatch(
      /session_decisions_total\{decision="attempt-failed",reason="connection",state=""\} \d+\n/,
    )
  })

  it('tells by the state of the breaker when Valkey goes and when it is back', async () => {
    const server = await ValkeyServer.start()
    try {
      const { origin } = await start('11-metrics.ts', { ...environment(), VALKEY_URL: server.url })
      const counts = async (state: string) => {
        const text = await visitor()(`${origin}/metrics`)
        return text.includes(`session_decisions_total{decision="breaker",reason="",state="${state}"}`)
      }
      expect(await counts('open')).toBe(false)

      await server.kill()
      await until(async () => {
        await visitor()(origin)
        return counts('open')
      })
      await server.restart()

      await until(async () => {
        await visitor()(origin)
        return counts('closed')
      })
    } finally {
      await server.stop()
    }
  })
})

describe('12-tracing', () => {
  it('has a span for each operation, a child of the span of its request', async () => {
    const program = await start('12-tracing.ts', environment())
    const ann = visitor()
    await ann(program.origin)
    await ann(program.origin)
    await program.stop()

    const output = program.output()
    const spans = output.split(/^\}/m).map((block) => ({
      name: /^ {2}name: '([^']+)'/m.exec(block)?.[1],
      id: /^ {2}id: '(\w+)'/m.exec(block)?.[1],
      parent: /^ {4}spanId: '(\w+)'/m.exec(block)?.[1],
    }))
    const requests = spans.filter(({ name }) => name === 'GET /').map(({ id }) => id)
    const operations = spans.filter(({ name }) => name?.startsWith('session '))
    expect(operations.map(({ name }) => name)).toEqual(expect.arrayContaining(['session set', 'session get']))
    expect(requests).toHaveLength(2)
    expect(operations.filter(({ parent }) => !requests.includes(parent))).toEqual([])
    expect(output).not.toContain(sidIn(ann.cookie()))
  })
})

function sidIn(cookie: string): string {
  return (
    decodeURIComponent(cookie)
      .replace(/^connect\.sid=s:/, '')
      .split('.')[0] ?? ''
  )
}
