import session from 'express-session'
import {
  createSessionStore,
  InProcessStore,
  isSessionStoreError,
  type SessionStore,
  type SessionStoreErrorCode,
  type SessionStoreOptions,
  ValkeyStore,
  type ValkeyStoreOptions,
} from 'express-session-valkey'

declare module 'express-session' {
  interface SessionData {
    greeting?: string
  }
}

const options: SessionStoreOptions = { secrets: ['a secret of at least 32 bytes, for tests'], ttl: 60 }

async function roundTrip(store: SessionStore): Promise<string | undefined> {
  const cookie = new session.Cookie()
  cookie.maxAge = 60_000
  await store.set('id-1', { cookie, greeting: 'hello' })
  const loaded = await store.get('id-1')
  await store.close()
  return loaded?.greeting
}

export function codeOf(error: unknown): SessionStoreErrorCode | undefined {
  return isSessionStoreError(error) ? error.code : undefined
}

export const middleware = session({
  store: new InProcessStore(options),
  secret: 'x',
  resave: false,
  saveUninitialized: false,
})

export function openOnValkey(more: ValkeyStoreOptions): ValkeyStore {
  return new ValkeyStore(more)
}

export const configured: SessionStore = createSessionStore({
  kind: 'in-process',
  secrets: ['a secret of at least 32 bytes, for tests'],
})

// @ts-expect-error a misspelt option
export const misspelt: SessionStoreOptions = { secretz: [] }

// @ts-expect-error a lifetime is a number or a function
export const wrong: SessionStoreOptions = { ttl: '60' }

roundTrip(new InProcessStore(options)).then((greeting) => {
  if (greeting !== 'hello') throw new Error(`The session came back as ${greeting}`)
  process.stdout.write('hello')
})
