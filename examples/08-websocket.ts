// A WebSocket that is closed, with code 4401, the moment its session ends on whatever node.
import express from 'express'
import session from 'express-session'
import { closeOnEnd, InProcessStore } from 'express-session-valkey'
import { WebSocketServer } from 'ws'

declare module 'express-session' {
  interface SessionData {
    userId?: string
  }
}

const port = Number(process.env['PORT'] ?? 3000)
const store = new InProcessStore()
const app = express()
const sessions = session({ store, secret: 'for the example only', resave: false, saveUninitialized: false })

app.use(sessions)

app.post('/sign-in/:user', (req, res) => {
  req.session.userId = req.params.user
  res.json({ user: req.session.userId })
})

app.post('/sign-out', (req, res, next) => {
  req.session.destroy((error) => (error ? next(error) : res.json({ user: null })))
})

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})

const sockets = new WebSocketServer({ server })
sockets.on('connection', (socket, upgrade) => {
  // The handshake is a request with a cookie; nothing of the response that express-session prepares is sent.
  const req = upgrade as express.Request
  sessions(req, {} as express.Response, () => {
    if (req.session?.userId === undefined) return socket.close(4401, 'signed-out')
    closeOnEnd({ store, target: { sid: req.sessionID }, connection: socket })
    socket.send(`hello ${req.session.userId}`)
  })
})

process.on('SIGTERM', () => {
  for (const socket of sockets.clients) socket.terminate()
  server.close(() => void store.close())
})
