// Prometheus metrics of every operation and decision of the store, from the channels of node:diagnostics_channel.
import { subscribe, tracingChannel } from 'node:diagnostics_channel'
import express from 'express'
import session from 'express-session'
import { type Decision, type OperationTrace, ValkeyStore } from 'express-session-valkey'
import { Counter, Histogram, register } from 'prom-client'

const { VALKEY_URL = '', SESSION_KEY = '', COOKIE_SECRET = '', PORT = '3000' } = process.env
const OPERATIONS = ['get', 'set', 'touch', 'destroy', 'commit', 'end', 'end-all'] as const

const seconds = new Histogram({
  name: 'session_operation_seconds',
  help: 'How long operations of the session store take',
  labelNames: ['operation', 'outcome'],
  buckets: [0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1, 2],
})
const decisions = new Counter({
  name: 'session_decisions_total',
  help: 'What the session store decided',
  labelNames: ['decision', 'reason', 'state'],
})

const begun = new WeakMap<object, number>()
for (const operation of OPERATIONS) {
  const channel = tracingChannel<string, OperationTrace>(`express-session-valkey:${operation}`)
  channel.start.subscribe((trace) => begun.set(trace as object, performance.now()))
  channel.asyncEnd.subscribe((message) => {
    const trace = message as OperationTrace
    const outcome = trace.error === undefined ? 'ok' : String((trace.error as { code?: string }).code)
    seconds.observe({ operation, outcome }, (performance.now() - (begun.get(trace) ?? 0)) / 1000)
  })
}
subscribe('express-session-valkey:decision', (message) => {
  const fact = message as Decision
  decisions.inc({
    decision: fact.decision,
    reason: 'reason' in fact ? fact.reason : '',
    state: 'state' in fact ? fact.state : '',
  })
})

const store = new ValkeyStore({ connection: { url: VALKEY_URL }, secrets: [SESSION_KEY] })
const app = express()

app.get('/metrics', async (_req, res) => void res.type(register.contentType).send(await register.metrics()))
app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: true }))
app.get('/', (_req, res) => void res.send('Hello\n'))
app.get(
  '/sign-out',
  (req, res) => void req.session.destroy((error) => res.send(error ? 'Failed\n' : 'Bye\n')),
)

const server = app.listen(Number(PORT), '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${PORT}`)
})

process.on('SIGTERM', () => server.close(() => void store.close()))
