import { generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import express from 'express'
import { onTestFinished } from 'vitest'
import {
  type Authenticate,
  type AuthorizedRequest,
  createAuthRouter,
  type StatefulAuthOptions,
  type StatefulAuthRouter,
  type StatelessAuthOptions,
  type StatelessAuthRouter,
} from '../../lib/auth/index.ts'

const { privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

export const AUDIENCE = 'https://app.example'

/** What the token route returns to a client that signs in or refreshes. */
export interface TokenReply {
  readonly access_token: string
  readonly refresh_token: string
  readonly token_type: string
  readonly expires_in: number
  readonly expires_at: number
  readonly user: { readonly id: string }
}

export interface Reply<Body> {
  readonly status: number
  readonly headers: Headers
  readonly body: Body
}

/** Everybody signs in with this password. */
export const PASSWORD = 'correct horse'

export const authenticate: Authenticate = async ({ username, password }) =>
  password === PASSWORD ? { user: { id: username, role: 'member' } } : undefined

/** An app with the router below `/auth`, listening, and requests to it. */
export interface AuthSite {
  readonly url: string
  post<Body = TokenReply>(path: string, form: Record<string, string>, bearer?: string): Promise<Reply<Body>>
  send<Body = unknown>(path: string, init?: RequestInit): Promise<Reply<Body>>
  signIn(username: string): Promise<TokenReply>
  refresh(token: string): Promise<Reply<TokenReply>>
}

type Given<Options> = Partial<Options> & {
  readonly make?: typeof express
  readonly parsers?: boolean
  /** The build of the router. @defaultValue this one */
  readonly build?: { readonly createAuthRouter: typeof createAuthRouter }
}

export interface StatefulSite extends AuthSite {
  readonly auth: StatefulAuthRouter
}

/** Starts an app whose token sessions are in a store. It stops with the test. */
export async function statefulSite(
  options: Given<StatefulAuthOptions> & Pick<StatefulAuthOptions, 'store'>,
): Promise<StatefulSite> {
  const build = options.build ?? { createAuthRouter }
  return startSite(options, (required) => build.createAuthRouter({ ...required, ...given(options) }))
}

/** The same without a store. */
export async function statelessSite(
  options: Given<StatelessAuthOptions> & Pick<StatelessAuthOptions, 'secrets'>,
): Promise<AuthSite> {
  return startSite(options, (required) => createAuthRouter({ ...required, ...given(options) }))
}

function given<Options extends Given<unknown>>({ make, parsers, build, ...options }: Options) {
  return options
}

async function startSite<Router extends StatelessAuthRouter>(
  { make = express, parsers = false }: Given<unknown>,
  router: (required: {
    readonly issuer: string
    readonly audience: string
    readonly keys: (typeof privateKey)[]
    readonly authenticate: Authenticate
  }) => Router,
): Promise<AuthSite & { readonly auth: Router }> {
  const app = make()
  const server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const auth = router({ issuer: `${url}/auth`, audience: AUDIENCE, keys: [privateKey], authenticate })
  if (parsers) app.use(make.json(), make.urlencoded({ extended: true }))
  app.use('/auth', auth)
  app.get('/orders', auth.requireAuth(), (req, res) => void res.json((req as AuthorizedRequest).auth))
  if ('registry' in auth) {
    const { requireAuth } = auth as unknown as StatefulAuthRouter
    app.get('/live', requireAuth({ live: true }), (_req, res) => void res.json({}))
  }
  app.use((_req: express.Request, res: express.Response) => void res.status(418).json({}))
  app.use(
    (_error: unknown, _req: express.Request, res: express.Response, _next: express.NextFunction) =>
      void res.status(500).json({ error: 'app' }),
  )
  return { ...requestsTo(url), auth }
}

function requestsTo(url: string): AuthSite {
  const send = async <Body>(path: string, init: RequestInit = {}): Promise<Reply<Body>> => {
    const res = await fetch(`${url}${path}`, init)
    const text = await res.text()
    return { status: res.status, headers: res.headers, body: (text && JSON.parse(text)) as Body }
  }
  const post = <Body>(path: string, form: Record<string, string>, bearer?: string) =>
    send<Body>(path, {
      method: 'POST',
      body: new URLSearchParams(form),
      headers: bearer === undefined ? {} : { authorization: `Bearer ${bearer}` },
    })
  return {
    url,
    send,
    post,
    signIn: async (username) => {
      const form = { grant_type: 'password', username, password: PASSWORD }
      const { status, body } = await post<TokenReply>('/auth/token', form)
      if (status !== 200) throw new Error(`The sign-in was refused: ${status} ${JSON.stringify(body)}`)
      return body
    },
    refresh: (token) => post('/auth/token', { grant_type: 'refresh_token', refresh_token: token }),
  }
}

export const bearer = (token: string): RequestInit => ({ headers: { authorization: `Bearer ${token}` } })
