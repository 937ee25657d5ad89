// An app that is bundled, with all it depends on, into one minified file: a page, and the names of errors.
import { createRequire } from 'node:module'
import express from 'express'
import session from 'express-session'
import { InProcessStore, isSessionStoreError, sessionGuard, ValkeyStore } from 'express-session-valkey'
import { InvalidGrantError } from 'express-session-valkey/auth'

const secrets = ['a secret of at least 32 bytes, for tests']
const cookie = { originalMaxAge: 60_000 }
const store = new InProcessStore({ secrets, maxBytes: 1000 })
const away = new ValkeyStore({ connection: { url: 'valkey://127.0.0.1:1' }, secrets, retries: 0 })

const app = express()
app.use(session({ store, secret: 'x', resave: false, saveUninitialized: false }), sessionGuard({ store }))
app.get('/', (req, res) => {
  req.session.count = (req.session.count ?? 0) + 1
  res.json({ count: req.session.count })
})

const told = (error, isOurs = isSessionStoreError) => ({
  name: error.name,
  code: error.code,
  stack: error.stack.split(':')[0],
  className: error.constructor.name,
  isOurs: isOurs(error),
})
const failureOf = (call) =>
  call.then(
    () => undefined,
    (error) => error,
  )

const server = app.listen(0, '127.0.0.1', async () => {
  const origin = `http://127.0.0.1:${server.address().port}`
  const first = await fetch(origin)
  const second = await fetch(origin, { headers: { cookie: first.headers.get('set-cookie') } })
  const errors = [
    await failureOf(store.set('id', { cookie, text: 'x'.repeat(2000) })),
    await failureOf(away.get('id')),
    new InvalidGrantError('invalid_credentials', 'no'),
  ]
  // The same package once more, as a module of node_modules that is no part of the bundle.
  const require = createRequire(`${process.cwd()}/`)
  const { isSessionStoreError: isOurs } = require('express-session-valkey')
  console.log(
    JSON.stringify({
      page: await second.json(),
      errors: errors.map((error) => told(error)),
      elsewhere: errors.map((error) => told(error, isOurs)),
    }),
  )
  process.exit()
})
