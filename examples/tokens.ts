// Tokens that can be taken back: sign-in, refresh, a route that looks whether the session is active, sign-out.
import express from 'express'
import { ValkeyStore } from 'express-session-valkey'
import { type AuthorizedRequest, createAuthRouter } from 'express-session-valkey/auth'

// curl -s $URL/auth/token -d grant_type=password -d username=alice -d password=wonderland
// curl -s $URL/orders -H "Authorization: Bearer $ACCESS"
// curl -s $URL/auth/token -d grant_type=refresh_token -d refresh_token=$REFRESH
// curl -s $URL/transfer -X POST -H "Authorization: Bearer $ACCESS"
// curl -s $URL/devices -H "Authorization: Bearer $ACCESS"
// curl -s $URL/auth/logout -X POST -H "Authorization: Bearer $ACCESS"

const { VALKEY_URL = 'valkey://127.0.0.1:6379', SESSION_KEY = '', SIGNING_KEY = '' } = process.env
const port = Number(process.env['PORT'] ?? 3000)

const store = new ValkeyStore({ connection: { url: VALKEY_URL }, secrets: [SESSION_KEY], encrypt: true })
const auth = createAuthRouter({
  issuer: `http://127.0.0.1:${port}/auth`,
  audience: `http://127.0.0.1:${port}`,
  keys: [SIGNING_KEY],
  // In your app: localUsers({ find, update }), with hashes in your database.
  authenticate: async ({ username, password }) =>
    password === 'wonderland' ? { user: { id: username } } : undefined,
  device: (req) => ({ userAgent: req.headers['user-agent'] ?? 'unknown' }),
  store,
})
const app = express()

app.use('/auth', auth)

app.get('/orders', auth.requireAuth(), (_req, res) => {
  res.json({ orders: [] })
})

app.post('/transfer', auth.requireAuth({ live: true }), (_req, res) => {
  res.status(202).json({ accepted: true })
})

app.get(
  '/devices',
  auth.requireAuth({ live: true }),
  async (req: AuthorizedRequest, res: express.Response) => {
    const { userId = '', sid = '' } = req.auth ?? {}
    res.json(await auth.registry.list(userId, { current: { handle: sid } }))
  },
)

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})

process.on('SIGTERM', () => server.close(() => void store.close()))
