// Rotation: put the new secret first, keep the old one while sessions sealed with it live, then remove it.
import express from 'express'
import session from 'express-session'
import { ValkeyStore } from 'express-session-valkey'

declare module 'express-session' {
  interface SessionData {
    count?: number
  }
}

const { VALKEY_URL = 'valkey://127.0.0.1:6379', SESSION_KEYS = '', COOKIE_SECRET = '' } = process.env
const port = Number(process.env['PORT'] ?? 3000)

// SESSION_KEYS="new,old". A function could fetch the list from a secret manager instead.
const store = new ValkeyStore({ connection: { url: VALKEY_URL }, secrets: SESSION_KEYS.split(',') })
const app = express()

// Once the old secret is gone, this counts the sessions that were not used meanwhile; each is treated as absent.
let retired = 0
store.on('session-unknown-key', () => {
  retired += 1
})

app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))

app.get('/', (req, res) => {
  // Saving seals with the first secret, whichever opened the session.
  req.session.count = (req.session.count ?? 0) + 1
  res.send(`You have been here ${req.session.count} times.\n`)
})

app.get('/retired', (_req, res) => {
  res.json({ retired })
})

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})

process.on('SIGTERM', () => server.close(() => void store.close()))
