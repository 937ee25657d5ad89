// Encrypted too: who reads Valkey, its dumps or its replication traffic learns nothing about the sessions.
import express from 'express'
import session from 'express-session'
import { ValkeyStore } from 'express-session-valkey'

declare module 'express-session' {
  interface SessionData {
    note?: string
  }
}

const { VALKEY_URL = 'valkey://127.0.0.1:6379', SESSION_KEY = '', COOKIE_SECRET = '' } = process.env
const port = Number(process.env['PORT'] ?? 3000)

// A store opens only what it would write itself: turning `encrypt` on ends the sessions that were signed only.
const store = new ValkeyStore({ connection: { url: VALKEY_URL }, secrets: [SESSION_KEY], encrypt: true })
const app = express()

store.on('session-invalid', ({ handle }) => console.warn('refused what is stored as', handle))

app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))
app.use(express.urlencoded({ extended: false }))

app.get('/', (req, res) => {
  res.type('text').send(`Your note: ${req.session.note ?? 'none yet'}\n`)
})

app.post('/', (req, res) => {
  req.session.note = String(req.body?.note ?? '').slice(0, 200)
  req.session.save((error) => (error ? res.status(error.status ?? 500).end() : res.redirect(303, '/')))
})

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})

process.on('SIGTERM', () => server.close(() => void store.close()))
