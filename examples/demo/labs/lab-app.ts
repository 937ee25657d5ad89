import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type Express, type NextFunction, type Request, type Response } from 'express'
import session, { type Store } from 'express-session'

export interface RunningApp {
  readonly origin: string
  close(): Promise<void>
}

export const COOKIE = 'lab.sid'

/** Serves an app on a free port of this machine, which nothing but the lab knows, for as long as the lab runs. */
export async function serve(app: Express): Promise<RunningApp> {
  const server = createServer(app)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    const closed = once(server, 'close')
    server.close()
    server.closeAllConnections()
    await closed
  }
  return { origin: `http://127.0.0.1:${port}`, close }
}

/** An app with sessions in this store, and with sign-in, sign-out and a look at who is signed in. */
export function signInApp(store: Store, mount: (app: Express) => void = () => {}): Express {
  const app = express()
  const secret = randomBytes(32).toString('base64url')
  app.disable('x-powered-by')
  app.use(session({ store, secret, name: COOKIE, resave: false, saveUninitialized: false }))
  mount(app)
  app.post('/sign-in/:user', async (req, res) => {
    await done((callback) => req.session.regenerate(callback))
    Object.assign(req.session, { userId: req.params.user })
    await save(req)
    res.sendStatus(204)
  })
  app.post('/sign-out', async (req, res) => {
    await done((callback) => req.session.destroy(callback))
    res.sendStatus(204)
  })
  app.get('/session', (req, res) => void res.json(contentOf(req)))
  return app
}

/** To be mounted last: a failed request gets the status that its error names. */
export function sendStatusOf(error: unknown, _req: Request, res: Response, next: NextFunction): void {
  if (res.headersSent) {
    next(error)
    return
  }
  const status: unknown =
    typeof error === 'object' && error !== null ? Reflect.get(error, 'status') : undefined
  res.sendStatus(typeof status === 'number' ? status : 500)
}

export function save(req: Request): Promise<void> {
  return done((callback) => req.session.save(callback))
}

/** What the session holds, without its cookie. */
export function contentOf(req: Request): Readonly<Record<string, unknown>> {
  const { cookie: _, ...content } = req.session
  return content
}

function done(start: (callback: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())))
}
