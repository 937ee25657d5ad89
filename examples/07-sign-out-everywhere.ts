// Three devices at most, a device list, and "sign out everywhere else", as JSON under /devices.
import express from 'express'
import session from 'express-session'
import { sessionAdmin, ValkeyStore } from 'express-session-valkey'

declare module 'express-session' {
  interface SessionData {
    userId?: string
  }
}

const { VALKEY_URL = 'valkey://127.0.0.1:6379', SESSION_KEY = '', COOKIE_SECRET = '' } = process.env
const port = Number(process.env['PORT'] ?? 3000)

const store = new ValkeyStore({
  connection: { url: VALKEY_URL },
  secrets: [SESSION_KEY],
  maxSessionsPerUser: 3,
  device: (req) => ({ userAgent: req.get('user-agent') ?? 'unknown' }),
})
const app = express()

app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))
// GET /devices/me lists, DELETE /devices/me ends the others, DELETE /devices/me/:handle ends one.
app.use('/devices', sessionAdmin({ store, authorize: () => false }))

app.post('/sign-in/:user', (req, res, next) => {
  req.session.regenerate((error) => {
    if (error) return next(error)
    req.session.userId = req.params.user
    req.session.save((failure) => (failure ? next(failure) : res.json({ user: req.session.userId })))
  })
})

app.get('/', (req, res) => {
  res.json({ user: req.session.userId ?? null })
})

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})

process.on('SIGTERM', () => server.close(() => void store.close()))
