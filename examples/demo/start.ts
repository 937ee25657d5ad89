import { once } from 'node:events'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { createLabelStore, createSessionStore } from 'express-session-valkey'
import { createAuthRouter } from 'express-session-valkey/auth'
import { createApp } from './app.ts'
import type { Demo } from './demo.ts'
import { describeDevice } from './devices.ts'
import { LiveHub } from './live.ts'
import type { LocalValkey } from './local-valkey.ts'
import { type DemoSecrets, freshSecrets } from './secrets.ts'
import { seedUsers } from './users.ts'

export interface DemoSettings {
  /** Where to listen on 127.0.0.1; 0 is any free port. */
  readonly port: number
  /** Keeps sessions on the Valkey at this address. Without one, and without `valkey`, they are kept in this process. */
  readonly valkeyUrl?: string | undefined
  /** Keeps sessions on this server, which rooms may disturb, and which is stopped with the demo. */
  readonly valkey?: LocalValkey | undefined
  /** Two instances that share sessions have the same. By default they are made afresh. */
  readonly secrets?: DemoSecrets | undefined
}

export interface RunningDemo {
  readonly demo: Demo
  stop(): Promise<void>
}

const HOST = '127.0.0.1'
const PREFIX = 'demo'
const GRACE_MS = 2000

/** Starts the demo and listens. */
export async function startDemo(settings: DemoSettings): Promise<RunningDemo> {
  const secrets = settings.secrets ?? freshSecrets()
  // The demo names its own address, so it listens before it is made: a request that is early waits for it.
  const server = createServer((request, response) => void made.then(({ app }) => app(request, response)))
  const made = listen(server, settings.port).then(async (origin) => {
    const demo = await makeDemo(settings, secrets, origin)
    return { demo, app: createApp(demo, secrets.cookieSecret) }
  })
  const { demo } = await made
  return { demo, stop: () => stop(server, demo) }
}

/** Listens, and returns the address. */
async function listen(server: Server, port: number): Promise<string> {
  server.listen(port, HOST)
  await once(server, 'listening')
  return `http://${HOST}:${(server.address() as AddressInfo).port}`
}

async function makeDemo(settings: DemoSettings, secrets: DemoSecrets, origin: string): Promise<Demo> {
  const { valkey } = settings
  const { sessionKey, signingKey } = secrets
  const valkeyUrl = valkey?.url ?? settings.valkeyUrl
  const terms = {
    secrets: [sessionKey],
    encrypt: true,
    maxSessionsPerUser: 250,
    touchAfter: 5,
    device: describeDevice,
    prefix: PREFIX,
  }
  const connection = valkeyUrl === undefined ? undefined : { url: valkeyUrl }
  const store = createSessionStore(
    connection ? { ...terms, kind: 'valkey', connection } : { ...terms, kind: 'in-process' },
  )
  const labels = createLabelStore(
    connection ? { kind: 'valkey', connection, prefix: `${PREFIX}:labels` } : { kind: 'in-process' },
  )
  const users = await seedUsers()
  const auth = createAuthRouter({
    issuer: `${origin}/auth`,
    audience: origin,
    keys: [signingKey],
    authenticate: users.authenticate,
    store,
    device: describeDevice,
  })
  const backend = connection ? 'valkey' : 'in-process'
  const live = new LiveHub()
  return { store, labels, users, auth, live, backend, valkeyUrl, valkey, origin, sessionKey, prefix: PREFIX }
}

/** Responds to what was asked, then closes; what takes longer than the grace period is cut off. */
async function stop(server: Server, { live, store, labels, valkey }: Demo): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  live.close()
  server.closeIdleConnections()
  setTimeout(() => server.closeAllConnections(), GRACE_MS).unref()
  await closed
  await Promise.all([store.close(), labels.close()])
  await valkey?.stop()
}
