import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Request } from 'express'
import session, { type SessionOptions } from 'express-session'
import request from 'supertest'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { StoreUnavailableError } from '../../lib/errors.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import type { SealedSessionStore } from '../../lib/store/session-store.ts'
import { COOKIE_SECRET, contentOf, frameworks, regenerate } from './app.ts'
import { createGate } from './gate.ts'
import { generateSession, loadedSession } from './live-session.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const outage = async () => {
  throw new StoreUnavailableError('timeout')
}

interface Setting {
  readonly signedInWith?: SessionStoreOptions
  readonly store?: SessionStoreOptions
  readonly session?: Partial<SessionOptions>
  readonly verbs?: (backend: Backend) => Partial<Backend>
  readonly saveUninitialized?: boolean
  /** What the handler does before it asks. */
  readonly act?: (req: Request, store: SealedSessionStore) => unknown
  readonly isNew?: boolean
}

describe.each(storeKinds())('a request whose session is kept $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  /** What the store answers, for a visitor who has signed in before. */
  async function isCommitted(setting: Setting): Promise<unknown> {
    const place = kind.place()
    const [{ express }] = frameworks
    const appOn = (store: SealedSessionStore) => {
      const app = express()
      app.use(
        session({
          store,
          secret: COOKIE_SECRET,
          resave: false,
          saveUninitialized: false,
          ...setting.session,
        }),
      )
      app.post('/', (req, res) => {
        Object.assign(req.session, { userId: 'alice', items: [1, { two: 2 }] })
        res.send('in')
      })
      app.get('/', async (req, res) => {
        await setting.act?.(req, store)
        const { saveUninitialized } = setting
        const answer = store.isCommitted(req, { saveUninitialized })
        // Else express-session would store it now, or hang on what it cannot write.
        Reflect.deleteProperty(req, 'session')
        res.json(answer)
      })
      return app
    }
    const signedIn = await request(appOn(place.share({ ...setting.store, ...setting.signedInWith }))).post(
      '/',
    )
    const backend = place.backend()
    const asked = place.over(wrapBackend(backend, setting.verbs?.(backend) ?? {}), setting.store)
    const cookie = setting.isNew ? [] : (signedIn.headers['set-cookie'] as unknown as string[])
    return (await request(appOn(asked)).get('/').set('Cookie', cookie)).body as unknown
  }

  test.each<[string, Setting]>([
    ['only reads', {}],
    [
      'only reads, though the clock of this process is an hour early',
      { store: { clock: { now: () => Date.now() + 3_600_000 } } },
    ],
    ['only reads, with a cookie that expires', { session: { cookie: { maxAge: 60_000 } } }],
    ['has none', { isNew: true }],
    [
      'changes it and changes it back',
      {
        act: (req) => {
          contentOf(req)['items'] = 1
          contentOf(req)['items'] = [1, { two: 2 }]
        },
      },
    ],
    [
      'has stored it itself',
      {
        act: async (req) => {
          contentOf(req)['items'] = 1
          await new Promise((resolve) => req.session.save(resolve))
        },
      },
    ],
    [
      'reads one that a serializer of its own writes',
      { store: { serializer: { stringify: (data) => JSON.stringify(data), parse: parsed } } },
    ],
  ])('that %s is committed', async (_, setting) => {
    expect(await isCommitted(setting)).toBe(true)
  })

  test.each<[string, Setting]>([
    ['changes a value', { act: (req) => void Object.assign(req.session, { items: 1 }) }],
    ['changes a value deep inside', { act: (req) => (contentOf(req)['items'] as unknown[]).reverse() }],
    ['takes a value away', { act: (req) => Reflect.deleteProperty(req.session, 'items') }],
    ['changes the cookie', { act: (req) => Object.assign(req.session.cookie, { maxAge: 5000 }) }],
    ['cannot be serialized', { act: (req) => void Object.assign(req.session, { items: 1n }) }],
    ['begins one', { isNew: true, act: (req) => void Object.assign(req.session, { items: 1 }) }],
    ['has none, where every visitor gets one', { isNew: true, saveUninitialized: true }],
    ['labels it', { act: (req, store) => store.sealLabels(req.session, ['pii']) }],
    ['labels a new one', { isNew: true, act: (req, store) => store.sealLabels(req.session, ['pii']) }],
    [
      'regenerates it',
      { act: async (req) => Object.assign(await regenerate(req).then(() => req.session), { a: 1 }) },
    ],
    ['would live for no time at all', { signedInWith: { ttl: 60 }, store: { ttl: () => Number.NaN } }],
    [
      'meets an option that throws',
      {
        signedInWith: { userId: () => 'alice' },
        store: {
          userId: () => {
            throw new Error('never told')
          },
        },
      },
    ],
    ['takes it away', { act: (req) => Reflect.deleteProperty(req, 'session') }],
    [
      'has it sealed with a former secret',
      {
        store: { secrets: ['a newer secret, never used elsewhere', 'a former secret, never used elsewhere'] },
        signedInWith: { secrets: ['a former secret, never used elsewhere'] },
      },
    ],
    [
      'is due to extend it, though the clock of this process is a day late',
      {
        signedInWith: { ttl: 10 },
        store: { ttl: 86_400, touchAfter: 1, clock: { now: () => Date.now() - 86_400_000 } },
      },
    ],
    ['is due to extend it', { signedInWith: { ttl: 10 }, store: { ttl: 86_400, touchAfter: 1 } }],
    [
      'has a save under way',
      {
        verbs: () => ({ put: () => createGate().opened as Promise<never> }),
        act: (req) => {
          contentOf(req)['items'] = 1
          req.session.save(() => {})
          contentOf(req)['items'] = [1, { two: 2 }]
        },
      },
    ],
    [
      'has failed to store it, and changed it back',
      {
        verbs: () => ({ put: outage }),
        act: async (req) => {
          contentOf(req)['items'] = 1
          await new Promise((resolve) => req.session.save(resolve))
          contentOf(req)['items'] = [1, { two: 2 }]
        },
      },
    ],
    [
      'could not regenerate it',
      { verbs: () => ({ end: outage }), act: (req) => regenerate(req).catch(() => {}) },
    ],
    [
      'reads one that an async serializer writes',
      { store: { serializer: { stringify: async (data) => JSON.stringify(data), parse: parsed } } },
    ],
  ])('that %s is not', async (_, setting) => {
    expect(await isCommitted(setting)).toBe(false)
  })

  // express-session itself has saved the session, with `resave`; the touch is one of a WebSocket that the request became.
  test('that was committed as its response ended is extended by a touch that comes later', async () => {
    const place = kind.place()
    let ttl = 100
    const store = place.share({ ttl: () => ttl, touchAfter: 1 })
    const expiry = async () => {
      const record = await place.backend().get(store.handle('sid'), 100_000)
      return typeof record === 'object' ? record.expiresAtMs : 0
    }
    await store.set('sid', generateSession(store, 'sid', { content: { items: [] } }))
    const before = await expiry()
    const live = await loadedSession(store, 'sid')
    const req = live['req'] as Request
    store.conclude(req)
    expect(store.isCommitted(req)).toBe(true)

    await nextTurn()
    ttl = 1000
    await new Promise<void>((resolve) => store.touch('sid', live, () => resolve()))

    expect((await expiry()) - before).toBeGreaterThan(800_000)
  })
})

function parsed(text: string | Buffer): unknown {
  return JSON.parse(text.toString())
}
