// An Express app with tokens, in a process of its own. Started by auth.ts.
import { createPublicKey, generateKeyPairSync } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import express, { type RequestHandler } from 'express'
import { expressjwt } from 'express-jwt'
import { InProcessStore, ValkeyStore } from 'express-session-valkey'
import { createAuthRouter } from 'express-session-valkey/auth'
import { CAP, type Place, SECRET } from './candidates.ts'
import { serve, startedWith } from './subject.ts'

export type AuthName = 'on Valkey, signed' | 'on Valkey, encrypted' | 'in process' | 'without a store'
export type AuthTask = 'port' | 'usage'

const { name, place } = startedWith<{ readonly name: AuthName; readonly place: Place }>()
const issuer = 'http://127.0.0.1/auth'
const audience = 'http://127.0.0.1'
const pem = generateKeyPairSync('ec', { namedCurve: 'P-256' }).privateKey.export({
  type: 'pkcs8',
  format: 'pem',
})
const common = {
  issuer,
  audience,
  keys: [String(pem)],
  // No hashing: argon2 costs a hundred times what the rest does, as it should.
  authenticate: async ({ username }: { readonly username: string }) => ({ user: { id: username } }),
}

const app = express()
if (name === 'without a store') mount(createAuthRouter({ ...common, secrets: [SECRET] }))
else {
  const auth = createAuthRouter({ ...common, store: storeOf(name) })
  app.get('/live', auth.requireAuth({ live: true }), ok)
  mount(auth)
}
// The floor of requireAuth: one signature verified, by another package.
app.get(
  '/express-jwt',
  expressjwt({ secret: createPublicKey(pem), algorithms: ['ES256'], issuer, audience }),
  ok,
)
app.get('/open', ok)

const server = createServer(app).listen(0, '127.0.0.1')
await once(server, 'listening')

serve<AuthTask>(async (task) => {
  if (task === 'port') return (server.address() as AddressInfo).port
  const { user, system } = process.cpuUsage()
  return user + system
})

function mount(auth: RequestHandler & { requireAuth(): RequestHandler }): void {
  app.use('/auth', auth)
  app.get('/required', auth.requireAuth(), ok)
}

function ok(_req: express.Request, res: express.Response): void {
  res.json({ ok: true })
}

function storeOf(kind: Exclude<AuthName, 'without a store'>) {
  const options = { secrets: [SECRET], maxSessionsPerUser: CAP }
  if (kind === 'in process') return new InProcessStore(options)
  return new ValkeyStore({
    ...options,
    connection: { url: `valkey://${place.host}:${place.port}` },
    encrypt: kind === 'on Valkey, encrypted',
    prefix: kind === 'on Valkey, encrypted' ? 'encrypted' : 'signed',
    connectTimeoutMs: 10_000,
    commandTimeoutMs: 10_000,
  })
}
