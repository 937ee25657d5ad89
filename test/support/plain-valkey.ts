import { Redis, type RedisOptions } from 'iovalkey'
import { override } from './valkey-binary.ts'
import { ValkeyServer } from './valkey-server.ts'

/** A server for tests that only send it commands: no signals, no settings, no counts. */
export interface PlainValkey {
  readonly host: string
  readonly port: number
  /** With the number of an empty database, where the server is not of our own. */
  readonly url: string
  client(options?: RedisOptions): Redis
  stop(): Promise<void>
}

const CLAIM = 'express-session-valkey:tests'
const DATABASES = 16

/** A server of our own, or an empty database of the one whose URL `TEST_VALKEY_SERVER` is. */
export async function plainValkey(): Promise<PlainValkey> {
  const { url } = override()
  return url === undefined ? ValkeyServer.start() : borrow(new URL(url))
}

async function borrow(url: URL): Promise<PlainValkey> {
  if (!/^127\.\d+\.\d+\.\d+$/.test(url.hostname)) {
    throw new Error(
      'TEST_VALKEY_SERVER: tests send traffic to 127.0.0.1 only; name such a URL or the path of a server program',
    )
  }
  const clients: Redis[] = []
  const connect = (options: RedisOptions = {}): Redis => {
    const client = new Redis({
      host: url.hostname,
      port: Number(url.port || 6379),
      ...credentials(url),
      ...options,
    })
    client.on('error', () => undefined)
    clients.push(client)
    return client
  }
  const admin = connect()
  const db = await claimDatabase(admin)
  return {
    host: url.hostname,
    port: Number(url.port || 6379),
    url: new URL(`/${db}`, url).href,
    client: (options) => connect({ db, ...options }),
    stop: async () => {
      await admin.flushdb()
      for (const client of clients) client.disconnect()
    },
  }
}

function credentials({ username, password }: URL): RedisOptions {
  return {
    ...(username === '' ? {} : { username: decodeURIComponent(username) }),
    ...(password === '' ? {} : { password: decodeURIComponent(password) }),
  }
}

/** Selects a database that is empty, and marks it so that no other test file takes it too. */
async function claimDatabase(admin: Redis): Promise<number> {
  for (let db = 0; db < DATABASES; db++) {
    await admin.select(db)
    const isEmpty = (await admin.dbsize()) === 0
    if (isEmpty && (await admin.set(CLAIM, process.pid, 'NX')) === 'OK') return db
  }
  throw new Error(
    'TEST_VALKEY_SERVER: that server has no empty database left; tests never write where data is',
  )
}
