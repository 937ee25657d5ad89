import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { promisify } from 'node:util'
import express5, { type Express, type Request, type Response } from 'express'
import session, { type SessionOptions, type Store } from 'express-session'
import { createGate, type Gate } from './gate.ts'

const express4: typeof express5 = createRequire(import.meta.url)('express4')

export const frameworks = [
  { framework: 'Express 5', express: express5 },
  { framework: 'Express 4', express: express4 },
] as const

export const COOKIE_SECRET = 'keyboard cat'

export interface AppOptions {
  readonly store: Store
  readonly session?: Partial<SessionOptions> | undefined
  readonly express?: typeof express5
  /** Adds routes of one test's own. */
  readonly routes?: ((app: Express) => unknown) | undefined
}

/** The content of a session by key, for which express-session has no type. */
export function contentOf(req: Request): Record<string, unknown> {
  return req.session as unknown as Record<string, unknown>
}

// express-session's methods with callbacks, as promises; Express 4 needs failures handed to `next`.
type Handler = (req: Request, res: Response) => unknown

export function handled(
  handler: Handler,
): (req: Request, res: Response, next: (error: unknown) => void) => void {
  return (req, res, next) => {
    Promise.resolve(handler(req, res)).catch(next)
  }
}

export const regenerate = (req: Request) => promisify(req.session.regenerate.bind(req.session))()
export const destroy = (req: Request) => promisify(req.session.destroy.bind(req.session))()
export const reload = (req: Request) => promisify(req.session.reload.bind(req.session))()
export const save = (req: Request) => promisify(req.session.save.bind(req.session))()

/** A small app as its users write them: sign in and out, read, change. */
export function createApp({ store, session: options, express = express5, routes }: AppOptions): Express {
  const app = express()
  const held = mountReleases(app)
  app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false, ...options }))
  routes?.(app)
  app.post(
    '/sign-in/:user',
    handled(async (req, res) => {
      await regenerate(req)
      contentOf(req)['user'] = req.params['user']
      res.json({ id: req.sessionID })
    }),
  )
  app.get('/content', (req, res) => {
    const { cookie: _, ...content } = contentOf(req)
    res.json(content)
  })
  app.get('/cookie', (req, res) => {
    res.json({ expires: req.session.cookie.expires, originalMaxAge: req.session.cookie.originalMaxAge })
  })
  app.post('/set/:key/:value', (req, res) => {
    contentOf(req)[req.params.key] = req.params.value
    res.json({})
  })
  // Changes the session that it loaded, and saves it when it ends: late.
  app.post(
    '/slow/:ms',
    handled(async (req, res) => {
      const content = contentOf(req)
      if (content['user'] !== undefined) content['edited'] = true
      await delay(Number(req.params['ms']))
      res.json({ user: content['user'] })
    }),
  )
  // As `/slow`, but it ends when the test says so.
  app.post(
    '/held/:name',
    handled(async (req, res) => {
      const content = contentOf(req)
      if (content['user'] !== undefined) content['edited'] = true
      const { arrived, released } = held(String(req.params['name']))
      arrived.open()
      await released.opened
      res.json({ user: content['user'] })
    }),
  )
  app.post(
    '/sign-out',
    handled(async (req, res) => {
      await destroy(req)
      res.json({})
    }),
  )
  // Express knows a handler of errors by its four parameters.
  app.use((error: { status?: number; code?: string }, _req: Request, res: Response, _next: unknown) => {
    // express-session saves when the response is sent; Express would end the connection under the next request on it.
    if (!res.headersSent) res.status(error.status ?? 500).json({ code: error.code })
  })
  return app
}

interface HeldRequest {
  readonly arrived: Gate
  readonly released: Gate
}

/** Routes by which a test waits for a held request, and releases it; they need no session. */
function mountReleases(app: Express): (name: string) => HeldRequest {
  const requests = new Map<string, HeldRequest>()
  const held = (name: string): HeldRequest => {
    const request = requests.get(name) ?? { arrived: createGate(), released: createGate() }
    requests.set(name, request)
    return request
  }
  app.get(
    '/arrived/:name',
    handled(async (req, res) => {
      await held(String(req.params['name'])).arrived.opened
      res.json({})
    }),
  )
  app.post('/release/:name', (req, res) => {
    held(req.params.name).released.open()
    res.json({})
  })
  return held
}

export interface Running {
  readonly origin: string
  readonly server: Server
  close(): Promise<void>
}

/** Serves an app on a free port of 127.0.0.1. */
export async function listen(app: Express): Promise<Running> {
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { origin: `http://127.0.0.1:${port}`, server, close }
}
