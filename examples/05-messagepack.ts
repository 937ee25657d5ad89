// Another serializer: MessagePack is smaller than JSON, and a Date comes back as a Date.
import express from 'express'
import session from 'express-session'
import { type SessionSerializer, ValkeyStore } from 'express-session-valkey'
import { pack, unpack } from 'msgpackr'

declare module 'express-session' {
  interface SessionData {
    firstVisit?: Date
  }
}

const { VALKEY_URL = 'valkey://127.0.0.1:6379', SESSION_KEY = '', COOKIE_SECRET = '' } = process.env
const port = Number(process.env['PORT'] ?? 3000)

// What `stringify` wrote as bytes, `parse` gets as a Buffer.
const serializer: SessionSerializer = {
  stringify: (data) => pack(data),
  parse: (stored) => unpack(Buffer.from(stored)),
}

const store = new ValkeyStore({ connection: { url: VALKEY_URL }, secrets: [SESSION_KEY], serializer })
const app = express()

app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))

app.get('/', (req, res) => {
  req.session.firstVisit ??= new Date()
  res.send(`First visit in ${req.session.firstVisit.getFullYear()}.\n`)
})

const server = app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})

process.on('SIGTERM', () => server.close(() => void store.close()))
