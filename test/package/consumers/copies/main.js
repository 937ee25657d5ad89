// One package twice in a process, as where one module imports it and another requires it.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import * as imported from 'express-session-valkey'
import * as importedAuth from 'express-session-valkey/auth'

const require = createRequire(import.meta.url)
const required = require('express-session-valkey')
const requiredAuth = require('express-session-valkey/auth')

async function errorOf({ InProcessStore }) {
  const store = new InProcessStore({ maxBytes: 256 })
  return store.set('id', { cookie: { originalMaxAge: null }, text: 'x'.repeat(500) }).catch((error) => error)
}

const pairs = [
  [imported, importedAuth, required, requiredAuth],
  [required, requiredAuth, imported, importedAuth],
]
for (const [ours, ourAuth, other, otherAuth] of pairs) {
  const error = await errorOf(other)
  assert.equal(error.code, 'ERR_SESSION_TOO_LARGE')
  assert.equal(error.name, 'SessionTooLargeError')
  assert.equal(error instanceof ours.SessionStoreError, false)
  assert.equal(ours.isSessionStoreError(error), true)

  const refused = new otherAuth.InvalidGrantError('invalid_credentials', 'no')
  assert.equal(refused instanceof ourAuth.AuthError, false)
  assert.equal(ours.isSessionStoreError(refused), true)
}
process.stdout.write('recognized')
