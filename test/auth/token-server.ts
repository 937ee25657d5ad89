// An app with token routes in a process of its own, which the long storms start several of.
import { createPrivateKey } from 'node:crypto'
import express from 'express'
import { createAuthRouter } from '../../lib/auth/index.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'

const { VALKEY_NODES = '[]', SECRETS = '', PREFIX = '', SIGNING_KEY = '', PORT = '' } = process.env
const nodes = JSON.parse(VALKEY_NODES) as { readonly host: string; readonly port: number }[]
const [first = { host: '127.0.0.1', port: 0 }] = nodes

const store = new ValkeyStore({
  connection: nodes.length > 1 ? { nodes } : { url: `valkey://${first.host}:${first.port}` },
  secrets: SECRETS.split(','),
  prefix: PREFIX,
  connectTimeoutMs: 10_000,
  commandTimeoutMs: 10_000,
})
const auth = createAuthRouter({
  issuer: 'https://app.example/auth',
  audience: 'https://app.example',
  keys: [createPrivateKey(SIGNING_KEY)],
  authenticate: async ({ username }) => ({ user: { id: username } }),
  store,
})
const app = express()
app.use('/auth', auth)
app.listen(Number(PORT), '127.0.0.1', () => console.log(`http://127.0.0.1:${PORT}`))
