// An OpenID provider that believes every name, and an app that signs in at it with the page's code.
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type ErrorRequestHandler } from 'express'
import session from 'express-session'
import { sessionGuard, ValkeyStore } from 'express-session-valkey'
import Provider from 'oidc-provider'
import { allowInsecureRequests, discovery } from 'openid-client'
import { addSignIn } from './page.ts'

const { PORT = '', VALKEY_URL = '', SESSION_KEY = '', COOKIE_SECRET = '' } = process.env
const origin = `http://127.0.0.1:${PORT}`
const redirectUri = `${origin}/callback`

const server = createServer().listen(0, '127.0.0.1')
await new Promise((resolve) => server.once('listening', resolve))
const issuer = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
const provider = new Provider(issuer, {
  clients: [{ client_id: 'app', client_secret: 'for the test only', redirect_uris: [redirectUri] }],
  findAccount: (_context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  cookies: { keys: ['for the test only'] },
})
server.on('request', provider.callback())

const store = new ValkeyStore({ connection: { url: VALKEY_URL }, secrets: [SESSION_KEY] })
const app = express()
app.use(
  session({
    store,
    secret: COOKIE_SECRET,
    resave: false,
    saveUninitialized: false,
    cookie: { sameSite: 'lax' },
  }),
  sessionGuard({ store }),
)
const config = await discovery(new URL(issuer), 'app', 'for the test only', undefined, {
  execute: [allowInsecureRequests],
})
addSignIn(app, config, redirectUri)
app.get('/', (req, res) => {
  res.json({ userId: req.session.userId ?? null, signIn: req.session.signIn ?? null })
})
app.get('/devices/:user', async (req, res) => {
  res.json(await store.registry.count(req.params.user))
})
app.use(((error, _req, res, _next) => {
  res.status(error.status ?? 500).send(error.code ?? 'failed')
}) satisfies ErrorRequestHandler)
app.listen(Number(PORT), '127.0.0.1', () => console.log(`Listening on ${origin}`))
