// A gateway that remembers what a session has seen: who has read customer data can neither export nor send mail out.
import express from 'express'
import session from 'express-session'
import {
  createLabelStore,
  deniesTaint,
  sessionGuard,
  taintLabels,
  taintOf,
  taints,
  ValkeyStore,
} from 'express-session-valkey'

const {
  VALKEY_URL = 'valkey://127.0.0.1:6379',
  SESSION_KEY = '',
  COOKIE_SECRET = '',
  PORT = '3000',
} = process.env
const connection = { url: VALKEY_URL }
const customers = [{ name: 'Ada Lovelace', city: 'London' }]

const store = new ValkeyStore({ connection, secrets: [SESSION_KEY] })
const labels = createLabelStore({
  kind: 'valkey',
  connection,
  onAlarm: ({ code, message }) => console.error(code, message),
  onAudit: ({ outcome, actor, reason }) => console.log('declassify', outcome, actor.type, reason),
})
const app = express()

app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))
app.use(sessionGuard({ store }))
app.use(taintLabels({ store: labels, sessions: store }))

// The label stands in Valkey before the handler runs.
app.get('/customers', taints('pii'), (_req, res) => void res.json(customers))

// Denied with 403 after /customers; with 503 when nobody can say what the session has seen.
app.post('/export', deniesTaint('pii'), express.text(), (req, res) => void res.json({ exported: req.body }))
app.post(
  '/mail',
  deniesTaint((held) => held.size > 0),
  express.text(),
  (_req, res) => void res.json({ sent: true }),
)

app.get('/labels', (req, res) => void res.json([...taintOf(req).labels]))

const server = app.listen(Number(PORT), '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${PORT}`)
})

process.on('SIGTERM', () => server.close(() => void Promise.all([store.close(), labels.close()])))
