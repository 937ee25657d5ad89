// An app with a stream that never ends and a request that ends once the process is asked to stop, shut down as a page shows it.
import express from 'express'
import { InProcessStore } from 'express-session-valkey'

const { SNIPPET = '', PORT } = process.env
const { addOperations } = await import(SNIPPET)

const app = express()
app.get('/stream', (_req, res) => {
  res.writeHead(200, { 'Content-Type': 'text/event-stream' }).write('data: hello\n\n')
})
app.get('/request', (_req, res) => {
  res.writeHead(200).write('begun, ')
  process.once('SIGTERM', () => setTimeout(() => res.end('ended'), 50))
})
const server = app.listen(Number(PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${PORT}`))
addOperations(app, server, new InProcessStore())
