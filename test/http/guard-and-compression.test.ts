import { once } from 'node:events'
import { type IncomingMessage, request } from 'node:http'
import { createRequire } from 'node:module'
import { gunzipSync } from 'node:zlib'
import compression from 'compression'
import express, { type Express, type RequestHandler } from 'express'
import session from 'express-session'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { taintLabels, taintOf } from '../../lib/http/labels/taint-labels.ts'
import { createLabelStore } from '../../lib/labels/create-label-store.ts'
import { COOKIE_SECRET, contentOf } from '../store/app.ts'
import { storeKinds } from '../store/stores.ts'
import { http1, type Listener, type Site } from './protocols.ts'
import { mountKinds, type ResponseKind, responseKinds } from './response-kinds.ts'

const require = createRequire(import.meta.url)
const express4: typeof express = require('express4')
const livereload: (options: { readonly port: number }) => RequestHandler = require('connect-livereload')

const sites: Site[] = []
afterEach(async () => {
  await Promise.all(sites.splice(0).map((site) => site.close()))
})

async function serve(app: Express): Promise<Site> {
  const site = await http1.serve(app as unknown as Listener)
  sites.push(site)
  return site
}

interface Got {
  readonly status: number
  readonly body: string
  readonly isComplete: boolean
  readonly encoding: string | undefined
  readonly cookie: string | undefined
}

async function ask(
  site: Site,
  at: number,
  { method = 'GET', headers }: ResponseKind,
  encoding: string,
): Promise<Got> {
  const sent = request({
    host: '127.0.0.1',
    port: site.port,
    path: `/${at}`,
    method,
    agent: false,
    headers: { 'Accept-Encoding': encoding, ...headers },
  }).end()
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {})
  await new Promise((resolve) => response.once('close', resolve))
  const bytes = Buffer.concat(chunks)
  const { 'content-encoding': coding, 'set-cookie': [cookie] = [] } = response.headers
  return {
    status: response.statusCode ?? 0,
    body: (coding === 'gzip' && bytes.length > 0 ? gunzipSync(bytes) : bytes).toString(),
    isComplete: response.complete,
    encoding: coding,
    cookie,
  }
}

/** What of all responses is not as it would be without any middleware around it. */
async function faultsOf(site: Site, encoding: string): Promise<readonly unknown[]> {
  const answers = await Promise.all(responseKinds.map((kind, at) => ask(site, at, kind, encoding)))
  return responseKinds.flatMap(({ kind, status, body }, at) => {
    const got = answers[at]
    const isWhole =
      got?.status === status &&
      got.isComplete &&
      (typeof body === 'string' ? got.body === body : body.test(got.body)) &&
      got.cookie !== undefined
    return isWhole ? [] : [{ kind, ...got, body: got?.body.slice(0, 80) }]
  })
}

const orders = ['compression, session, guard', 'session, compression, guard', 'session, guard, compression']
const frameworks = [
  ['Express 5', express],
  ['Express 4', express4],
] as const

describe.each(storeKinds())('with sessions $name', (storeKind) => {
  beforeAll(() => storeKind.start())
  afterAll(() => storeKind.stop())

  /** Each request signs somebody in, so that there is a session to be stored before the first byte. */
  function appOf(
    makeApp: typeof express,
    order: string,
    around: Readonly<Record<string, RequestHandler>> = {},
  ) {
    const store = storeKind.place().share()
    const middlewares: Readonly<Record<string, RequestHandler>> = {
      compression: compression({ threshold: 0 }),
      session: session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }),
      guard: sessionGuard({ store }),
      labels: taintLabels({ store: createLabelStore({ kind: 'in-process' }), sessions: store }),
      ...around,
    }
    const app = makeApp()
    app.set('env', 'test')
    for (const name of order.split(', ')) {
      const middleware = middlewares[name]
      if (middleware) app.use(middleware)
    }
    return app
  }

  const signIn = (req: express.Request) => {
    contentOf(req)['user'] = 'alice'
  }

  describe.each(frameworks)('on %s', (_framework, makeApp) => {
    test.each(orders)(
      'every kind of response is whole, compressed and not, in the order %s',
      async (order) => {
        const app = appOf(makeApp, order)
        mountKinds(app, signIn)
        const site = await serve(app)

        expect(await faultsOf(site, 'gzip')).toEqual([])
        expect(await faultsOf(site, 'identity')).toEqual([])
      },
    )
  })

  test('compression takes place, in every order', async () => {
    for (const order of orders) {
      const app = appOf(express, order)
      mountKinds(app, signIn)
      const site = await serve(app)
      const compressed = await Promise.all(responseKinds.map((kind, at) => ask(site, at, kind, 'gzip')))

      expect([order, compressed.filter(({ encoding }) => encoding === 'gzip').length]).toEqual([order, 11])
    }
  })

  test.each(orders.map((order) => order.replace('guard', 'labels')))(
    'every kind is whole with labels that must stand first, in the order %s',
    async (order) => {
      const app = appOf(express, order)
      mountKinds(app, (req) => void taintOf(req).add('pii'))
      const site = await serve(app)

      expect(await faultsOf(site, 'gzip')).toEqual([])
      expect(await faultsOf(site, 'identity')).toEqual([])
    },
  )

  test.each(['livereload, session, guard', 'session, livereload, guard', 'session, guard, livereload'])(
    'a page into which something is put is whole, in the order %s',
    async (order) => {
      const app = appOf(express, order, { livereload: livereload({ port: 1 }) })
      app.get('/0', (req, res) => {
        signIn(req)
        res.type('html').send('<html><body>page</body></html>')
      })
      const site = await serve(app)

      const { body, status } = await site.ask('/0', { headers: { Accept: 'text/html' } })

      expect(status).toBe(200)
      expect(body).toMatch(/^<html><body>page.*livereload\.js.*<\/body><\/html>$/s)
    },
  )
})
