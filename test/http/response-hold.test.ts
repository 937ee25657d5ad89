import { once } from 'node:events'
import { Agent, request, type ServerResponse } from 'node:http'
import { connect, type Http2ServerResponse } from 'node:http2'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { type Departure, holdResponse, type ResponseHolder } from '../../lib/http/response-hold.ts'
import type { AnyResponse } from '../../lib/http/response-methods.ts'
import { createGate } from '../store/gate.ts'
import { until } from '../support/until.ts'
import { answerTo, http1, http2, type Listener, type Protocol, type Site } from './protocols.ts'

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
  const asked: Departure[] = []
  const refused: unknown[] = []
  const holder: ResponseHolder = {
    release(departure) {
      asked.push(departure)
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
    const asked: Departure[] = []
    const holder: ResponseHolder = {
      release(departure) {
        asked.push(departure)
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
    expect(asked).toEqual(['head', 'end'])
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

    const refused = 'ERR_HTTP_HEADERS_SENT'
    expect(seen).toEqual([false, false, false, true, refused, refused, refused, refused, true, true])
    expect(answer).toMatchObject({ status: 202, body: 'ab', headers: { 'x-kept': 'first' } })
  })

  test('lets a source that was told to wait go on once', async () => {
    const { holder, open, asked } = gatedHolder()
    let drains = 0
    const big = Array.from({ length: 64 }, (_, at) => String(at % 10).repeat(16_384))
    const { ask } = await serveHeld(protocol, [holder], (res) => {
      res.write('first ')
      res.once('drain', () => {
        drains += 1
        Readable.from(big).pipe(res)
      })
    })

    const asking = ask('/')
    await until(() => asked.length > 0)
    open()
    const { body } = await asking

    expect(drains).toBe(1)
    expect(body).toBe(`first ${big.join('')}`)
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

    test('swallows what the handler does later, without a throw', async () => {
      const { holder, open, refused } = gatedHolder(() => {
        throw outage()
      })
      const seen: unknown[] = []
      const later = createGate()
      const { ask } = await serveHeld(protocol, [holder], async (res) => {
        res.write(CANARY)
        open()
        await until(() => refused.length > 0)
        seen.push(res.headersSent)
        res.setHeader('X-Late', CANARY)
        res.removeHeader('X-Late')
        seen.push(res.write(CANARY))
        res.write(CANARY, (error) => seen.push(error?.message))
        seen.push(res.end(CANARY, () => seen.push('ended')) === res, res.writeHead(200) === res)
        res.flushHeaders()
        res.writeEarlyHints({ link: '</a>; rel=preload' })
        await until(() => seen.length === 6)
        later.open()
      })

      const answer = await ask('/')
      await later.opened

      expect(answer).toMatchObject({ status: 503, body: 'Service Unavailable' })
      expect(answer.informational).toEqual([])
      expect(seen).toEqual([true, true, true, true, expect.any(String), 'ended'])
    })

    test('tells the callbacks of what was kept', async () => {
      const heard: unknown[] = []
      const { ask } = await serveHeld(protocol, [failing()], (res) => {
        res.write(CANARY, (error) => heard.push(error?.message))
      })

      await ask('/')

      await until(() => heard.length > 0)
      expect(heard).toEqual(['down'])
    })

    test('unpipes and destroys its sources, one that comes later too', async () => {
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
      await until(() => sources.every((source) => source.destroyed))
      expect(sources.map((source) => source.listenerCount('data'))).toEqual([0, 0])
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
        [{ release: (departure) => (departure === 'end' ? Promise.reject(outage()) : undefined) }],
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
  test('keeps the connection for the next request after it was refused', async () => {
    const sockets = new Set<unknown>()
    const site = await serve(http1, (req, res) => {
      sockets.add(req.socket)
      if (req.url === '/refused') holdResponse(res, failing())
      plain(res).end(req.url)
    })
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    const ask = async (path: string) => {
      const sent = request({ host: '127.0.0.1', port: site.port, path, agent }).end()
      return answerTo(sent)
    }

    const answers = [await ask('/refused'), await ask('/next')]
    agent.destroy()

    expect(answers).toMatchObject([{ status: 503 }, { status: 200, body: '/next' }])
    expect(sockets.size).toBe(1)
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
    sent.end('b'.repeat(100_000))

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
