// The production build of a Next.js app in a folder, behind middlewares in a given order, over the built package.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import compression from 'compression'
import express from 'express'
import session from 'express-session'
import { InProcessStore, sessionGuard } from 'express-session-valkey'

const [, , dir, ...order] = process.argv
const next = createRequire(join(dir, 'package.json'))('next')
const pages = next({ dev: false, dir })
await pages.prepare()
const handle = pages.getRequestHandler()

const store = new InProcessStore()
const middlewares = {
  compression: compression({ threshold: 0 }),
  session: session({ store, secret: 'of the test', resave: false, saveUninitialized: false }),
  guard: sessionGuard({ store }),
}
const app = express()
for (const name of order) app.use(middlewares[name])
app.use((req, res) => {
  req.session.user = 'alice'
  return handle(req, res)
})
const server = app.listen(0, '127.0.0.1', () => process.send(server.address().port))
