// The same tokens without a store: nothing is kept, so that a sign-out ends nothing before the tokens expire.
import express from 'express'
import { createAuthRouter } from 'express-session-valkey/auth'

// curl -s $URL/auth/token -d grant_type=password -d username=alice -d password=wonderland
// curl -s $URL/orders -H "Authorization: Bearer $ACCESS"
// curl -s $URL/auth/token -d grant_type=refresh_token -d refresh_token=$REFRESH
// curl -s $URL/auth/logout -X POST -H "Authorization: Bearer $ACCESS"

const { TOKEN_KEY = '', SIGNING_KEY = '' } = process.env
const port = Number(process.env['PORT'] ?? 3000)

const auth = createAuthRouter({
  issuer: `http://127.0.0.1:${port}/auth`,
  audience: `http://127.0.0.1:${port}`,
  keys: [SIGNING_KEY],
  authenticate: async ({ username, password }) =>
    password === 'wonderland' ? { user: { id: username } } : undefined,
  secrets: [TOKEN_KEY],
  refreshTtl: 86_400,
})
const app = express()

app.use('/auth', auth)

app.get('/orders', auth.requireAuth(), (_req, res) => {
  res.json({ orders: [] })
})

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})

process.on('SIGTERM', () => server.close())
