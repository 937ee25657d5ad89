import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import type { Express, Request } from 'express'
import { describe, expect, it, onTestFinished } from 'vitest'
import { TaintDeniedError } from '../../lib/errors.ts'
import type { TaintPolicy } from '../../lib/http/labels/taint.ts'
import { deniesTaint, taints } from '../../lib/http/labels/taint-gates.ts'
import { taintOf } from '../../lib/http/labels/taint-labels.ts'
import { openMemory } from '../labels/subjects.ts'
import { createTaintApp, frameworks, type Reply, type SiteOptions, serve, Visitor } from './taint-site.ts'

async function visit(options: SiteOptions): Promise<Visitor> {
  const site = await serve(createTaintApp(options))
  onTestFinished(() => site.close())
  const visitor = new Visitor(site)
  await visitor.post('/begin')
  return visitor
}

describe.each(frameworks)('a gate on $framework', ({ express }) => {
  const gated = (policy: TaintPolicy) => (app: Express) => {
    app.get('/read', taints('pii'), (_req, res) => void res.send('CANARY'))
    app.post('/export', deniesTaint(policy), (_req, res) => void res.send('exported'))
  }

  it.each<[string, number, TaintPolicy]>([
    ['false', 200, () => false],
    ['a promise of false', 200, async () => false],
    ['true', 403, () => true],
    ['a promise of true', 403, async () => true],
    ['nothing', 403, (() => undefined) as never],
    ['null', 403, (() => null) as never],
    ['0', 403, (() => 0) as never],
    [
      'an exception',
      500,
      () => {
        throw new Error('broken')
      },
    ],
    ['a rejection', 500, () => Promise.reject(new Error('broken'))],
  ])('whose policy answers %s answers %d', async (_, status, policy) => {
    const visitor = await visit({ express, routes: gated(policy) })
    await visitor.get('/read')

    expect((await visitor.post('/export')).status).toBe(status)
  })

  it('gives its policy the labels and the request', async () => {
    const seen: unknown[] = []
    const policy: TaintPolicy = (labels, req) => {
      seen.push([...labels], req.path)
      return false
    }
    const visitor = await visit({ express, routes: gated(policy) })
    await visitor.get('/read')

    await visitor.post('/export')

    expect(seen.slice(0, 2)).toEqual([['pii'], '/export'])
  })

  it('passes its refusal on, so that the app can answer in its own words', async () => {
    const visitor = await visit({
      express,
      routes: (app) => {
        gated((labels) => labels.has('pii'))(app)
        app.use(
          (
            error: unknown,
            _req: unknown,
            res: { status(code: number): { json(body: unknown): void } },
            _next: unknown,
          ) => {
            const { code, reason, status } = error as TaintDeniedError
            res.status(status).json({ code, reason })
          },
        )
      },
    })
    await visitor.get('/read')

    const { status, body } = await visitor.post('/export')
    expect({ status, body }).toEqual({ status: 403, body: '{"code":"ERR_TAINT_DENIED","reason":"labels"}' })
  })

  it('decides by what is stored now, not by what the request began with', async () => {
    const { store } = openMemory()
    const visitor = await visit({
      express,
      labels: store,
      routes: (app) => {
        app.post('/export', async (req, _res, next) => {
          await store.add(req.sessionID, ['pii'])
          next()
        })
        app.post('/export', deniesTaint('pii'), (_req, res) => void res.send('exported'))
      },
    })

    expect((await visitor.post('/export')).status).toBe(403)
  })

  it('decides once more before the response leaves', async () => {
    const { store } = openMemory()
    const visitor = await visit({
      express,
      labels: store,
      routes: (app) =>
        app.post('/export', deniesTaint('pii'), async (req, res) => {
          await store.add(req.sessionID, ['pii'])
          res.send('CANARY')
        }),
    })

    const { status, body } = await visitor.post('/export')
    expect(status).toBe(403)
    expect(body).not.toContain('CANARY')
  })

  it('lets check() tell a stream that has been open for long', async () => {
    const { store } = openMemory()
    let failure: unknown
    const visitor = await visit({
      express,
      labels: store,
      routes: (app) =>
        app.get('/stream', deniesTaint('pii'), async (req, res) => {
          await new Promise((resolve) => res.write('one', resolve))
          await taintOf(req).check()
          await store.add(req.sessionID, ['pii'])
          failure = await taintOf(req)
            .check()
            .catch((error: unknown) => error)
          res.write('CANARY')
          res.end()
        }),
    })

    const { body } = await visitor.get('/stream')
    expect(failure).toBeInstanceOf(TaintDeniedError)
    // The gate is asked once more at the end.
    expect(body).toBe('(cut off)')
  })

  it('leaves check() to load only, where there is no gate', async () => {
    const visitor = await visit({
      express,
      routes: (app) =>
        app.get('/check', taints('pii'), async (req, res) => {
          res.json([...(await taintOf(req).check())])
        }),
    })

    expect((await visitor.get('/check')).body).toBe('["pii"]')
  })
})

/** What a sink took in whole, as an export or an outbound mail would. */
type Sink = (app: Express, taken: string[], express: Framework) => void
type Framework = (typeof frameworks)[number]['express']

const sinks: readonly (readonly [string, Sink])[] = [
  [
    'after a body parser',
    (app, taken, express) =>
      app.post('/export', express.text({ limit: '1mb' }), deniesTaint('pii'), (req: Request, res) => {
        taken.push(String(req.body))
        res.send('exported')
      }),
  ],
  [
    'before a body parser',
    (app, taken, express) =>
      app.post('/export', deniesTaint('pii'), express.text({ limit: '1mb' }), (req: Request, res) => {
        taken.push(String(req.body))
        res.send('exported')
      }),
  ],
  [
    'with a handler that reads the body to its end',
    (app, taken) =>
      app.post('/export', deniesTaint('pii'), async (req, res, next) => {
        try {
          taken.push(await text(req))
          res.send('exported')
        } catch (error) {
          next(error)
        }
      }),
  ],
  [
    'with a handler that passes each piece on after check()',
    (app, taken) =>
      app.post('/export', deniesTaint('pii'), async (req, res, next) => {
        try {
          for await (const piece of req) {
            await taintOf(req).check()
            taken.push(String(piece))
          }
          res.send('exported')
        } catch (error) {
          next(error)
        }
      }),
  ],
]

const ROUNDS = 100
const AT_ONCE = 10

/** Begins an upload, reads a secret meanwhile, and finishes the upload with it. */
async function openSinkTrick(visitor: Visitor): Promise<Reply | 'cut off'> {
  const upload = visitor.send('POST', '/export', { 'content-type': 'text/plain' })
  const reply = visitor.replyTo(upload).catch(() => 'cut off' as const)
  upload.on('error', () => {})
  upload.write('harmless ')
  await once(upload, 'socket')
  const { body: secret } = await new Visitor({ port: visitor.port }, visitor.cookie).get('/read')
  upload.end(secret)
  return reply
}

describe('the open-sink trick', () => {
  const [{ express }] = frameworks

  it.each(sinks)('is refused 100 of 100 times %s', { timeout: 180_000 }, async (_, sink) => {
    const taken: string[] = []
    const site = await serve(
      createTaintApp({
        express,
        routes: (app) => {
          app.get('/read', taints('pii'), (_req, res) => void res.send('CANARY'))
          sink(app, taken, express)
        },
      }),
    )
    onTestFinished(() => site.close())
    const statuses: (number | string)[] = []
    for (let round = 0; round < ROUNDS; round += AT_ONCE) {
      const replies = Array.from({ length: AT_ONCE }, async () => {
        const visitor = new Visitor(site)
        await visitor.post('/begin')
        return openSinkTrick(visitor)
      })
      for (const reply of await Promise.all(replies))
        statuses.push(reply === 'cut off' ? reply : reply.status)
    }

    expect(statuses).toEqual(Array(ROUNDS).fill(403))
    expect(taken.filter((piece) => piece.includes('CANARY'))).toEqual([])
  })
})

describe.each(frameworks)('a gate on $framework', ({ express }) => {
  it.each(sinks)(
    'does not stand in the way of an honest upload %s',
    async (_, sink) => {
      const taken: string[] = []
      const visitor = await visit({ express, routes: (app) => sink(app, taken, express) })

      expect(await visitor.post('/export', 'x'.repeat(100_000))).toMatchObject({
        status: 200,
        body: 'exported',
      })
      expect(taken.join('')).toBe('x'.repeat(100_000))
      expect(await visitor.post('/export')).toMatchObject({ status: 200 })
    },
    5000,
  )
})
