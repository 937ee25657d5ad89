/** The program of concurrent-sign-ins.ts: apps that sign users in, one for each cap, and tell what their stores did. */

import express, { type Request } from 'express'
import session from 'express-session'
import { createValkeyClient, type ValkeyConnection } from '../../lib/backend/valkey/connection/connection.ts'
import { ValkeyBackend } from '../../lib/backend/valkey/valkey-backend.ts'
import { maxBlobBytes } from '../../lib/session/records.ts'
import { COOKIE_SECRET, contentOf, handled, listen, save } from '../store/app.ts'
import { PartsStore } from '../store/parts-store.ts'
import { wrapRegistry } from './wrap-registry.ts'

export interface SignInSetting {
  readonly connection: ValkeyConnection
  readonly prefix: string
  readonly caps: readonly number[]
}

/** What one process saw since it was last asked. */
export interface SignInReport {
  readonly orders: readonly (readonly [handle: string, order: number])[]
  readonly evicted: readonly string[]
}

const PATIENCE = { connectTimeoutMs: 20_000, commandTimeoutMs: 20_000, retries: 1 }

async function serve(
  client: ReturnType<typeof createValkeyClient>,
  prefix: string,
  cap: number,
): Promise<string> {
  const orders: [string, number][] = []
  const evicted: string[] = []
  const backend = new ValkeyBackend({ client, prefix, maxBlobBytes: maxBlobBytes(65_536), ...PATIENCE })
  // Only listens: which place in the order the server gave.
  const listening = wrapRegistry(backend, {
    enroll: async (owner, enrolment) => {
      const reply = await backend.registry.enroll(owner, enrolment)
      if (reply.answer === 'enrolled') orders.push([enrolment.handle, reply.order])
      return reply
    },
  })
  const store = new PartsStore(listening, { prefix, maxSessionsPerUser: cap, deadlineMs: 60_000 })
  store.on('session-ended', ({ handle, reason }: { handle: string; reason: string }) => {
    if (reason === 'evicted') evicted.push(handle)
  })
  const app = express()
  app.get('/report', (_req, res) => {
    res.json({ orders: orders.splice(0), evicted: evicted.splice(0) } satisfies SignInReport)
  })
  app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))
  app.post(
    '/sign-in/:user',
    handled(async (req: Request, res) => {
      contentOf(req)['userId'] = req.params['user']
      const outcome = await save(req).then(
        () => 'granted',
        (error: { code?: string }) => error.code,
      )
      res.json({ handle: store.handle(req.sessionID), outcome })
    }),
  )
  app.get('/user', (req, res) => {
    res.json({ user: contentOf(req)['userId'] ?? null })
  })
  const { origin, server } = await listen(app)
  // A busy machine may leave a connection alone for longer than the usual 5 s; the client would not know that it was closed.
  server.keepAliveTimeout = 600_000
  return origin
}

const { connection, prefix, caps } = JSON.parse(process.argv[2] ?? '') as SignInSetting
const client = createValkeyClient(connection, PATIENCE)
process.send?.(await Promise.all(caps.map((cap) => serve(client, `${prefix}-${cap}`, cap))))

// The parent has closed the channel, or is gone.
process.once('disconnect', () => process.exit())
