// The same app on Valkey: sessions survive a restart and are shared by all processes that know the secrets.
import express from 'express'
import session from 'express-session'
import { ValkeyStore } from 'express-session-valkey'

declare module 'express-session' {
  interface SessionData {
    count?: number
  }
}

const { VALKEY_URL = 'valkey://127.0.0.1:6379', SESSION_KEY = '', COOKIE_SECRET = '' } = process.env
const port = Number(process.env['PORT'] ?? 3000)

// One secret seals what is stored, another signs the cookie.
const store = new ValkeyStore({ connection: { url: VALKEY_URL }, secrets: [SESSION_KEY] })
const app = express()

app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))

app.get('/', (req, res) => {
  req.session.count = (req.session.count ?? 0) + 1
  res.send(`You have been here ${req.session.count} times.\n`)
})

app.get('/ready', async (_req, res) => {
  const health = await store.health()
  res.status(health.isReady ? 200 : 503).json(health)
})

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})

process.on('SIGTERM', () => server.close(() => void store.close()))
