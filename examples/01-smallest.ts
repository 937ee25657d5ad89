// The smallest app: sessions in this process, which end with it.
import { randomBytes } from 'node:crypto'
import express from 'express'
import session from 'express-session'
import { InProcessStore } from 'express-session-valkey'

declare module 'express-session' {
  interface SessionData {
    count?: number
  }
}

const port = Number(process.env['PORT'] ?? 3000)
const app = express()

app.use(
  session({
    store: new InProcessStore(),
    secret: randomBytes(32).toString('hex'),
    resave: false,
    saveUninitialized: false,
  }),
)

app.get('/', (req, res) => {
  req.session.count = (req.session.count ?? 0) + 1
  res.send(`You have been here ${req.session.count} times.\n`)
})

app.listen(port, '127.0.0.1', (error) => {
  if (error) throw error
  console.log(`Listening on http://127.0.0.1:${port}`)
})
