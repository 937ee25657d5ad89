// Sign in, count, sign out on this device or on all of them.
import { promisify } from 'node:util'
import express from 'express'
import session from 'express-session'
import { createSessionStore } from 'express-session-valkey'

const { VALKEY_URL, SESSION_KEYS = '', SESSION_ENCRYPT, COOKIE_SECRET = '', PORT = '3000' } = process.env

// Without a VALKEY_URL sessions are kept in this process, and end with it.
const store = createSessionStore(
  VALKEY_URL
    ? {
        kind: 'valkey',
        connection: { url: VALKEY_URL },
        secrets: SESSION_KEYS.split(','),
        encrypt: SESSION_ENCRYPT === 'true',
      }
    : { kind: 'in-process' },
)
const app = express()

app.get('/ready', async (_req, res) => {
  const health = await store.health()
  res.status(health.isReady ? 200 : 503).json(health)
})

app.use(
  session({
    store,
    secret: COOKIE_SECRET,
    resave: false,
    saveUninitialized: false,
    cookie: { sameSite: 'lax', secure: 'auto' },
  }),
)
app.use(express.urlencoded({ extended: false }))

app.get('/', (req, res) => {
  if (req.session.userId === undefined) {
    return res.send(
      page(
        '<form method="post" action="/sign-in"><input name="user" required> <button>Sign in</button></form>',
      ),
    )
  }
  req.session.count = (req.session.count ?? 0) + 1
  res.send(
    page(`<p>Signed in as ${escaped(req.session.userId)}. You have been here ${req.session.count} times.</p>
<form method="post" action="/sign-out"><button>Sign out</button></form>
<form method="post" action="/sign-out-everywhere"><button>Sign out everywhere</button></form>`),
  )
})

app.post('/sign-in', async (req, res) => {
  // Check a password here: this app believes every name.
  const { user } = req.body ?? {}
  if (typeof user !== 'string' || user === '') return res.sendStatus(400)
  await promisify(req.session.regenerate).call(req.session)
  req.session.userId = user
  await promisify(req.session.save).call(req.session)
  res.redirect(303, '/')
})

app.post('/sign-out', async (req, res) => {
  await promisify(req.session.destroy).call(req.session)
  res.redirect(303, '/')
})

app.post('/sign-out-everywhere', async (req, res) => {
  if (req.session.userId !== undefined) await store.registry.endAll(req.session.userId)
  res.redirect(303, '/')
})

const server = app.listen(Number(PORT), '127.0.0.1', (error) => {
  if (error) throw error
  console.log(
    `Listening on http://127.0.0.1:${PORT}, sessions ${VALKEY_URL ? 'on Valkey' : 'in this process'}`,
  )
})

process.once('SIGTERM', () => {
  server.close(() => store.close())
  // What never ends by itself, such as a stream, is cut off.
  setTimeout(() => server.closeAllConnections(), 10_000).unref()
})

function page(content) {
  return `<!doctype html><meta charset="utf-8"><title>Sessions</title>\n${content}\n`
}

function escaped(text) {
  return text.replaceAll(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
}
