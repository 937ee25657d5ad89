import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  createServer,
  request as httpRequest,
  type IncomingMessage,
  type RequestListener,
  type RequestOptions,
} from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import connect from 'connect'
import express from 'express'
import session from 'express-session'
import request from 'supertest'
import { describe, expect, test } from 'vitest'
import {
  InProcessStore,
  type SessionAdminOptions,
  type SessionStoreOptions,
  sessionAdmin,
  sessionGuard,
} from '../../lib/index.ts'

const express4: typeof express = createRequire(import.meta.url)('express4')
const SAME_ORIGIN = { 'Sec-Fetch-Site': 'same-origin' }
const UNKNOWN = 'A'.repeat(43)

interface Site {
  readonly app: express.Express
  readonly store: InProcessStore
  signIn(user: string): Promise<ReturnType<typeof request.agent>>
}

type Terms = Partial<Omit<SessionAdminOptions, 'store'>> & { readonly make?: typeof express }

function siteWith(
  terms: Terms = {},
  storeOptions: SessionStoreOptions = {},
  sessionOptions: Partial<session.SessionOptions> = {},
): Site {
  const { make = express, ...options } = terms
  const store = new InProcessStore(storeOptions)
  const app = make()
  app.use(
    session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false, ...sessionOptions }),
  )
  app.get('/in/:user', (req, res) => {
    Object.assign(req.session, { userId: req.params.user })
    res.send('in')
  })
  app.use(make.json())
  app.use(
    '/sessions',
    sessionAdmin({ store, authorize: (req) => req.headers['x-admin'] === 'yes', ...options }),
  )
  app.use((_req: express.Request, res: express.Response) => void res.status(418).send('not ours'))
  const signIn = async (user: string) => {
    const agent = request.agent(app)
    await agent.get(`/in/${user}`).expect(200)
    return agent
  }
  return { app, store, signIn }
}

async function handleOfNewest(store: InProcessStore, user: string): Promise<string> {
  return (await store.registry.list(user))[0]?.handle ?? ''
}

const yes = (): boolean => true

describe('sessionAdmin', () => {
  test.each([
    ['no authorize', { store: new InProcessStore() }, /"authorize"/],
    ['a store that is none', { store: {}, authorize: yes }, /"store"/],
    ['an actor that is no function', { store: new InProcessStore(), authorize: yes, actor: {} }, /"actor"/],
    [
      'a csrf check that is none',
      { store: new InProcessStore(), authorize: yes, verifyCsrf: 1 },
      /"verifyCsrf"/,
    ],
    ['an unknown option', { store: new InProcessStore(), authorize: yes, csrf: 1 }, /"csrf"/],
  ])('fails at construction with %s', (_, options, message) => {
    expect(() => sessionAdmin(options as unknown as SessionAdminOptions)).toThrow(message)
  })

  test.each([
    ['Express 5', express],
    ['Express 4', express4],
  ])('shows the signed-in user their own sessions, this one marked, under %s', async (_, make) => {
    const { signIn } = siteWith({ make })
    await signIn('alice')
    await signIn('bob')
    const agent = await signIn('alice')

    const { body, headers } = await agent.get('/sessions/me').expect(200)

    expect(body.sessions).toHaveLength(2)
    expect(body.sessions.map(({ isCurrent }: { isCurrent: boolean }) => isCurrent)).toEqual([true, false])
    expect(headers['cache-control']).toBe('no-store')
    expect((await agent.get('/sessions/me/count')).body).toEqual({ count: 2 })
  })

  test('takes a store of the package’s other module format', async () => {
    // Stands in for one: an object that no class of this module has made.
    const { userIdOf, registry } = new InProcessStore() as InProcessStore & { readonly userIdOf: unknown }
    const app = express().use(sessionAdmin({ store: { userIdOf, registry } as never, authorize: yes }))

    const { body } = await request(app).get('/users/alice/sessions/count').expect(200)

    expect(body).toEqual({ count: 0 })
  })

  test('knows the session of the request by an id that looks like a handle', async () => {
    const genid = () => randomBytes(32).toString('base64url')
    const { signIn, store } = siteWith({}, {}, { genid })
    await signIn('alice')
    const agent = await signIn('alice')

    const { body } = await agent.get('/sessions/me').expect(200)
    await agent.delete('/sessions/me').set(SAME_ORIGIN).expect(200)

    expect(body.sessions.map(({ isCurrent }: { isCurrent: boolean }) => isCurrent)).toEqual([true, false])
    expect(await handleOfNewest(store, 'alice')).toBe(body.sessions[0].handle)
    expect(await store.registry.count('alice')).toBe(1)
  })

  test('never shows a session id', async () => {
    const { signIn, store } = siteWith()
    const agent = await signIn('alice')
    const cookie = String((await request(siteWith().app).get('/in/alice')).headers['set-cookie'])
    expect(cookie).toContain('connect.sid')

    const { text } = await agent.get('/sessions/me').expect(200)

    expect(text).toContain(await handleOfNewest(store, 'alice'))
    expect(text).not.toMatch(/s%3A|"id"|cookie/)
  })

  test('ends one of the user’s own sessions, and says why to its record', async () => {
    const { signIn, store } = siteWith()
    const victim = await signIn('alice')
    const handle = await handleOfNewest(store, 'alice')
    const agent = await signIn('alice')

    const { body } = await agent
      .delete(`/sessions/me/${handle}`)
      .set(SAME_ORIGIN)
      .send({ reason: 'lost-phone' })

    expect(body).toEqual({ outcome: 'ended' })
    await victim.get('/sessions/me').expect(401)
    expect(await store.registry.ending({ handle })).toMatchObject({
      reason: 'lost-phone',
      actor: { type: 'user' },
    })
  })

  test('ends the others, and with all=1 every session of the user', async () => {
    const { signIn, store } = siteWith()
    const other = await signIn('alice')
    const agent = await signIn('alice')

    expect((await agent.delete('/sessions/me').set(SAME_ORIGIN).expect(200)).body.ended).toHaveLength(1)
    await other.get('/sessions/me').expect(401)
    expect(await store.registry.count('alice')).toBe(1)

    expect((await agent.delete('/sessions/me?all=1').set(SAME_ORIGIN).expect(200)).body.ended).toHaveLength(1)
    await agent.get('/sessions/me').expect(401)
  })

  test.each(['all=true', 'all', 'all=0&all=1', 'ended=yes'])(
    'refuses the flag %s, and ends nothing',
    async (query) => {
      const { signIn, store } = siteWith()
      await signIn('alice')
      const agent = await signIn('alice')

      const { body } = await agent.delete(`/sessions/me?${query}`).set(SAME_ORIGIN).expect(400)

      expect(body).toMatchObject({ error: 'query' })
      expect(await store.registry.count('alice')).toBe(2)
    },
  )

  test('answers alike for a handle that is another user’s and for one that is nobody’s', async () => {
    const { signIn, store } = siteWith()
    await signIn('bob')
    const foreign = await handleOfNewest(store, 'bob')
    const agent = await signIn('alice')

    const [theirs, nobodys] = await Promise.all(
      [foreign, UNKNOWN].map((handle) => agent.delete(`/sessions/me/${handle}`).set(SAME_ORIGIN)),
    )

    expect([theirs?.status, theirs?.body]).toEqual([404, { error: 'not-found' }])
    expect([nobodys?.status, nobodys?.body]).toEqual([404, { error: 'not-found' }])
    expect(await store.registry.count('bob')).toBe(1)
  })

  test('lets an administrator list, count and end, as far as authorize agrees', async () => {
    const { app, signIn, store } = siteWith()
    await signIn('bob')
    await signIn('bob')
    const admin = { 'x-admin': 'yes', ...SAME_ORIGIN }
    const handle = await handleOfNewest(store, 'bob')

    expect((await request(app).get('/sessions/users/bob/sessions').set(admin)).body.sessions).toHaveLength(2)
    expect((await request(app).get('/sessions/users/bob/sessions/count').set(admin)).body).toEqual({
      count: 2,
    })
    expect((await request(app).delete(`/sessions/sessions/${handle}`).set(admin)).body).toEqual({
      outcome: 'ended',
    })
    expect((await request(app).delete(`/sessions/sessions/${handle}`).set(admin)).body).toEqual({
      outcome: 'already-ended',
    })
    expect((await request(app).delete('/sessions/users/bob/sessions').set(admin)).body.ended).toHaveLength(1)
    expect(
      (await request(app).get('/sessions/users/bob/sessions?ended=1').set(admin)).body.sessions,
    ).toHaveLength(2)
    expect(await store.registry.ending({ handle })).toMatchObject({ actor: { type: 'admin' } })
  })

  test('answers 403 alike whether or not the user or handle exists', async () => {
    const { app, signIn, store } = siteWith()
    await signIn('bob')
    const handle = await handleOfNewest(store, 'bob')
    const paths = ['users/bob/sessions', 'users/nobody/sessions', `sessions/${handle}`, `sessions/${UNKNOWN}`]

    const replies = await Promise.all(
      paths.map((path) => request(app).delete(`/sessions/${path}`).set(SAME_ORIGIN)),
    )

    expect(replies.map(({ status, text }) => [status, text])).toEqual(
      paths.map(() => [403, '{"error":"forbidden"}']),
    )
    expect(await store.registry.count('bob')).toBe(1)
  })

  test('names an actor that throws, to the error handler of the app, and ends nothing', async () => {
    const thrown = new Error('no directory')
    const { app, store, signIn } = siteWith({
      actor: () => {
        throw thrown
      },
    })
    const seen: unknown[] = []
    app.use((error: unknown, _req: express.Request, res: express.Response, _next: express.NextFunction) => {
      seen.push(error)
      res.sendStatus(500)
    })
    const browser = await signIn('ann')
    const reply = await browser.delete('/sessions/me?all=1').set(SAME_ORIGIN)

    expect(reply.status).toBe(500)
    expect(seen).toEqual([
      expect.objectContaining({ code: 'ERR_STORE_OPTION', option: 'actor', cause: thrown }),
    ])
    expect(await store.registry.count('ann')).toBe(1)
  })

  test('takes an authorize that throws for a no', async () => {
    const { app } = siteWith({ authorize: () => Promise.reject(new Error('no directory')) })

    await request(app).get('/sessions/users/bob/sessions').expect(403)
  })

  test('tells authorize what is asked', async () => {
    const asked: unknown[] = []
    const { app } = siteWith({ authorize: (_req, action) => asked.push(action) > 0 })

    await request(app).get('/sessions/users/b%2Fob/sessions')
    await request(app).delete(`/sessions/sessions/${UNKNOWN}`).set(SAME_ORIGIN)

    expect(asked).toEqual([
      { kind: 'list', userId: 'b/ob' },
      { kind: 'end', handle: UNKNOWN },
    ])
  })

  test.each([
    ['neither header', {}, 403],
    ['another site', { 'Sec-Fetch-Site': 'cross-site' }, 403],
    ['a sister domain', { 'Sec-Fetch-Site': 'same-site' }, 403],
    ['a typed address', { 'Sec-Fetch-Site': 'none' }, 403],
    ['a foreign origin', { Origin: 'https://evil.example' }, 403],
    [
      'a foreign origin behind a same-origin Fetch header of another value',
      { 'Sec-Fetch-Site': 'cross-site', Origin: 'http://app.example', Host: 'app.example' },
      403,
    ],
    ['an origin that is none', { Origin: 'null' }, 403],
    ['its own origin', { Origin: 'http://app.example', Host: 'app.example' }, 200],
    ['the browser’s word', SAME_ORIGIN, 200],
  ])('answers an unsafe request that comes with %s', async (_, headers, status) => {
    const { signIn } = siteWith()
    const agent = await signIn('alice')

    await agent.delete('/sessions/me').set(headers).expect(status)
  })

  test('lets verifyCsrf decide in place of the origin', async () => {
    const { signIn } = siteWith({ verifyCsrf: (req) => req.headers['x-token'] === 'right' })
    const agent = await signIn('alice')

    await agent.delete('/sessions/me').set(SAME_ORIGIN).expect(403)
    await agent.delete('/sessions/me').set('x-token', 'right').expect(200)
  })

  test('answers 401 to who is not signed in, 405 to other methods, and passes on other paths', async () => {
    const { app, signIn } = siteWith()
    const agent = await signIn('alice')

    await request(app).get('/sessions/me').expect(401)
    const { headers } = await agent.post('/sessions/me').set(SAME_ORIGIN).expect(405)
    expect(headers['allow']).toBe('GET, HEAD, DELETE')
    expect((await agent.head('/sessions/me').expect(200)).text).toBeUndefined()
    for (const path of [
      '',
      '/me/',
      '/me//',
      '/me/x',
      '/users//sessions',
      '/%E0%A4%A',
      `/${'x'.repeat(4000)}`,
      '/users/bob',
    ]) {
      const { status } = await agent.get(`/sessions${path}`)
      expect([path, status === 418 || (path === '/me/' && status === 200) || status === 400]).toEqual([
        path,
        true,
      ])
    }
  })

  test('ignores a reason that is no code', async () => {
    const { signIn, store } = siteWith()
    await signIn('alice')
    const handle = await handleOfNewest(store, 'alice')
    const agent = await signIn('alice')

    await agent
      .delete(`/sessions/me/${handle}`)
      .set(SAME_ORIGIN)
      .send({ reason: 'Bad\r\nSet-Cookie: x' })
      .expect(200)

    expect((await store.registry.ending({ handle }))?.reason).toBe('ended')
  })

  test('answers 503 with Retry-After when the store is closed, and no more than a code', async () => {
    const { app, store } = siteWith({ authorize: () => true })
    await store.close()

    const { body, headers } = await request(app).get('/sessions/users/bob/sessions').expect(503)

    expect(body).toEqual({ error: 'ERR_STORE_CLOSED' })
    expect(headers['retry-after']).toBeDefined()
  })
})

/** Asks for a path as it stands, which clients would normalize. */
async function askRaw(app: RequestListener, path: string, terms: RequestOptions = {}) {
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const asked = httpRequest({ host: '127.0.0.1', port, path, agent: false, ...terms }).end()
  const [reply] = (await once(asked, 'response')) as [IncomingMessage]
  const body = await text(reply)
  server.close()
  return { status: reply.statusCode, body }
}

const frameworks: readonly [string, (admin: ReturnType<typeof sessionAdmin>) => RequestListener][] = [
  ['Express 5', (admin) => express().use('/devices', admin as never)],
  ['Express 4', (admin) => express4().use('/devices', admin as never)],
  [
    'connect',
    (admin) =>
      connect()
        .use('/devices', admin as never)
        .use((_req, res) => {
          res.statusCode = 404
          res.end()
        }),
  ],
]

describe.each(frameworks)('the path, on %s,', (_, mount) => {
  const asked: unknown[] = []
  const authorize = (_req: unknown, action: unknown) => asked.push(action) > 0
  const app = mount(sessionAdmin({ store: new InProcessStore(), authorize }))

  test.each([
    '//x/users/bob/sessions',
    '///users/bob/sessions',
    '/x/../users/bob/sessions',
    '/./users/bob/sessions',
    '/%2e/users/bob/sessions',
    '/\\x/users/bob/sessions',
    '\\users/bob/sessions',
    '/users\\bob/sessions',
    '/users/bob/../bob/sessions',
    '/users/../sessions',
    '/users/%2e%2E/sessions',
    '/users/%2E/sessions',
    '/%75sers/bob/sessions',
    '/users%2Fbob/sessions',
    '/users/bob%2Fsessions',
    '/users//sessions',
    '/users/b\\ob/sessions',
    '/users/bob/sessions//',
    '/users/bob/sessions/co%75nt',
    '/users/%E0%A4%A/sessions',
    '/users/%/sessions',
    '/users/bob/sessions%3Fended=1',
    '/me/..',
    '//',
    '///',
    '/\\',
    '/constructor',
    '/__proto__',
    '/users/bob/constructor',
  ])('%s is not ours', async (path) => {
    asked.length = 0
    const { status } = await askRaw(app, `/devices${path}`)

    expect([status, asked]).toEqual([status === 400 ? 400 : 404, []])
  })

  test.each([
    ['/users/bob/sessions', 'bob'],
    ['/users/bob/sessions/', 'bob'],
    ['/users/b%2Fob/sessions', 'b/ob'],
    ['/users/b%252Fob/sessions', 'b%2Fob'],
    ['/users/DOMAIN%5Cbob/sessions?ended=1', 'DOMAIN\\bob'],
    ['/users/constructor/sessions', 'constructor'],
  ])('%s is read piece by piece', async (path, userId) => {
    asked.length = 0
    const { status } = await askRaw(app, `/devices${path}`)

    expect([status, asked]).toEqual([200, [{ kind: 'list', userId }]])
  })

  test.each(['constructor', 'toString', '__proto__', 'hasOwnProperty'])(
    'with the method %s, by an override, is not allowed',
    async (method) => {
      const admin = sessionAdmin({ store: new InProcessStore(), authorize, verifyCsrf: () => true })
      const overriding = mount((req, res, next) => {
        req.method = method
        admin(req, res, next)
      })

      const { status, body } = await askRaw(overriding, '/devices/users/bob/sessions')
      expect([status, body]).toEqual([405, '{"error":"method-not-allowed"}'])
    },
  )

  test.each<[string, SessionAdminOptions['authorize']]>([
    ['is no', (req) => req.session?.tainted === true],
    ['throws', (req) => (req as { session: { tainted?: boolean } }).session.tainted === true],
  ])('whose authorize %s without session() before it is a 500 that says so', async (_, decision) => {
    const admin = sessionAdmin({ store: new InProcessStore(), authorize: decision })

    const { status, body } = await askRaw(mount(admin), '/devices/users/bob/sessions')

    expect([status, JSON.parse(body).error]).toEqual([500, 'no-session'])
  })

  test('of one’s own sessions without session() before it is a 500 that says so', async () => {
    const { status, body } = await askRaw(app, '/devices/me', { method: 'DELETE' })

    expect(status).toBe(500)
    expect(JSON.parse(body)).toEqual({
      error: 'no-session',
      message: expect.stringContaining('after session()'),
    })
  })
})

describe('the origin', () => {
  const asks = (headers: Record<string, string>, setting?: unknown, make = express) => {
    const app = make()
    if (setting !== undefined) app.set('trust proxy', setting)
    app.use(sessionAdmin({ store: new InProcessStore(), authorize: yes }) as never)
    return askRaw(app, '/users/bob/sessions', {
      method: 'DELETE',
      headers: { host: 'app.example', ...headers },
    })
  }
  const proxied = { 'x-forwarded-proto': 'https' }

  test.each<[string, Record<string, string>, unknown, number]>([
    ['is the own one', { origin: 'http://app.example' }, undefined, 200],
    ['has another scheme', { origin: 'https://app.example' }, undefined, 403],
    ['has another port', { origin: 'http://app.example:8080' }, undefined, 403],
    [
      'has the port of the site',
      { origin: 'http://app.example:8080', host: 'app.example:8080' },
      undefined,
      200,
    ],
    ['leaves the default port out', { origin: 'http://app.example', host: 'app.example:80' }, undefined, 200],
    ['is null', { origin: 'null' }, undefined, 403],
    ['is null, and so is the host', { origin: 'null', host: 'null' }, undefined, 403],
    ['has user and path', { origin: 'http://app.example@app.example/' }, undefined, 403],
    ['fits a host that is a URL', { origin: 'http://evil.example', host: 'evil.example/x' }, undefined, 403],
    ['is that of an https site', { ...proxied, origin: 'https://app.example' }, 1, 200],
    ['is http, on an https site', { ...proxied, origin: 'http://app.example' }, 1, 403],
    [
      'is http, behind a proxy that is not trusted',
      { ...proxied, origin: 'http://app.example' },
      undefined,
      403,
    ],
    [
      'is https, behind a proxy that is not trusted',
      { ...proxied, origin: 'https://app.example' },
      undefined,
      403,
    ],
    [
      'is that of the forwarded host',
      { ...proxied, origin: 'https://shop.example', 'x-forwarded-host': 'shop.example' },
      'loopback',
      200,
    ],
    [
      'is that of a forwarded host of somebody not trusted',
      { origin: 'http://evil.example', 'x-forwarded-host': 'evil.example' },
      undefined,
      403,
    ],
  ])('%s', async (_, headers, setting, status) => {
    for (const make of [express, express4]) {
      const reply = await asks(headers, setting, make)
      expect([reply.status, reply.body]).toEqual([
        status,
        status === 403 ? '{"error":"csrf"}' : '{"ended":[]}',
      ])
    }
  })
})

describe('who ends the session of the very request', () => {
  const changing = (make: typeof express) => {
    const store = new InProcessStore()
    const app = make()
    app.use(session({ store, secret: 'keyboard cat', resave: false, saveUninitialized: false }))
    app.use(sessionGuard({ store, onError: () => {} }))
    app.use((req, _res, next) => {
      Object.assign(req.session, { views: Math.random() })
      next()
    })
    app.get('/in', (req, res) => {
      Object.assign(req.session, { userId: 'alice' })
      res.send('in')
    })
    app.use('/devices', sessionAdmin({ store, authorize: yes }))
    return { app, store }
  }

  test.each<[string, (handle: string) => string]>([
    ['all of one’s own', () => '/devices/me?all=1'],
    ['one’s own by its handle', (handle) => `/devices/me/${handle}`],
    ['all of the user as an administrator', () => '/devices/users/alice/sessions'],
    ['its handle as an administrator', (handle) => `/devices/sessions/${handle}`],
  ])('ends %s and is answered, in an app that changes the session on every request', async (_, pathOf) => {
    for (const make of [express, express4]) {
      const { app, store } = changing(make)
      const agent = request.agent(app)
      await agent.get('/in').expect(200)
      const handle = await handleOfNewest(store, 'alice')

      const { status, headers } = await agent.delete(pathOf(handle)).set(SAME_ORIGIN)

      expect(status).toBe(200)
      expect(headers['set-cookie']).toBeUndefined()
      expect(await store.registry.count('alice')).toBe(0)
      await agent.get('/devices/me').expect(401)
    }
  })

  test('keeps it where the others are ended, with what the request has changed', async () => {
    const { app, store } = changing(express)
    const agent = request.agent(app)
    await agent.get('/in').expect(200)

    await agent.delete('/devices/me').set(SAME_ORIGIN).expect(200)

    expect(await store.registry.count('alice')).toBe(1)
    await agent.get('/devices/me').expect(200)
  })
})
