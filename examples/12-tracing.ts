// OpenTelemetry spans of every operation of the store, each the child of whatever span its request has.
import { tracingChannel } from 'node:diagnostics_channel'
import { context, type Span, SpanStatusCode, trace } from '@opentelemetry/api'
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks'
import { BasicTracerProvider, ConsoleSpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base'
import express from 'express'
import session from 'express-session'
import { type OperationTrace, ValkeyStore } from 'express-session-valkey'

const { VALKEY_URL = '', SESSION_KEY = '', COOKIE_SECRET = '', PORT = '3000' } = process.env
const OPERATIONS = ['get', 'set', 'touch', 'destroy', 'commit', 'end', 'end-all'] as const

// What an app with OpenTelemetry has already.
context.setGlobalContextManager(new AsyncLocalStorageContextManager())
const spanProcessors = [new SimpleSpanProcessor(new ConsoleSpanExporter())]
trace.setGlobalTracerProvider(new BasicTracerProvider({ spanProcessors }))
const tracer = trace.getTracer('shop')

const spans = new WeakMap<object, Span>()
const end = (ended: OperationTrace) => {
  const span = spans.get(ended)
  if (ended.error !== undefined) {
    span?.setAttribute('error.type', String((ended.error as { code?: string }).code))
    span?.setStatus({ code: SpanStatusCode.ERROR })
  }
  span?.end()
}
for (const operation of OPERATIONS) {
  const channel = tracingChannel<string, OperationTrace>(`express-session-valkey:${operation}`)
  channel.start.subscribe((begun) => spans.set(begun as object, tracer.startSpan(`session ${operation}`)))
  channel.asyncEnd.subscribe((ended) => end(ended as OperationTrace))
}

const store = new ValkeyStore({ connection: { url: VALKEY_URL }, secrets: [SESSION_KEY] })
const app = express()

app.use((req, _res, next) => {
  tracer.startActiveSpan(`${req.method} ${req.path}`, (span) => {
    req.once('close', () => span.end())
    next()
  })
})
app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: true }))
app.get('/', (_req, res) => void res.send('Hello\n'))

const server = app.listen(Number(PORT), '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${PORT}`)
})

process.on('SIGTERM', () => server.close(() => void store.close()))
