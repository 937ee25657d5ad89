import { once } from 'node:events'
import { createServer, request, type ServerResponse } from 'node:http'
import { connect, type Http2ServerResponse } from 'node:http2'
import { type AddressInfo, connect as connectTcp } from 'node:net'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { afterEach, describe, expect, test } from 'vitest'
import type { AnyResponse } from '../../lib/http/guard/node-response.ts'
import { holdResponse, type ResponseHolder, type Stage } from '../../lib/http/guard/response-hold.ts'
import { createGate } from '../store/gate.ts'
import { until } from '../support/until.ts'
import { answerTo, http1, http2, type Listener, type Protocol, type Site } from './protocols.ts'
import { askRaw } from './raw-exchange.ts'

const CANARY = 'what the handler wrote'
const outage = () => Object.assign(new Error('down'), { status: 503, headers: { 'Retry-After': '7' } })

// Both protocols have these with the same meaning; the union of their types has none that can be called.
type Writable = ServerResponse
const plain = (res: AnyResponse) => res as Writable

const sites: Site[] = []

async function serve(protocol: Protocol, listener: Listener): Promise<Site> {
  const site = await protocol.serve(listener)
  sites.push(site)
  return site
}

afterEach(async () => {
  await Promise.all(sites.splice(0).map((site) => site.close()))
})

/** Serves one handler whose response is held by the holders, the first of them added first. */
function serveHeld(
  protocol: Protocol,
  holders: readonly ResponseHolder[],
  handler: (res: Writable) => unknown,
) {
  return serve(protocol, (_req, res) => {
    for (const holder of holders) holdResponse(res, holder)
    return handler(plain(res))
  })
}

/** Releases when a gate is opened, and notes what it was asked. */
function gatedHolder(outcome: () => void = () => {}) {
  const gate = createGate()
  const asked: Stage[] = []
  const refused: unknown[] = []
  const holder: ResponseHolder = {
    release(stage) {
      asked.push(stage)
      return gate.opened.then(outcome)
    },
    onRefused: (error) => void refused.push(error),
  }
  return { holder, asked, refused, open: gate.open }
}

const failing = (): ResponseHolder => failingWith(outage())
const failingWith = (error: unknown): ResponseHolder => ({ release: () => Promise.reject(error) })

describe.each([http1, http2])('a held response of $protocol', (protocol) => {
  test('leaves only when it is released, and in order', async () => {
    const { holder, open, asked } = gatedHolder()
    const { ask } = await serveHeld(protocol, [holder], (res) => {
      res.setHeader('X-Before', 'yes')
      res.writeHead(201, { 'X-Head': 'yes' })
      res.write('one ')
      res.write('two ')
      res.end('three')
    })
    let hasBegun = false

    const asking = ask('/', {
      onFirstByte: () => {
        hasBegun = true
      },
    })
    await until(() => asked.length > 0)
    const hadBegun = hasBegun
    open()
    const answer = await asking

    expect(hadBegun).toBe(false)
    expect(answer).toMatchObject({
      status: 201,
      body: 'one two three',
      headers: { 'x-before': 'yes', 'x-head': 'yes' },
      isComplete: true,
    })
  })

  test('asks the last holder first, and leaves when all have released it', async () => {
    const [inner, outer] = [gatedHolder(), gatedHolder()]
    const { ask } = await serveHeld(protocol, [inner.holder, outer.holder], (res) => res.end(CANARY))
    let hasBegun = false

    const asking = ask('/', {
      onFirstByte: () => {
        hasBegun = true
      },
    })
    await until(() => outer.asked.length > 0)
    const innerWasAsked = inner.asked.length > 0
    outer.open()
    await until(() => inner.asked.length > 0)
    const hadBegun = hasBegun
    inner.open()
    const { body } = await asking

    expect([innerWasAsked, hadBegun]).toEqual([false, false])
    expect(body).toBe(CANARY)
  })

  test('goes at once, and in the same turn, where no holder has anything to wait for', async () => {
    const asked: Stage[] = []
    const holder: ResponseHolder = {
      release(stage) {
        asked.push(stage)
        return undefined
      },
    }
    const seen: boolean[] = []
    const { ask } = await serveHeld(protocol, [holder], (res) => {
      seen.push(res.headersSent)
      res.write('a')
      seen.push(res.headersSent)
      res.end('b')
    })

    const { body } = await ask('/')

    expect(body).toBe('ab')
    expect(seen).toEqual([false, true])
    expect([asked[0], asked.at(-1)]).toEqual(['head', 'end'])
    expect(new Set(asked.slice(1, -1))).toEqual(new Set(['body']))
  })

  test('is not asked for before the handler writes', async () => {
    const { holder, open, asked } = gatedHolder()
    let askedBefore = -1
    const { ask } = await serveHeld(protocol, [holder], async (res) => {
      res.setHeader('X-Set', 'yes')
      await new Promise(setImmediate)
      askedBefore = asked.length
      res.end()
    })
    open()

    await ask('/')

    expect(askedBefore).toBe(0)
    expect(asked).toEqual(['end'])
  })

  test('asks again for what comes while it waits, before anything leaves', async () => {
    const { holder, open, asked } = gatedHolder()
    const { ask } = await serveHeld(protocol, [holder], (res) => {
      res.write('a')
      res.write('b')
      res.end('c')
    })

    const asking = ask('/')
    await until(() => asked.length > 0)
    open()
    const { body } = await asking

    expect(body).toBe('abc')
    expect(asked).toEqual(['head', 'body', 'end'])
  })

  test('shows the handler a response that has begun', async () => {
    const { holder, open } = gatedHolder()
    const seen: unknown[] = []
    const { ask } = await serveHeld(protocol, [holder], (res) => {
      res.statusCode = 202
      res.setHeader('X-Kept', 'first')
      seen.push(res.headersSent, res.writableEnded)
      seen.push(res.write('a'), res.headersSent)
      for (const change of [
        () => res.setHeader('X-Kept', 'second'),
        () => res.appendHeader('X-Late', 'yes'),
        () => res.removeHeader('X-Kept'),
        () => res.writeHead(500),
      ]) {
        seen.push(codeOf(change))
      }
      res.statusCode = 500
      seen.push(res.end('b') === res, res.writableEnded)
      open()
    })

    const answer = await ask('/')

    const refused = expect.stringMatching(/^ERR_HTTP2?_HEADERS_SENT$/)
    expect(seen).toEqual([false, false, true, true, refused, refused, refused, refused, true, true])
    expect(answer).toMatchObject({ status: 202, body: 'ab', headers: { 'x-kept': 'first' } })
  })

  test('lets a source that was told to wait go on when it has left', async () => {
    const { holder, open, asked } = gatedHolder()
    const big = Array.from({ length: 64 }, (_, at) => String(at % 10).repeat(16_384))
    const seen: unknown[] = []
    const { ask } = await serveHeld(protocol, [holder], (res) => {
      seen.push(res.write('first '), res.write(big.join('')))
      res.once('drain', () => {
        seen.push('drain')
        Readable.from(big).pipe(res)
      })
    })

    const asking = ask('/')
    await until(() => asked.length > 0)
    await new Promise(setImmediate)
    const seenWhileHeld = [...seen]
    open()
    const { body } = await asking

    expect(seenWhileHeld).toEqual([true, false])
    expect(seen.at(-1)).toBe('drain')
    expect(body === `first ${big.join('')}${big.join('')}`).toBe(true)
  })

  test('takes no more from a source than Node would', async () => {
    const { holder, open, asked } = gatedHolder()
    let taken = 0
    const { ask } = await serveHeld(protocol, [holder], (res) => {
      const source = new Readable({
        highWaterMark: 1024,
        read() {
          taken += 1
          this.push(taken > 1000 ? null : 'x'.repeat(1024))
        },
      })
      source.pipe(res)
    })

    const asking = ask('/')
    await until(() => asked.length > 0)
    for (let turn = 0; turn < 50; turn += 1) await new Promise(setImmediate)
    const takenWhileHeld = taken
    open()
    const { body } = await asking

    expect(takenWhileHeld).toBeLessThan(200)
    expect(body.length).toBe(1_024_000)
  })

  test('sends a head that is flushed before there is a body', async () => {
    const { holder, open } = gatedHolder()
    open()
    const bodyIsDue = createGate()
    let drains = 0
    const { ask } = await serveHeld(protocol, [holder], async (res) => {
      res.on('drain', () => {
        drains += 1
      })
      res.flushHeaders()
      await bodyIsDue.opened
      res.end('body')
    })

    const answer = await ask('/', { onFirstByte: bodyIsDue.open })

    expect(answer).toMatchObject({ status: 200, body: 'body' })
    expect(drains).toBe(0)
  })

  test('tells the callbacks of what was kept when it is refused', async () => {
    const heard: unknown[] = []
    const { ask } = await serveHeld(protocol, [failing()], (res) => {
      res.write(CANARY, (error) => heard.push(error?.message))
      res.write(CANARY, (error) => heard.push(error?.message))
    })

    expect(await ask('/')).toMatchObject({ status: 503, body: 'Service Unavailable', isComplete: true })

    await until(() => heard.length === 2)
    const refused = 'The response was refused; nothing can be written to it'
    expect(heard).toEqual([refused, refused])
  })

  test('tells the callback of a write that comes after the end of a response that is refused', async () => {
    const { holder, open } = gatedHolder(() => {
      throw outage()
    })
    const heard: unknown[] = []
    const finished: unknown[] = []
    const { ask } = await serve(protocol, (_req, res) => {
      const { end } = plain(res)
      // As express-session's, which ends once the session is saved.
      Object.assign(res, { end: () => setImmediate(() => Reflect.apply(end, res, ['the end'])) })
      holdResponse(res, holder)
      plain(res).on('finish', () => finished.push(plain(res).statusCode))
      plain(res).write(CANARY, (error) => heard.push(error?.message))
      plain(res).end()
      plain(res).write(CANARY, (error) => heard.push(error?.message))
      setImmediate(() => setImmediate(open))
    })

    expect(await ask('/')).toMatchObject({ status: 503, body: 'Service Unavailable', isComplete: true })

    await until(() => heard.length === 2 && finished.length > 0)
    const refused = 'The response was refused; nothing can be written to it'
    expect(heard).toEqual([refused, refused])
    expect(finished).toEqual([503])
  })

  test('calls the callbacks of write and end', async () => {
    const { holder, open } = gatedHolder()
    const called: unknown[] = []
    const { ask } = await serveHeld(protocol, [holder], (res) => {
      res.write('a', (error) => called.push(['write', error ?? null]))
      res.end('b', 'utf8', () => called.push(['end']))
      open()
    })

    await ask('/')

    await until(() => called.length === 2)
    expect(called).toEqual([['write', null], ['end']])
  })

  test('holds a 1xx, and asks anew for the response after it', async () => {
    const { holder, open, asked } = gatedHolder()
    let hasBegun = false
    const { ask } = await serveHeld(protocol, [holder], (res) => {
      res.writeEarlyHints({ link: '</style.css>; rel=preload' })
      setImmediate(() => setImmediate(() => res.end('page')))
    })

    const asking = ask('/', {
      onFirstByte: () => {
        hasBegun = true
      },
    })
    await until(() => asked.includes('end') || asked.includes('information'))
    const hadBegun = hasBegun
    open()
    const answer = await asking

    expect(hadBegun).toBe(false)
    expect(answer).toMatchObject({ status: 200, body: 'page', informational: [103] })
    expect(asked).toEqual(['information', 'end'])
  })

  test('throws what Node would throw for a chunk that cannot be written, and can be answered still', async () => {
    const { ask } = await serveHeld(protocol, [{ release: () => Promise.resolve() }], (res) => {
      const codes = [codeOf(() => res.write(1 as never)), codeOf(() => res.end({} as never))]
      res.end(codes.join())
    })

    expect(await ask('/')).toMatchObject({ status: 200, body: 'ERR_INVALID_ARG_TYPE,ERR_INVALID_ARG_TYPE' })
  })

  test('leaves nothing behind when the client goes while it waits', async () => {
    const { holder, open, asked, refused } = gatedHolder()
    let isClosed = false
    const site = await serveHeld(protocol, [holder], (res) => {
      res.on('close', () => {
        isClosed = true
      })
      Readable.from(Array.from({ length: 100 }, () => CANARY)).pipe(res)
    })
    const leaving = leave(protocol, site.port)
    await until(() => asked.length > 0)

    leaving.destroy()
    await until(() => isClosed)
    open()

    expect(refused).toEqual([])
  })

  describe('when it is refused', () => {
    test('answers the status of the error and nothing of the handler', async () => {
      const { ask } = await serveHeld(protocol, [failing()], (res) => {
        res.setHeader('Set-Cookie', 'secret=1')
        res.setHeader('X-Secret', CANARY)
        res.setHeader('ETag', '"secret"')
        res.writeHead(206, { 'X-More': CANARY, 'Content-Length': CANARY.length })
        res.end(CANARY)
      })

      const answer = await ask('/')

      expect(answer).toMatchObject({ status: 503, body: 'Service Unavailable', isComplete: true })
      const { date: _, connection: _also, ':status': _too, ...headers } = answer.headers
      expect(Object.fromEntries(Object.entries(headers))).toEqual({
        'retry-after': '7',
        'cache-control': 'no-store',
        'content-type': 'text/plain; charset=utf-8',
        'content-length': '19',
      })
    })

    test.each([
      [Object.assign(new Error('lost'), { status: 409 }), 409, undefined],
      [Object.assign(new Error('busy'), { status: 503 }), 503, '1'],
      [Object.assign(new Error('odd'), { status: 200 }), 500, undefined],
      [new Error(CANARY), 500, undefined],
      ['no error at all', 500, undefined],
      [undefined, 500, undefined],
    ])('answers %s with %i', async (error, status, retryAfter) => {
      const { ask } = await serveHeld(protocol, [failingWith(error)], (res) => res.end(CANARY))

      const answer = await ask('/')

      expect(answer.status).toBe(status)
      expect(answer.headers['retry-after']).toBe(retryAfter)
      expect(answer.body).not.toContain(CANARY)
    })

    test('keeps headers that were set before it was held, but none about content', async () => {
      const { ask } = await serve(protocol, (_req, res) => {
        plain(res).setHeader('Access-Control-Allow-Origin', 'https://app.example')
        plain(res).setHeader('Set-Cookie', 'before=1')
        plain(res).setHeader('ETag', '"before"')
        holdResponse(res, failing())
        plain(res).setHeader('Access-Control-Allow-Origin', CANARY)
        plain(res).end(CANARY)
      })

      const { headers } = await ask('/')

      expect(headers).toMatchObject({ 'access-control-allow-origin': 'https://app.example' })
      expect(headers).not.toHaveProperty('set-cookie')
      expect(headers).not.toHaveProperty('etag')
    })

    test('tells the holder that refused, and no other', async () => {
      const [inner, outer] = [
        gatedHolder(),
        gatedHolder(() => {
          throw outage()
        }),
      ]
      inner.open()
      outer.open()
      const { ask } = await serveHeld(protocol, [inner.holder, outer.holder], (res) => res.end(CANARY))

      const { status } = await ask('/')

      expect(status).toBe(503)
      await until(() => outer.refused.length > 0)
      expect(outer.refused).toMatchObject([{ message: 'down' }])
      expect(inner.refused).toEqual([])
      expect(inner.asked).toEqual([])
    })

    test('treats a release that throws as one that rejects', async () => {
      const holder: ResponseHolder = {
        release() {
          throw outage()
        },
      }
      const { ask } = await serveHeld(protocol, [holder], (res) => res.end(CANARY))

      expect(await ask('/')).toMatchObject({ status: 503, body: 'Service Unavailable' })
    })

    test('is a closed response to what the handler does later', async () => {
      const { holder, open, refused } = gatedHolder(() => {
        throw outage()
      })
      const seen: unknown[] = []
      const later = createGate()
      const { ask } = await serveHeld(protocol, [holder], async (res) => {
        let isClosed = false
        res.once('close', () => {
          isClosed = true
        })
        res.write(CANARY)
        open()
        await until(() => refused.length > 0 && isClosed)
        seen.push(res.headersSent)
        seen.push(res.write(CANARY))
        res.write(CANARY, (error) => seen.push(error?.message))
        seen.push(res.end(CANARY, () => seen.push('ended')) === res)
        res.flushHeaders()
        await until(() => seen.length === 5)
        later.open()
      })

      const answer = await ask('/')
      await later.opened

      expect(answer).toMatchObject({ status: 503, body: 'Service Unavailable', isComplete: true })
      expect(answer.informational).toEqual([])
      expect(seen).toEqual([true, false, true, expect.any(String), 'ended'])
    })

    test('unpipes its sources, one that comes later takes no more', async () => {
      const sources = [endless(), endless()]
      const { holder, open, refused } = gatedHolder(() => {
        throw outage()
      })
      const { ask } = await serveHeld(protocol, [holder], async (res) => {
        sources[0]?.pipe(res)
        open()
        await until(() => refused.length > 0)
        sources[1]?.pipe(res)
      })

      const answer = await ask('/')

      expect(answer).toMatchObject({ status: 503, body: 'Service Unavailable', isComplete: true })
      await until(() => sources.every((source) => source.readableFlowing !== true))
    })

    test('answers in full although pipeline destroys the response', async () => {
      const outcome = createGate()
      let failure: unknown
      const { ask } = await serveHeld(protocol, [failing()], async (res) => {
        await pipeline(endless(), res).catch((error: unknown) => {
          failure = error
          outcome.open()
        })
      })

      const answer = await ask('/')
      await outcome.opened

      expect(answer).toMatchObject({ status: 503, body: 'Service Unavailable', isComplete: true })
      expect(failure).toMatchObject({ code: 'ERR_STREAM_PREMATURE_CLOSE' })
    })

    test('is cut off if it has begun', async () => {
      const { ask } = await serveHeld(
        protocol,
        [{ release: (stage) => (stage === 'end' ? Promise.reject(outage()) : undefined) }],
        (res) => {
          res.write('begun')
          setImmediate(() => res.end(CANARY))
        },
      )

      const answer = await ask('/')

      expect(answer).toMatchObject({ status: 200, body: 'begun', isComplete: false })
    })

    test('answers 500 when something below it throws on being called', async () => {
      const { holder, open, refused } = gatedHolder()
      open()
      const { ask } = await serve(protocol, (_req, res) => {
        Reflect.set(res, 'end', () => {
          throw new TypeError(CANARY)
        })
        holdResponse(res, holder)
        plain(res).end('page')
      })

      expect(await ask('/')).toMatchObject({ status: 500, body: 'Internal Server Error' })
      await until(() => refused.length > 0)
      expect(refused).toMatchObject([{ message: CANARY }])
    })

    test('does so too when there was nothing to wait for', async () => {
      const { ask } = await serve(protocol, (_req, res) => {
        Reflect.set(res, 'end', () => {
          throw new TypeError(CANARY)
        })
        holdResponse(res, { release: () => undefined })
        plain(res).end('page')
      })

      expect(await ask('/')).toMatchObject({ status: 500, body: 'Internal Server Error' })
    })

    test('passes by what other middleware put over the response', async () => {
      const { ask } = await serve(protocol, (_req, res) => {
        holdResponse(res, failing())
        const { write, end, writeHead } = plain(res)
        Object.assign(res, {
          writeHead: (...args: unknown[]) => {
            plain(res).setHeader('X-Over', 'yes')
            return Reflect.apply(writeHead, res, args)
          },
          write: (chunk: string) => Reflect.apply(write, res, [chunk.toUpperCase()]),
          end: (chunk: string) => Reflect.apply(end, res, [chunk.toUpperCase()]),
        })
        plain(res).end(CANARY)
      })

      const { body, headers } = await ask('/')

      expect(body).toBe('Service Unavailable')
      expect(headers).not.toHaveProperty('x-over')
    })
  })
})

describe('a held response of HTTP/1.1', () => {
  test('closes the connection after it was refused', async () => {
    const { port } = await serveHeld(http1, [failing()], (res) => res.end(CANARY))

    const { text } = await askRaw({ port, path: '/', headers: { Connection: 'keep-alive' } })

    expect(text).toMatch(/^HTTP\/1\.1 503 Service Unavailable\r\n/)
    expect(text).toContain('\r\nConnection: close\r\n')
    expect(text).not.toContain(CANARY)
  })

  test('is not taken for idle by a server that closes', async () => {
    const { holder, open, asked } = gatedHolder()
    const server = createServer((_req, res) => {
      holdResponse(res, holder)
      res.end('page')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const answering = answerTo(request({ host: '127.0.0.1', port }).end())
    await until(() => asked.length > 0)

    const closed = new Promise((resolve) => server.close(resolve))
    await new Promise(setImmediate)
    open()

    expect(await answering).toMatchObject({ status: 200, body: 'page', isComplete: true })
    server.closeIdleConnections()
    await closed
  })

  test.each([
    [
      'corked it',
      (res: Writable) => {
        res.cork()
        res.write(CANARY)
      },
    ],
    [
      'promised another length',
      (res: Writable) => {
        res.strictContentLength = true
        res.writeHead(200, { 'Content-Length': 1 }).end(CANARY)
      },
    ],
  ])('gets the refusal through when the handler %s', async (_what, handler) => {
    const { ask } = await serveHeld(http1, [failing()], handler)

    expect(await ask('/')).toMatchObject({
      body: expect.stringMatching(/^(Service Unavailable|Internal Server Error)$/),
      isComplete: true,
    })
  })

  test('keeps its place among the responses of a connection, released or refused', async () => {
    const gates = Array.from({ length: 6 }, createGate)
    const asked = new Set<string>()
    const { port } = await serve(http1, (req, res) => {
      const at = Number(req.url?.slice(1))
      holdResponse(res, {
        release: async () => {
          asked.add(String(at))
          await gates[at]?.opened
          if (at === 4) throw outage()
        },
      })
      plain(res).setHeader('Content-Type', 'text/plain')
      if (at % 2 === 0) plain(res).end(Buffer.from(`body ${at}`))
      else Readable.from([`body ${at}`, ' more']).pipe(plain(res))
    })
    const socket = connectTcp(port, '127.0.0.1')
    let text = ''
    socket.setEncoding('latin1').on('data', (chunk: string) => {
      text += chunk
    })
    const closed = once(socket, 'close')
    socket.write([0, 1, 2, 3, 4, 5].map((at) => `GET /${at} HTTP/1.1\r\nHost: x\r\n\r\n`).join(''))
    await until(() => asked.size === 6)

    for (const at of [5, 3, 4, 1, 2]) gates[at]?.open()
    for (let turn = 0; turn < 10; turn += 1) await new Promise(setImmediate)
    const before = text
    gates[0]?.open()
    await closed

    expect(before).toBe('')
    const statuses = [...text.matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => Number(status))
    expect(statuses).toEqual([200, 200, 200, 200, 503])
    expect([...text.matchAll(/body (\d)/g)].map(([, at]) => Number(at))).toEqual([0, 1, 2, 3])
  })

  test('sends 1xx lines before a head that goes with bytes', async () => {
    const { holder, open, asked } = gatedHolder()
    const { port } = await serveHeld(http1, [holder], (res) => {
      res.writeProcessing()
      res.write(Buffer.from('one '))
      res.write(Buffer.from('two'))
      res.end()
    })

    const asking = askRaw({ port, path: '/' })
    await until(() => asked.length > 0)
    open()
    const { text } = await asking

    expect(text).toMatch(/^HTTP\/1\.1 102 Processing\r\n\r\nHTTP\/1\.1 200 OK\r\n/)
    expect(text).toContain('one ')
    expect(text.endsWith('0\r\n\r\n')).toBe(true)
  })

  test.each(['_send', '_writeRaw'] as const)('holds what goes by %s', async (name) => {
    const { port } = await serveHeld(http1, [failing()], (res) => {
      for (const bytes of [CANARY, Buffer.from(CANARY)])
        Reflect.apply(Reflect.get(res, name) as () => void, res, [bytes])
      setImmediate(() => Reflect.apply(Reflect.get(res, name) as () => void, res, [Buffer.from(CANARY)]))
    })

    const { text } = await askRaw({ port, path: '/' })

    expect(text).toMatch(/^HTTP\/1\.1 503 /)
    expect(text).not.toContain(CANARY)
  })

  test('gets its answer through to a client that still sends', async () => {
    const site = await serveHeld(http1, [failing()], (res) => res.end(CANARY))
    const sent = request({ host: '127.0.0.1', port: site.port, method: 'POST' }).on('error', () => {})
    const answering = answerTo(sent)
    sent.write('a'.repeat(4_000_000))
    setImmediate(() => sent.end('b'.repeat(4_000_000)))

    expect(await answering).toMatchObject({ status: 503, body: 'Service Unavailable', isComplete: true })
  })

  test('reads the rest of a request that was piped into it when it was refused', async () => {
    const { holder, open, asked } = gatedHolder(() => {
      throw outage()
    })
    const site = await serve(http1, (req, res) => {
      holdResponse(res, holder)
      req.pipe(plain(res))
    })
    const sent = request({ host: '127.0.0.1', port: site.port, method: 'POST' })
    const answering = answerTo(sent)
    sent.write('a'.repeat(1000))
    await until(() => asked.length > 0)

    open()
    const answer = await answering
    sent.on('error', () => {}).end('b'.repeat(100_000))

    expect(answer).toMatchObject({ status: 503, body: 'Service Unavailable', isComplete: true })
  })

  test('leaves no reason phrase of the handler', async () => {
    const site = await serveHeld(http1, [failing()], (res) => {
      res.statusMessage = CANARY
      res.end()
    })
    const sent = request({ host: '127.0.0.1', port: site.port }).end()

    const [response] = await once(sent, 'response')

    expect(response.statusMessage).toBe('Service Unavailable')
    response.resume()
  })

  test.each(['writeHeader', '_implicitHeader', 'flushHeaders'] as const)('holds %s', async (name) => {
    const { holder, open, asked } = gatedHolder()
    let hasBegun = false
    const { ask } = await serveHeld(http1, [holder], (res) => {
      Reflect.apply(Reflect.get(res, name) as () => void, res, name === 'writeHeader' ? [200] : [])
      res.write('a')
      res.end()
    })

    const asking = ask('/', {
      onFirstByte: () => {
        hasBegun = true
      },
    })
    await until(() => asked.length > 0)
    const hadBegun = hasBegun
    open()

    expect(hadBegun).toBe(false)
    expect(await asking).toMatchObject({ status: 200, body: 'a' })
  })

  test.each(['writeHeader', '_implicitHeader', 'flushHeaders'] as const)(
    'lets nothing of %s leave when refused',
    async (name) => {
      const { ask } = await serveHeld(http1, [failing()], (res) => {
        res.setHeader('X-Secret', CANARY)
        Reflect.apply(Reflect.get(res, name) as () => void, res, name === 'writeHeader' ? [200] : [])
        res.end(CANARY)
      })

      const answer = await ask('/')

      expect(answer).toMatchObject({ status: 503, body: 'Service Unavailable' })
      expect(answer.headers).not.toHaveProperty('x-secret')
    },
  )

  test.each([
    ['writeContinue', 100],
    ['writeProcessing', 102],
  ] as const)('holds %s', async (name, status) => {
    const { holder, open, asked } = gatedHolder()
    let hasBegun = false
    const { ask } = await serveHeld(http1, [holder], (res) => {
      res[name]()
      res.end('page')
    })

    const asking = ask('/', {
      onFirstByte: () => {
        hasBegun = true
      },
    })
    await until(() => asked.length > 0)
    const hadBegun = hasBegun
    open()
    const answer = await asking

    expect(hadBegun).toBe(false)
    expect(answer.status).toBe(200)
    expect(new Set(answer.informational)).toEqual(new Set([status]))
  })

  test('waits with a head that has no body yet, as Node does', async () => {
    const { holder, open, asked } = gatedHolder()
    open()
    const more = createGate()
    let askedAfterHead = -1
    const { ask } = await serveHeld(http1, [holder], async (res) => {
      res.writeHead(200, { 'X-Head': 'yes' })
      await new Promise(setImmediate)
      askedAfterHead = asked.length
      more.open()
      res.end('page')
    })

    const answer = await ask('/')

    expect(askedAfterHead).toBe(0)
    expect(answer).toMatchObject({ body: 'page', headers: { 'x-head': 'yes' } })
  })
})

describe('a held response of HTTP/2', () => {
  test('lets no trailers of the handler leave when refused', async () => {
    const site = await serveHeld(http2, [failing()], (res) => {
      res.addTrailers({ 'x-digest': CANARY })
      res.write(CANARY)
      res.end(CANARY)
    })
    const session = connect(`http://127.0.0.1:${site.port}`)
    const stream = session.request()
    const trailers: unknown[] = []
    stream.on('trailers', (head) => trailers.push(head)).resume()

    const [head] = await once(stream, 'response')
    await once(stream, 'close')
    session.destroy()

    expect(head[':status']).toBe(503)
    expect(trailers).toEqual([])
  })

  test('holds what goes to its stream', async () => {
    const respond = (res: Writable) => {
      const { stream } = res as unknown as Http2ServerResponse
      stream.respond({ ':status': 200, 'x-secret': CANARY })
      stream.end(CANARY)
    }
    const released = await serveHeld(http2, [{ release: () => Promise.resolve() }], respond)
    const refused = await serveHeld(http2, [failing()], respond)

    const answers = [await released.ask('/'), await refused.ask('/')]

    expect(answers).toMatchObject([
      { status: 200, body: CANARY },
      { status: 503, body: 'Service Unavailable', isComplete: true },
    ])
    expect(answers[1]?.headers).not.toHaveProperty('x-secret')
  })

  test('holds a push, and drops it when refused', async () => {
    const pushes: unknown[] = []
    const push = (res: Writable) => {
      const { createPushResponse } = res as unknown as Http2ServerResponse
      createPushResponse.call(res, { ':path': '/pushed' }, (error, pushed) => {
        pushes.push(error?.message)
        pushed?.end(CANARY)
      })
      res.end('page')
    }
    const released = await serveHeld(http2, [{ release: () => Promise.resolve() }], push)
    const refused = await serveHeld(http2, [failing()], push)

    const answers = [await released.ask('/'), await refused.ask('/')]

    expect(answers).toMatchObject([
      { status: 200, informational: [-1] },
      { status: 503, informational: [] },
    ])
    expect(pushes).toEqual([undefined, 'down'])
  })
})

function codeOf(action: () => unknown): unknown {
  try {
    action()
    return undefined
  } catch (error) {
    return (error as { code?: unknown }).code
  }
}

function endless(): Readable {
  return new Readable({
    read() {
      this.push(CANARY.repeat(1000))
    },
  })
}

/** A client of which only the leaving matters. */
function leave(protocol: Protocol, port: number): { destroy(): unknown } {
  if (protocol === http1)
    return request({ host: '127.0.0.1', port })
      .on('error', () => {})
      .end()
  const session = connect(`http://127.0.0.1:${port}`)
  session
    .request()
    .on('error', () => {})
    .end()
  return session
}
