import { ServerResponse } from 'node:http'
import session from 'express-session'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { StoreUnavailableError } from '../../lib/errors.ts'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { COOKIE_SECRET, contentOf, frameworks } from '../store/app.ts'
import { storeKinds } from '../store/stores.ts'
import { until } from '../support/until.ts'
import { guarded } from './guarded.ts'
import { http1, type Listener, type Site } from './protocols.ts'

const sites: Site[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  await Promise.all(sites.splice(0).map((site) => site.close()))
})

const failing = () => ({
  put: async () => {
    throw new StoreUnavailableError('timeout')
  },
})

describe.each(frameworks)('on $framework, a save that failed', ({ express }) => {
  const [kind] = storeKinds()

  test.each(['/told', '/told-new'])('and was told lets the page of the handler through: %s', async (path) => {
    if (kind === undefined) throw new Error('No kind of store')
    const { middlewares, errors } = guarded({ place: kind.place(), verbs: failing })
    const app = express()
    const handled: unknown[] = []
    app.use(...middlewares)
    app.get('/told', (req, res) => {
      contentOf(req)['user'] = 'alice'
      req.session.save((error?: unknown) => res.status(error ? 409 : 200).send('page'))
    })
    app.get('/told-new', (req, res) => {
      req.session.regenerate(() => {
        contentOf(req)['user'] = 'alice'
        req.session.save((error?: unknown) => res.status(error ? 409 : 200).send('page'))
      })
    })
    app.use((error: unknown, _req: unknown, _res: unknown, _next: unknown) => void handled.push(error))
    const site = await http1.serve(app as unknown as Listener)
    sites.push(site)

    expect(await site.ask(path)).toMatchObject({ status: 409, body: 'page', isComplete: true })
    expect([errors, handled]).toEqual([[], []])
  })
})

test('passes a request on whose response is none of Node', () => {
  const next = vi.fn()
  const guard = sessionGuard({ store: new InProcessStore() })

  guard({} as never, { setHeader() {}, end() {} } as never, next)

  expect(next).toHaveBeenCalledExactlyOnceWith()
})

test('refuses a runtime whose responses cannot be held', () => {
  vi.spyOn(ServerResponse.prototype, 'end').mockImplementation(function (this: ServerResponse) {
    return this
  })

  expect(() => sessionGuard({ store: new InProcessStore() })).toThrow(
    /^sessionGuard needs Node\.js 20 or later/,
  )
})

test('does not warn of the cookie of a client that came with it, however it is encoded', async () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const store = new InProcessStore()
  const app = frameworks[0].express()
  const options = { secret: COOKIE_SECRET, resave: false, saveUninitialized: false, proxy: true }
  app.use(session({ store, ...options, cookie: { secure: true } }))
  app.use(sessionGuard({ store }))
  let finished = 0
  app.get('/', (req, res) => {
    contentOf(req)['count'] = Number(contentOf(req)['count'] ?? 0) + 1
    res.on('finish', () => {
      finished += 1
    })
    res.json(contentOf(req)['count'])
  })
  const site = await http1.serve(app as unknown as Listener)
  sites.push(site)
  const ask = (cookie = '') => site.ask('/', { headers: { 'x-forwarded-proto': 'https', cookie } })
  const [cookie = ''] = (await ask()).headers['set-cookie'] ?? []
  const [head = '', id = ''] = cookie.split('s%3A')

  const encoded = `%${id.charCodeAt(0).toString(16)}${id.slice(1)}`
  expect((await ask(`${head}s%3A${encoded}`)).body).toBe('2')

  await until(() => finished === 2)
  expect(warn.mock.calls).toEqual([])
})

test('warns once when a secure cookie cannot be sent', async () => {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  const store = new InProcessStore()
  const app = frameworks[0].express()
  app.use(
    session({
      store,
      secret: COOKIE_SECRET,
      resave: false,
      saveUninitialized: false,
      cookie: { secure: true },
    }),
  )
  app.use(sessionGuard({ store }))
  app.get('/', (req, res) => {
    contentOf(req)['user'] = 'alice'
    res.send('in')
  })
  const site = await http1.serve(app as unknown as Listener)
  sites.push(site)

  await site.ask('/')
  await site.ask('/')

  await until(() => warn.mock.calls.length > 0)
  expect(warn.mock.calls.map(([text]) => String(text).includes('trust proxy'))).toEqual([true])
})
