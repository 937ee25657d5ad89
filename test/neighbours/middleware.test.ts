import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type RequestListener, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { promisify } from 'node:util'
import flash from 'connect-flash'
import { csrfSync } from 'csrf-sync'
import express, { type Express, type RequestHandler } from 'express'
import session from 'express-session'
import { createProxyMiddleware } from 'http-proxy-middleware'
import passport from 'passport'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { ValkeyStore, type ValkeyStoreOptions } from '../../lib/store/valkey-store.ts'
import { COOKIE_SECRET, contentOf, regenerate, save } from '../store/app.ts'
import { ValkeyServer } from '../support/valkey-server.ts'
import { browser, POST } from './browser.ts'

const SECRET = randomBytes(32)

let valkey: ValkeyServer
beforeAll(async () => {
  valkey = await ValkeyServer.start()
})
afterAll(() => valkey?.stop())

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  await Promise.all(closing.splice(0).map((close) => close()))
})

function open(options: Partial<ValkeyStoreOptions> = {}, url = valkey.url): ValkeyStore {
  const store = new ValkeyStore({
    connection: { url },
    secrets: [SECRET],
    ...options,
  } as ValkeyStoreOptions)
  closing.push(() => store.close())
  return store
}

function sessionOf(store: ValkeyStore): RequestHandler {
  return session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false })
}

async function serve(listener: RequestListener): Promise<string> {
  const server: Server = createServer(listener)
  await once(server.listen(0, '127.0.0.1'), 'listening')
  closing.push(() => {
    server.closeAllConnections()
    return promisify(server.close.bind(server))()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** An app with a session and the guard, as an app mounts them. */
function guardedApp(store: ValkeyStore): Express {
  return express().use(sessionOf(store), sessionGuard({ store }))
}

describe('Passport', () => {
  class ObjectId {
    readonly #hex: string
    constructor(hex: string) {
      this.#hex = hex
    }
    toJSON(): string {
      return this.#hex
    }
    toHexString(): string {
      return this.#hex
    }
  }

  /** The app of Passport's users: what `serializeUser` hands over stands in `session.passport.user`. */
  async function passportApp(store: ValkeyStore, serialized: (name: string) => unknown): Promise<string> {
    const authenticator = new passport.Passport()
    authenticator.serializeUser((user, done) => done(null, serialized((user as { name: string }).name)))
    authenticator.deserializeUser((kept, done) => done(null, { kept } as Express.User))
    const app = guardedApp(store).use(authenticator.initialize(), authenticator.session())
    app.post('/sign-in/:name', (req, res, next) => {
      req.login({ name: req.params.name } as Express.User, (error) =>
        error ? next(error) : res.redirect(303, '/'),
      )
    })
    app.post('/sign-out', (req, res, next) => {
      req.logout((error) => (error ? next(error) : res.redirect(303, '/')))
    })
    app.get('/', (req, res) => {
      res.json(req.user ?? null)
    })
    return serve(app)
  }

  const byId: ValkeyStoreOptions['userId'] = (content) => {
    const { passport: kept } = content as { passport?: { user?: { id?: string } } }
    return kept?.user?.id
  }
  const users = [
    ['text', (name: string): unknown => name, {}, 'ann'],
    ['an ObjectId', () => new ObjectId('64b0c0ffee'), {}, '64b0c0ffee'],
    [
      'an object, with the option "userId"',
      (name: string) => ({ id: `id of ${name}` }),
      { userId: byId },
      'id of ann',
    ],
  ] as const

  it.each(users)(
    'whose users are %s: signs in, lists, signs out everywhere',
    async (_, serialized, options, userId) => {
      const store = open(options)
      const origin = await passportApp(store, serialized)
      const [phone, laptop] = [browser(origin), browser(origin)]

      expect((await phone('/sign-in/ann', POST)).status).toBe(303)
      expect((await laptop('/sign-in/ann', POST)).status).toBe(303)
      expect(JSON.parse((await phone('/')).body)).toEqual({
        kept: JSON.parse(JSON.stringify(serialized('ann'))),
      })
      expect(await store.registry.count(userId)).toBe(2)

      await phone('/sign-out', POST)
      expect((await phone('/')).body).toBe('null')
      expect(await store.registry.count(userId)).toBe(1)
      await store.registry.endAll(userId)
      expect((await laptop('/')).body).toBe('null')
    },
  )

  it('whose users are objects, without the option, is refused at the sign-in', async () => {
    const origin = await passportApp(open(), (name) => ({ id: name }))
    const phone = browser(origin)

    expect((await phone('/sign-in/ann', POST)).status).toBe(500)
    expect((await phone('/')).body).toBe('null')
  })

  it('redirects nobody after a sign-in or sign-out that could not be stored', async () => {
    const own = await ValkeyServer.start()
    const phone = browser(await passportApp(open({}, own.url), (name) => name))

    expect((await phone('/sign-in/ann', POST)).status).toBe(303)
    await own.stop()
    expect((await phone('/sign-out', POST)).status).toBe(503)
    expect((await phone('/sign-in/ann', POST)).status).toBe(503)
  })
})

describe('csrf-sync', () => {
  it('keeps its token in the session: wanted by a change, and another one after a sign-in', async () => {
    const { csrfSynchronisedProtection, generateToken } = csrfSync()
    const app = guardedApp(open())
    app.get('/token', (req, res) => {
      res.send(generateToken(req))
    })
    app.use(csrfSynchronisedProtection)
    app.post('/sign-in', async (req, res) => {
      await regenerate(req)
      contentOf(req)['userId'] = 'ann'
      res.send(generateToken(req))
    })
    app.post('/change', (_req, res) => {
      res.send('changed')
    })
    const origin = await serve(app)
    const [ann, mallory] = [browser(origin), browser(origin)]
    const withToken = (token: string) => ({ ...POST, headers: { 'x-csrf-token': token } })
    const first = (await ann('/token')).body
    const foreign = (await mallory('/token')).body

    expect((await ann('/change', POST)).status).toBe(403)
    expect((await ann('/change', withToken(foreign))).status).toBe(403)
    expect((await ann('/change', withToken(first))).body).toBe('changed')
    const second = (await ann('/sign-in', withToken(first))).body
    const pages = await Promise.all([ann('/token'), ann('/token'), ann('/token')])

    expect(pages.map(({ body }) => body)).toEqual([second, second, second])
    expect((await ann('/change', withToken(first))).status).toBe(403)
    expect((await ann('/change', withToken(second))).body).toBe('changed')
  })
})

describe('connect-flash', () => {
  it('has the message on the page that the redirect leads to, and once', async () => {
    const app = guardedApp(open()).use(flash())
    app.post('/buy', (req, res) => {
      req.flash('info', 'bought %s', 'a hat')
      res.redirect(303, '/')
    })
    app.get('/', (req, res) => {
      res.json(req.flash('info'))
    })
    const ann = browser(await serve(app))

    for (let round = 0; round < 20; round++) {
      expect((await ann('/buy', POST)).status).toBe(303)
      expect((await ann('/')).body).toBe('["bought a hat"]')
      expect((await ann('/')).body).toBe('[]')
    }
  })
})

describe('http-proxy-middleware', () => {
  const LARGE = 'x'.repeat(3_000_000)

  it('behind the guard passes bodies on in both directions, once what was changed is stored', async () => {
    const upstream = await serve(async (req, res) => {
      let length = 0
      for await (const chunk of req) length += (chunk as Buffer).length
      res.writeHead(200, { 'set-cookie': 'upstream=1', 'x-user': String(req.headers['x-user']) })
      res.end(`${length} ${LARGE}`)
    })
    const store = open()
    const app = guardedApp(store)
    app.use('/api', (req, _res, next) => {
      contentOf(req)['count'] = Number(contentOf(req)['count'] ?? 0) + 1
      req.headers['x-user'] = `user ${String(contentOf(req)['count'])}`
      next()
    })
    app.use('/api', createProxyMiddleware({ target: upstream, changeOrigin: true }))
    app.get('/', (req, res) => {
      res.json(contentOf(req)['count'] ?? 0)
    })
    const ann = browser(await serve(app))

    for (const count of [1, 2, 3]) {
      const { status, body, headers } = await ann('/api/send', { ...POST, body: LARGE })
      expect([status, body === `${LARGE.length} ${LARGE}`]).toEqual([200, true])
      expect(headers.getSetCookie()).toContain('upstream=1')
      expect(headers.get('x-user')).toBe(`user ${count}`)
      expect((await ann('/')).body).toBe(String(count))
    }
  })

  it('behind the guard shows nothing of the upstream when the session cannot be stored', async () => {
    const own = await ValkeyServer.start()
    closing.push(() => own.stop())
    const upstream = await serve(async (_req, res) => {
      await own.stop()
      res.end('a secret of the upstream')
    })
    const app = guardedApp(open({}, own.url))
    app.use((req, _res, next) => {
      contentOf(req)['seen'] = true
      next()
    })
    app.use('/api', createProxyMiddleware({ target: upstream }))
    const { status, body } = await browser(await serve(app))('/api/secret')

    expect(status).toBe(503)
    expect(body).not.toContain('secret')
  })

  it('before session() needs no session, so it goes on while Valkey is away', async () => {
    const own = await ValkeyServer.start()
    const store = open({}, own.url)
    const upstream = await serve((req, res) => res.end(`upstream ${req.url}`))
    const app = express()
    app.use('/assets', createProxyMiddleware({ target: upstream }))
    app.use(sessionOf(store), sessionGuard({ store }))
    app.get('/', async (req, res) => {
      contentOf(req)['seen'] = true
      await save(req)
      res.send('stored')
    })
    const ann = browser(await serve(app))

    expect((await ann('/')).body).toBe('stored')
    await own.stop()
    expect(await ann('/assets/logo')).toMatchObject({ status: 200, body: 'upstream /logo' })
    expect((await ann('/')).status).toBe(503)
  })
})
