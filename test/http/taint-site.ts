import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, request } from 'node:http'
import {
  createServer as createHttp2Server,
  type Http2ServerResponse,
  type ServerHttp2Session,
} from 'node:http2'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { promisify } from 'node:util'
import connect from 'connect'
import express5, { type Express, type Request } from 'express'
import session, { type SessionOptions } from 'express-session'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { type TaintLabelsOptions, taintLabels, taintOf } from '../../lib/http/labels/taint-labels.ts'
import type { LabelStore } from '../../lib/labels/label-store.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { openMemory } from '../labels/subjects.ts'

declare module 'express-session' {
  interface SessionData {
    user?: string
    note?: string
  }
}

const express4: typeof express5 = createRequire(import.meta.url)('express4')

export const frameworks = [
  { framework: 'Express 5', express: express5 },
  { framework: 'Express 4', express: express4 },
] as const

export interface SiteOptions {
  readonly labels?: LabelStore
  readonly sessions?: SessionStore
  readonly isGuarded?: boolean
  readonly session?: Partial<SessionOptions>
  readonly taint?: Partial<TaintLabelsOptions>
  readonly express?: typeof express5
  readonly before?: (app: Express) => unknown
  readonly routes?: (app: Express) => unknown
}

export interface Site {
  readonly port: number
  close(): Promise<void>
}

export const regenerate = (req: Request) => promisify(req.session.regenerate.bind(req.session))()
export const destroy = (req: Request) => promisify(req.session.destroy.bind(req.session))()

/** An app with labels, its sessions and labels in process unless stores are given. */
export function createTaintApp(options: SiteOptions = {}): Express {
  const {
    labels = openMemory().store,
    sessions = new InProcessStore(),
    isGuarded = true,
    express = express5,
  } = options
  const app = express()
  app.set('env', 'test')
  options.before?.(app)
  app.use(
    session({
      store: sessions,
      secret: 'keyboard cat',
      resave: false,
      saveUninitialized: false,
      ...options.session,
    }),
  )
  if (isGuarded) app.use(sessionGuard({ store: sessions, onError: () => {} }))
  app.use(taintLabels({ store: labels, sessions, ...options.taint }))
  app.post('/begin', (req, res) => {
    req.session.note = 'begun'
    res.end()
  })
  app.get('/labels', (req, res) => {
    res.json([...taintOf(req).labels].sort())
  })
  options.routes?.(app)
  return app
}

export async function serve(app: Express): Promise<Site> {
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { port, close }
}

/** Labels on HTTP/2, where Express does not run; Connect and Node's compatibility API do. */
export async function serveHttp2(
  options: { labels: LabelStore; sessions: SessionStore },
  answer: (req: Request, res: Http2ServerResponse) => unknown,
): Promise<Site> {
  const { labels, sessions } = options
  const app = connect()
  app.use(
    session({ store: sessions, secret: 'keyboard cat', resave: false, saveUninitialized: false }) as never,
  )
  app.use(taintLabels({ store: labels, sessions }) as never)
  app.use(answer as never)
  const server = createHttp2Server((req, res) => app(req as never, res as never)).listen(0, '127.0.0.1')
  const connections = new Set<ServerHttp2Session>()
  server.on('session', (connection) => connections.add(connection))
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    for (const connection of connections) connection.destroy()
    server.close()
    await once(server, 'close')
  }
  return { port, close }
}

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

/** A client that keeps its cookie. */
export class Visitor {
  cookie: string | undefined
  readonly port: number

  constructor({ port }: Pick<Site, 'port'>, cookie?: string) {
    this.port = port
    this.cookie = cookie
  }

  /** The id in the cookie. */
  get sid(): string {
    const [, signed = ''] = (this.cookie ?? '').split('=')
    return decodeURIComponent(signed).slice(2).split('.')[0] ?? ''
  }

  get(path: string, headers: Readonly<Record<string, string>> = {}): Promise<Reply> {
    return this.ask('GET', path, { headers })
  }

  post(path: string, body = ''): Promise<Reply> {
    return this.ask('POST', path, { body, headers: { 'content-type': 'text/plain' } })
  }

  async ask(
    method: string,
    path: string,
    { body = '', headers = {} }: { body?: string; headers?: Readonly<Record<string, string>> } = {},
  ): Promise<Reply> {
    const sent = this.send(method, path, headers)
    sent.end(body)
    return this.replyTo(sent)
  }

  /** A request whose body is still to come. */
  send(method: string, path: string, headers: Readonly<Record<string, string>> = {}) {
    const cookie = this.cookie === undefined ? {} : { cookie: this.cookie }
    return request({
      host: '127.0.0.1',
      port: this.port,
      method,
      path,
      agent: false,
      headers: { ...cookie, ...headers },
    })
  }

  async replyTo(sent: ReturnType<typeof request>): Promise<Reply> {
    const [response] = await once(sent, 'response')
    const body = await text(response).catch(() => '(cut off)')
    const [pair] = response.headers['set-cookie']?.at(-1)?.split(';') ?? []
    if (pair !== undefined) this.cookie = pair
    return { status: response.statusCode, headers: response.headers, body }
  }
}
