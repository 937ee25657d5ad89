// A WebSocket that is closed, with code 4401, the moment its session ends on whatever node, and not because of an outage.
import express from 'express'
import session from 'express-session'
import { closeOnEnd, ValkeyStore } from 'express-session-valkey'
import { WebSocketServer } from 'ws'

declare module 'express-session' {
  interface SessionData {
    userId?: string
  }
}

const { VALKEY_URL = '', SESSION_KEY = '', COOKIE_SECRET = '', PORT = '3000' } = process.env

const store = new ValkeyStore({ connection: { url: VALKEY_URL }, secrets: [SESSION_KEY] })
const app = express()
const sessions = session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false })

app.use(sessions)

app.post('/sign-in/:user', (req, res) => {
  req.session.userId = req.params.user
  res.json({ user: req.session.userId })
})

app.post('/sign-out', (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.json({ user: null })))
})

const server = app.listen(Number(PORT), '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${PORT}`)
})

const sockets = new WebSocketServer({ server })
sockets.on('connection', (socket, upgrade) => {
  // What breaks the protocol closes the socket; without a listener it would end the process.
  socket.on('error', () => {})
  // The handshake is a request with a cookie; nothing of the response that express-session prepares is sent.
  const req = upgrade as express.Request
  sessions(req, {} as express.Response, (error?: unknown) => {
    // An outage says nothing about the session. 1013 is "try again later": the client keeps its sign-in.
    if (error || !req.session) return socket.close(1013, 'unavailable')
    if (req.session.userId === undefined) return socket.close(4401, 'signed-out')
    closeOnEnd({ store, target: { sid: req.sessionID }, connection: socket })
    socket.send(`hello ${req.session.userId}`)
  })
})

process.on('SIGTERM', () => {
  for (const socket of sockets.clients) socket.terminate()
  server.close(() => void store.close())
})
