import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Express } from 'express'
import { createSessionStore, type SessionStore } from 'express-session-valkey'
import { createApp } from './app.ts'
import { describeDevice } from './devices.ts'
import { freshSecrets, keptSecrets } from './secrets.ts'

const HOST = '127.0.0.1'
const USUAL_PORT = 3000
const GRACE_MS = 5000

const url = process.env['VALKEY_URL']
const { sessionKey, cookieSecret } = url ? keptSecrets() : freshSecrets()
const sessions = { secrets: [sessionKey], encrypt: true, maxSessionsPerUser: 5, device: describeDevice }
const store = createSessionStore(
  url
    ? { ...sessions, kind: 'valkey', connection: { url }, prefix: 'demo' }
    : { ...sessions, kind: 'in-process' },
)
const place = url
  ? `on Valkey at ${new URL(url).host}, sealed and encrypted`
  : 'in this process, and end with it'
const server = await listen(createApp({ store, cookieSecret, place }), process.env['PORT'])
const { port } = server.address() as AddressInfo
stopOnSignal(server, store)

console.log(`express-session-valkey demo

  Open      http://${HOST}:${port}
  Sessions  are kept ${place}${url ? '' : '. Set VALKEY_URL to keep them on Valkey.'}
  Stop      with Ctrl+C
`)
if (!(await store.health()).isReady)
  console.log('  Valkey does not answer. Requests get 503 until it does.\n')

async function listen(app: Express, wanted: string | undefined): Promise<Server> {
  try {
    return await listenOn(app, Number(wanted ?? USUAL_PORT))
  } catch (error) {
    const isTaken = error instanceof Error && 'code' in error && error.code === 'EADDRINUSE'
    if (!isTaken || wanted !== undefined) throw error
    return listenOn(app, 0)
  }
}

async function listenOn(app: Express, port: number): Promise<Server> {
  const server = createServer(app)
  server.listen(port, HOST)
  await once(server, 'listening')
  return server
}

function stopOnSignal(server: Server, store: SessionStore): void {
  let isStopping = false
  const stop = async () => {
    if (isStopping) return
    isStopping = true
    // Answers what was asked, then closes; what takes longer than the grace period is cut off.
    const closed = once(server, 'close')
    server.close()
    server.closeIdleConnections()
    setTimeout(() => server.closeAllConnections(), GRACE_MS).unref()
    await closed
    await store.close()
  }
  process.on('SIGINT', stop)
  process.on('SIGTERM', stop)
}
