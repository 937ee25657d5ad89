import { IncomingMessage, ServerResponse } from 'node:http'
import { Socket } from 'node:net'
import type { Express } from 'express'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { StoreUnavailableError } from '../../lib/errors.ts'
import { deniesTaint, taints } from '../../lib/http/labels/taint-gates.ts'
import { taintLabels, taintOf } from '../../lib/http/labels/taint-labels.ts'
import type { LabelStore } from '../../lib/labels/label-store.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { openMemory } from '../labels/subjects.ts'
import { internalsOf } from '../store/parts-store.ts'
import {
  createTaintApp,
  destroy,
  frameworks,
  regenerate,
  type SiteOptions,
  serve,
  Visitor,
} from './taint-site.ts'

const actor = { type: 'dpo' }

async function visit(options: SiteOptions): Promise<Visitor> {
  const site = await serve(createTaintApp(options))
  onTestFinished(() => site.close())
  return new Visitor(site)
}

/** A visitor with a session. */
async function visitWithSession(options: SiteOptions): Promise<Visitor> {
  const visitor = await visit(options)
  await visitor.post('/begin')
  return visitor
}

/** Counts calls, and fails those that are told to. */
function watch(store: LabelStore) {
  const calls = { load: 0, add: 0 }
  const failing = { load: false, add: false }
  const watched: LabelStore = {
    load: async (...args) => {
      calls.load += 1
      if (failing.load) throw new StoreUnavailableError('timeout')
      return store.load(...args)
    },
    add: async (...args) => {
      calls.add += 1
      if (failing.add) throw new StoreUnavailableError('no-permission')
      return store.add(...args)
    },
    declassify: (...args) => store.declassify(...args),
    check: () => store.check(),
    close: () => store.close(),
  }
  return { store: watched, calls, failing }
}

describe.each(frameworks)('taintLabels on $framework', ({ express }) => {
  const reading = (app: Express) => {
    app.get('/read', taints('pii'), (_req, res) => void res.send('CANARY'))
    app.post('/export', deniesTaint('pii', 'secret'), (_req, res) => void res.send('exported'))
  }

  describe('requests without a session', () => {
    it('never touch the store, not even at a gate', async () => {
      const { store, calls } = watch(openMemory().store)
      const anonymous = await visit({ express, labels: store, routes: reading })

      expect(await anonymous.get('/labels')).toMatchObject({ status: 200, body: '[]' })
      expect(await anonymous.post('/export', 'x')).toMatchObject({ status: 200, body: 'exported' })
      expect(anonymous.cookie).toBeUndefined()
      expect(calls).toEqual({ load: 0, add: 0 })
    })

    it('that bring an id of nobody do not make one theirs', async () => {
      const { store, calls } = watch(openMemory().store)
      const anonymous = await visit({ express, labels: store, routes: reading })
      anonymous.cookie = 'connect.sid=s%3Amade-up.AAAA'

      expect(await anonymous.post('/export')).toMatchObject({ status: 200 })
      expect(calls).toEqual({ load: 0, add: 0 })
    })
  })

  describe('requests with a session', () => {
    it('load its labels, once', async () => {
      const { store, calls } = watch(openMemory().store)
      const visitor = await visitWithSession({ express, labels: store })

      await store.add(visitor.sid, ['pii', 'elsewhere'])
      calls.add = 0

      expect(await visitor.get('/labels')).toMatchObject({ status: 200, body: '["elsewhere","pii"]' })
      expect(calls).toMatchObject({ load: 1, add: 0 })
    })

    it('see what they add, at once and ever after', async () => {
      const visitor = await visitWithSession({
        express,
        routes: (app) =>
          app.get('/add', async (req, res) => {
            const before = taintOf(req).has('pii')
            const adding = taintOf(req).add('pii', 'secret')
            const during = taintOf(req).has('pii')
            await adding
            res.json({ before, during, after: [...(await taintOf(req).check())].sort() })
          }),
      })

      expect(JSON.parse((await visitor.get('/add')).body)).toEqual({
        before: false,
        during: true,
        after: ['pii', 'secret'],
      })
      expect((await visitor.get('/labels')).body).toBe('["pii","secret"]')
    })

    it('cannot take a label away through what they are given', async () => {
      const visitor = await visitWithSession({
        express,
        routes: (app) => {
          reading(app)
          app.post('/launder', taints('pii'), (req, res) => {
            ;(taintOf(req).labels as Set<string>).clear()
            res.json(taintOf(req).has('pii'))
          })
        },
      })

      expect((await visitor.post('/launder')).body).toBe('true')
      expect((await visitor.post('/export')).status).toBe(403)
    })
  })

  describe('a brand-new session that gets a label', () => {
    it.each([true, false])('is stored, and the client keeps it; with a guard: %s', async (isGuarded) => {
      const sessions = new InProcessStore()
      const visitor = await visit({ express, sessions, isGuarded, routes: reading })

      expect(await visitor.get('/read')).toMatchObject({ status: 200, body: 'CANARY' })
      expect(visitor.cookie).toBeDefined()
      expect(await sessions.get(visitor.sid)).toMatchObject({ tainted: true })
      expect(await visitor.get('/labels')).toMatchObject({ body: '["pii"]' })
      expect(await visitor.post('/export')).toMatchObject({ status: 403 })
    })
  })

  describe('taints', () => {
    it('lets the handler run only when the labels stand', async () => {
      const { store } = openMemory()
      const visitor = await visitWithSession({
        express,
        labels: store,
        routes: (app) =>
          app.get('/look', taints('pii'), async (req, res) => {
            res.json([...(await store.load(req.sessionID)).labels])
          }),
      })

      expect((await visitor.get('/look')).body).toBe('["pii"]')
    })

    it('does not let it run when they cannot be stored', async () => {
      const { store, failing } = watch(openMemory().store)
      let runs = 0
      const visitor = await visitWithSession({
        express,
        labels: store,
        routes: (app) => app.get('/look', taints('pii'), (_req, res) => void res.send(`CANARY ${++runs}`)),
      })
      failing.add = true

      const { status, headers, body } = await visitor.get('/look')
      expect({ status, retryAfter: headers['retry-after'], runs }).toEqual({
        status: 503,
        retryAfter: '1',
        runs: 0,
      })
      expect(body).not.toContain('CANARY')
    })

    it('adds again what was declassified, as the data is seen anew', async () => {
      const { store } = openMemory()
      const visitor = await visitWithSession({ express, labels: store, routes: reading })
      await visitor.get('/read')
      await store.declassify({ sid: visitor.sid, labels: ['pii'], actor, reason: 'reviewed' })
      expect((await visitor.post('/export')).status).toBe(200)

      await visitor.get('/read')

      expect((await visitor.post('/export')).status).toBe(403)
    })
  })

  describe('an add that is not awaited', () => {
    const failingAdd = (catches: boolean) => (app: Express) =>
      app.get('/read', (req, res) => {
        const adding = taintOf(req).add('pii')
        if (catches) adding.catch(() => {})
        res.set('X-Secret', 'CANARY').send('CANARY')
      })

    it.each([true, false])(
      'and fails answers 503 without a byte of the handler; caught: %s',
      async (catches) => {
        const { store, failing } = watch(openMemory().store)
        const visitor = await visitWithSession({ express, labels: store, routes: failingAdd(catches) })
        failing.add = true

        const reply = await visitor.get('/read')

        expect(reply).toMatchObject({
          status: 503,
          headers: { 'retry-after': '1', 'cache-control': 'no-store' },
        })
        expect(JSON.stringify(reply)).not.toContain('CANARY')
      },
    )

    it('of something that is no label answers 500 without a byte of the handler', async () => {
      const visitor = await visitWithSession({
        express,
        routes: (app) =>
          app.get('/read', (req, res) => {
            taintOf(req)
              .add('not a label')
              .catch(() => {})
            res.send('CANARY')
          }),
      })

      const { status, body } = await visitor.get('/read')
      expect(status).toBe(500)
      expect(body).not.toContain('CANARY')
    })

    it('and fails in the middle of a stream cuts it off', async () => {
      const { store, failing } = watch(openMemory().store)
      const visitor = await visitWithSession({
        express,
        labels: store,
        routes: (app) =>
          app.get('/stream', async (req, res) => {
            res.write('harmless')
            failing.add = true
            await new Promise((resolve) => setImmediate(resolve))
            await taintOf(req)
              .add('pii')
              .catch(() => {})
            res.write('CANARY')
          }),
      })

      expect((await visitor.get('/stream')).body).toBe('(cut off)')
    })
  })

  describe('regenerate and sign-out', () => {
    const routes = (app: Express) => {
      reading(app)
      app.post('/regenerate', async (req, res) => {
        await regenerate(req)
        res.send(req.sessionID)
      })
      app.post('/sign-out', async (req, res) => {
        await destroy(req)
        res.end()
      })
      app.post('/regenerate-and-export', async (req, _res, next) => {
        await regenerate(req)
        next()
      })
      app.post('/regenerate-and-export', deniesTaint('pii'), (_req, res) => void res.send('exported'))
    }

    it.each([true, false])(
      'regenerate keeps the labels under the new id; with a guard: %s',
      async (isGuarded) => {
        const { store, codes } = openMemory()
        const visitor = await visitWithSession({ express, labels: store, isGuarded, routes })
        await visitor.get('/read')
        const { sid } = visitor

        const { body } = await visitor.post('/regenerate')

        expect(visitor.sid).toBe(body)
        expect(body).not.toBe(sid)
        expect((await store.load(body)).labels).toEqual(new Set(['pii']))
        expect((await visitor.get('/labels')).body).toBe('["pii"]')
        expect((await visitor.post('/export')).status).toBe(403)
        expect((await visitor.post('/regenerate-and-export')).status).toBe(403)
        expect(codes()).toEqual([])
      },
    )

    it('regenerate keeps what was declassified so', async () => {
      const { store, codes } = openMemory()
      const visitor = await visitWithSession({ express, labels: store, routes })
      await visitor.get('/read')
      await store.declassify({ sid: visitor.sid, labels: ['pii'], actor, reason: 'reviewed' })

      await visitor.post('/regenerate')

      expect((await visitor.get('/labels')).body).toBe('[]')
      expect((await visitor.post('/regenerate-and-export')).body).toBe('exported')
      expect((await visitor.post('/export')).body).toBe('exported')
      expect(codes()).toEqual([])
    })

    it('sign-out ends with the session, unless labels are of subjects', async () => {
      const visitor = await visitWithSession({ express, routes })
      await visitor.get('/read')

      expect((await visitor.post('/sign-out')).status).toBe(200)
      expect((await visitor.get('/labels')).body).toBe('[]')
    })
  })

  describe('what is sealed into the session', () => {
    it('is what it has been labelled with, by whomever', async () => {
      const { store } = openMemory()
      const sessions = new InProcessStore()
      let sealed: readonly string[] = []
      const visitor = await visitWithSession({
        express,
        sessions,
        labels: store,
        routes: (app) => {
          reading(app)
          app.get('/sealed', (req, res) => {
            sealed = internalsOf(sessions).sealedLabels(req.session)
            res.end()
          })
        },
      })
      await visitor.get('/read')
      await store.add(visitor.sid, ['elsewhere'])
      await visitor.get('/labels')
      await visitor.get('/sealed')

      expect([...sealed].sort()).toEqual(['elsewhere', 'pii'])
    })

    it('denies at every gate when the set is gone, and still answers the labels', async () => {
      const { store, codes } = openMemory()
      const sessions = new InProcessStore()
      const labelled = await visitWithSession({ express, sessions, labels: store, routes: reading })
      await labelled.get('/read')
      // Another, empty store of labels: the sets are gone.
      const after = openMemory()
      const site = await serve(
        createTaintApp({
          express,
          sessions,
          labels: after.store,
          routes: (app) => {
            app.post('/unrelated', deniesTaint('unrelated'), (_req, res) => void res.send('exported'))
            app.post(
              '/lenient',
              deniesTaint(() => false),
              (_req, res) => void res.send('exported'),
            )
          },
        }),
      )
      onTestFinished(() => site.close())
      const visitor = new Visitor(site, labelled.cookie)

      expect((await visitor.post('/unrelated')).status).toBe(403)
      expect((await visitor.post('/lenient')).status).toBe(403)
      expect((await visitor.get('/labels')).body).toBe('["pii"]')
      expect(after.codes()).toContain('labels-lost')
      expect(new Set(after.codes())).toEqual(new Set(['labels-lost']))
      expect(codes()).toEqual([])
    })

    it('is put back into a set that has become smaller', async () => {
      const sessions = new InProcessStore()
      const labelled = await visitWithSession({ express, sessions, routes: reading })
      await labelled.get('/read')
      const after = openMemory()
      await after.store.add(labelled.sid, ['later'])
      const site = await serve(createTaintApp({ express, sessions, labels: after.store, routes: reading }))
      onTestFinished(() => site.close())
      const visitor = new Visitor(site, labelled.cookie)

      expect((await visitor.get('/labels')).body).toBe('["later","pii"]')
      expect((await after.store.load(visitor.sid)).labels).toEqual(new Set(['later', 'pii']))
      expect((await visitor.post('/export')).status).toBe(403)
      expect(after.codes()).toEqual(['labels-shrunk'])
    })
  })

  describe('when labels cannot be loaded', () => {
    it('requests with a session get 503, and others are served', async () => {
      const { store, failing } = watch(openMemory().store)
      const visitor = await visitWithSession({ express, labels: store, routes: reading })
      failing.load = true

      expect(await visitor.get('/labels')).toMatchObject({ status: 503, headers: { 'retry-after': '1' } })
      expect(visitor.cookie).toBeDefined()
      visitor.cookie = undefined
      expect(await visitor.get('/labels')).toMatchObject({ status: 200 })
    })

    it('an app may go on, but gates deny and labels are not known', async () => {
      const { store, failing } = watch(openMemory().store)
      const visitor = await visitWithSession({
        express,
        labels: store,
        taint: { onStoreError: () => 'continue' },
        routes: (app) => {
          reading(app)
          app.get('/static', (_req, res) => void res.send('static'))
          app.get('/has', (req, res) => void res.json(taintOf(req).has('pii')))
        },
      })
      failing.load = true

      expect(await visitor.get('/static')).toMatchObject({ status: 200, body: 'static' })
      expect(await visitor.get('/has')).toMatchObject({ status: 503 })
      expect(await visitor.post('/export')).toMatchObject({ status: 503 })
    })

    it('an app that fails to decide does not go on', async () => {
      const { store, failing } = watch(openMemory().store)
      const onStoreError = () => {
        throw new Error('broken')
      }
      const visitor = await visitWithSession({ express, labels: store, taint: { onStoreError } })
      failing.load = true

      expect((await visitor.get('/labels')).status).toBe(500)
    })
  })

  describe('caching', () => {
    const routes = (app: Express) => {
      reading(app)
      app.get('/public', (_req, res) => void res.set('Cache-Control', 'public, max-age=60').send('x'))
      app.get(
        '/head',
        taints('pii'),
        (_req, res) => void res.writeHead(200, { 'Cache-Control': 'private' }).end('x'),
      )
      app.get('/late', (req, res) => {
        res.writeHead(200)
        void taintOf(req).add('pii')
        res.end('x')
      })
      app.get('/file', (_req, res) => res.sendFile(import.meta.filename))
    }
    const cacheControl = async (visitor: Visitor, path: string, headers = {}) =>
      (await visitor.get(path, headers)).headers['cache-control']

    it('is forbidden for responses to whom has labels, unless the app says otherwise', async () => {
      const visitor = await visitWithSession({ express, routes })

      expect(await cacheControl(visitor, '/labels')).toBeUndefined()
      expect(await cacheControl(visitor, '/late')).toBe('no-store')
      expect(await cacheControl(visitor, '/read')).toBe('no-store')
      expect(await cacheControl(visitor, '/labels')).toBe('no-store')
      expect(await cacheControl(visitor, '/file')).toBe('no-store')
      expect(await cacheControl(visitor, '/public')).toBe('public, max-age=60')
      expect(await cacheControl(visitor, '/head')).toBe('private')
    })

    it('is forbidden for 304 and HEAD, which reveal something too', async () => {
      const visitor = await visitWithSession({ express, routes })
      const { headers } = await visitor.get('/read')

      const unchanged = await visitor.get('/read', { 'if-none-match': headers.etag ?? '' })
      const head = await visitor.ask('HEAD', '/read')

      expect([unchanged.status, unchanged.headers['cache-control']]).toEqual([304, 'no-store'])
      expect([head.status, head.headers['cache-control'], head.body]).toEqual([200, 'no-store', ''])
    })
  })

  describe('misuse', () => {
    it('of gates and of taintOf without taintLabels is a 500 that says so', async () => {
      const app = express()
      app.set('env', 'test')
      app.get('/read', taints('pii'), (_req, res) => void res.send('CANARY'))
      app.post('/export', deniesTaint('pii'), (_req, res) => void res.send('CANARY'))
      app.get('/has', (req, res) => void res.json(taintOf(req).has('pii')))
      const site = await serve(app)
      onTestFinished(() => site.close())
      const visitor = new Visitor(site)

      for (const reply of [
        await visitor.get('/read'),
        await visitor.get('/has'),
        await visitor.post('/export'),
      ]) {
        expect(reply.status).toBe(500)
        expect(reply.body).toContain('mount taintLabels')
      }
    })

    it('of taintLabels before session() is a 500 that says so', async () => {
      const app = express()
      app.set('env', 'test')
      app.use(taintLabels({ store: openMemory().store, sessions: new InProcessStore() }))
      const site = await serve(app)
      onTestFinished(() => site.close())

      const reply = await new Visitor(site).get('/')
      expect(reply.status).toBe(500)
      expect(reply.body).toContain('mount it after session()')
    })

    it('twice is as once', async () => {
      const { store, calls } = watch(openMemory().store)
      const visitor = await visitWithSession({
        express,
        labels: store,
        routes: (app) => {
          app.use(taintLabels({ store }))
          reading(app)
        },
      })
      await visitor.get('/read')

      expect(await visitor.post('/export')).toMatchObject({ status: 403 })
      expect(calls.add).toBe(1)
    })
  })
})

describe('check() of the session store', () => {
  const tooShort = () => openMemory({ ttl: 5, longestSessionTtl: 60 }).store

  it('includes what the label store finds, from the start where it has both', async () => {
    const sessions = new InProcessStore()
    expect(await sessions.check()).toEqual([])

    taintLabels({ store: tooShort(), sessions })

    expect(await sessions.check()).toMatchObject([{ code: 'ttl-too-short', severity: 'warning' }])
  })

  it('includes it from the first request on where the session store is that of the request', async () => {
    const sessions = new InProcessStore()
    const visitor = await visit({ labels: tooShort(), sessions, taint: { sessions: undefined } })
    expect(await sessions.check()).toEqual([])

    await visitor.post('/begin')
    await visitor.post('/begin')

    expect(await sessions.check()).toMatchObject([{ code: 'ttl-too-short' }])
  })

  it('never rejects, also once the label store is closed', async () => {
    const [sessions, labels] = [new InProcessStore(), tooShort()]
    taintLabels({ store: labels, sessions })
    await labels.close()

    await expect(labels.check()).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' })
    expect(await sessions.check()).toEqual([])
  })
})

describe('taintLabels', () => {
  const { store } = openMemory()

  it.each<[string, unknown, RegExp]>([
    ['no options', undefined, /"options"/],
    ['no store', {}, /"store"/],
    ['a session store in place of the label store', { store: new InProcessStore() }, /"store"/],
    ['another kind of session store', { store, sessions: { get: () => {} } }, /"sessions"/],
    ['a subject that is no function', { store, subject: 'alice' }, /"subject"/],
    ['a word for onStoreError', { store, onStoreError: 'continue' }, /"onStoreError"/],
    ['no lifetime', { store, sessionTtl: 0 }, /"sessionTtl"/],
    ['an unknown option', { store, ttl: 5 }, /"ttl"/],
  ])('refuses %s by name', (_, options, message) => {
    expect(() => taintLabels(options as never)).toThrow(TypeError)
    expect(() => taintLabels(options as never)).toThrow(message)
  })

  it.each([
    ['subject', openMemory().store],
    [
      'onStoreError',
      {
        load: () => Promise.reject(new Error('away')),
        add: () => Promise.reject(new Error('away')),
        check: async () => [],
      },
    ],
  ] as const)('names the option %s when it throws', async (option, labels) => {
    const thrown = new Error('of the app')
    const throws = () => {
      throw thrown
    }
    const middleware = taintLabels({
      store: labels as LabelStore,
      sessions: new InProcessStore(),
      subject: () => 'ann',
      [option]: throws,
    })
    const req = new IncomingMessage(new Socket())
    const error = await new Promise((resolve) =>
      middleware(req as never, new ServerResponse(req) as never, resolve),
    )

    expect(error).toMatchObject({ code: 'ERR_STORE_OPTION', option, cause: thrown })
  })

  it('refuses requests without a response, as engine.io has them, and warns once', () => {
    const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    onTestFinished(() => warn.mockRestore())
    const middleware = taintLabels({ store, sessions: new InProcessStore() })
    const next = vi.fn()
    const res = { setHeader: () => {}, writeHead: () => {}, write: () => {}, end: () => {} }
    for (let times = 0; times < 2; times += 1) middleware({} as never, res as never, next)

    expect(next).toHaveBeenCalledTimes(2)
    expect(next).toHaveBeenCalledWith(
      expect.objectContaining({ message: expect.stringMatching(/engine\.io/) }),
    )
    expect(warn.mock.calls).toEqual([
      [expect.stringMatching(/engine\.io.*labels\.load/), { code: 'ESV_LABELS_WITHOUT_RESPONSE' }],
    ])
  })

  it('refuses gates without a label, or with a wrong one', () => {
    expect(() => taints()).toThrow(TypeError)
    expect(() => taints('not fine')).toThrow(TypeError)
    expect(() => deniesTaint()).toThrow(TypeError)
    expect(() => deniesTaint('not fine')).toThrow(TypeError)
    expect(() => deniesTaint('pii', (() => false) as never)).toThrow(TypeError)
  })
})
