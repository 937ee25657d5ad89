// Exact counting: with 'reject' a save that meets another request's save fails, and the request repeats its change.
import express, { type Request } from 'express'
import session from 'express-session'
import { SessionConflictError, ValkeyStore } from 'express-session-valkey'

declare module 'express-session' {
  interface SessionData {
    points?: number
  }
}

const { VALKEY_URL = 'valkey://127.0.0.1:6379', SESSION_KEY = '', COOKIE_SECRET = '' } = process.env
const port = Number(process.env['PORT'] ?? 3000)
const MAX_TRIES = 100

const store = new ValkeyStore({
  connection: { url: VALKEY_URL },
  secrets: [SESSION_KEY],
  concurrency: 'reject',
})
const app = express()

app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))

app.get('/', (req, res) => {
  res.json({ points: req.session.points ?? 0 })
})

app.post('/', async (req, res) => {
  for (let tries = 1; !(await addPoint(req)); tries += 1) {
    if (tries === MAX_TRIES) throw new SessionConflictError()
    await done((callback) => req.session.reload(callback))
  }
  res.json({ points: req.session.points })
})

async function addPoint(req: Request): Promise<boolean> {
  req.session.points = (req.session.points ?? 0) + 1
  try {
    await done((callback) => req.session.save(callback))
    return true
  } catch (error) {
    if (error instanceof SessionConflictError) return false
    throw error
  }
}

function done(start: (callback: (error?: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => start((error) => (error ? reject(error) : resolve())))
}

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})

process.on('SIGTERM', () => server.close(() => void store.close()))
