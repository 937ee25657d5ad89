// A stream of server-sent events that ends with the session it was opened in.
import express from 'express'
import session from 'express-session'
import { closeOnEnd, InProcessStore } from 'express-session-valkey'

declare module 'express-session' {
  interface SessionData {
    userId?: string
  }
}

const port = Number(process.env['PORT'] ?? 3000)
const store = new InProcessStore()
const app = express()

app.use(session({ store, secret: 'for the example only', resave: false, saveUninitialized: false }))

app.post('/sign-in/:user', (req, res) => {
  req.session.userId = req.params.user
  res.json({ user: req.session.userId })
})

app.post('/sign-out', (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.json({ user: null })))
})

app.get('/events', (req, res) => {
  if (req.session.userId === undefined) return void res.status(401).end()
  res.writeHead(200, { 'Content-Type': 'text/event-stream', 'Cache-Control': 'no-store' })
  res.write(`data: hello ${req.session.userId}\n\n`)
  closeOnEnd({ store, target: { sid: req.sessionID }, connection: res })
})

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})

process.on('SIGTERM', () => {
  server.closeAllConnections()
  server.close(() => void store.close())
})
