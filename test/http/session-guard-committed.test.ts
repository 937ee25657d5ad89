import session, { type SessionOptions } from 'express-session'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { type SessionGuardOptions, sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { COOKIE_SECRET, contentOf, frameworks } from '../store/app.ts'
import { http1, type Listener, type Site } from './protocols.ts'

const sites: Site[] = []

afterEach(async () => {
  await Promise.all(sites.splice(0).map((site) => site.close()))
})

/** A guarded site whose store says of every request that it is, or is not, committed. */
async function siteWhose(
  isCommitted: boolean,
  unset: SessionGuardOptions['unset'] & SessionOptions['unset'],
) {
  const store = Object.assign(new InProcessStore(), { isCommitted: vi.fn(() => isCommitted) })
  const commit = vi.spyOn(store, 'commit')
  const [{ express }] = frameworks
  const app = express()
  app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false, unset }))
  app.use(sessionGuard({ store, unset }))
  app.get('/read', (_req, res) => void res.json({}))
  app.get('/stream', (_req, res) => {
    res.write('begun')
    res.end()
  })
  app.get('/regenerate', (req, res) => {
    req.session.regenerate(() => {
      contentOf(req)['user'] = 'alice'
      res.send('in')
    })
  })
  app.get('/unset', (req, res) => {
    Reflect.set(req, 'session', null)
    res.send('out')
  })
  const site = await http1.serve(app as unknown as Listener)
  sites.push(site)
  return { ask: site.ask, commit, isCommitted: store.isCommitted }
}

describe('a guarded response whose store knows whether its session is committed', () => {
  test.each([
    ['leaves in one piece', '/read', '{}'],
    ['begins before its last byte', '/stream', 'begun'],
  ])('leaves without a commit if it is and %s', async (_how, path, body) => {
    const { ask, commit, isCommitted } = await siteWhose(true, 'keep')

    expect(await ask(path)).toMatchObject({ status: 200, body })
    expect(isCommitted).toHaveBeenCalledWith(expect.anything(), { saveUninitialized: false })
    expect(commit).not.toHaveBeenCalled()
  })

  test('leaves after a commit if it is not', async () => {
    const { ask, commit } = await siteWhose(false, 'keep')

    expect(await ask('/read')).toMatchObject({ status: 200, body: '{}' })
    expect(commit).toHaveBeenCalledOnce()
  })

  test.each([
    ['has another session than the request', '/regenerate', 'keep'],
    ['has no session any more', '/unset', 'destroy'],
  ] as const)('leaves after a commit, whatever the store says, if it %s', async (_, path, unset) => {
    const { ask, commit } = await siteWhose(true, unset)

    expect(await ask(path)).toMatchObject({ status: 200 })
    expect(commit).toHaveBeenCalledOnce()
  })
})

describe('a guarded response whose session is stored as it is', () => {
  test.each(frameworks)('is sent by express-session in one piece: $framework', async ({ express }) => {
    const writes: unknown[] = []
    const { ask, cookie } = await signedIn(express, (app) => {
      app.use((_req, res, next) => {
        const { write } = res
        Object.assign(res, {
          write: (...args: Parameters<typeof write>) => {
            writes.push(args[0])
            return write.apply(res, args)
          },
        })
        next()
      })
    })

    expect(await ask('/read', { headers: { cookie } })).toMatchObject({ status: 200, body: '{"read":true}' })
    expect(writes).toEqual([])
  })

  test('stores the cookie that a middleware after session() changes at the end', async () => {
    const { store, ask, cookie } = await signedIn(frameworks[0].express, undefined, (app) => {
      app.use((req, res, next) => {
        const { end } = res
        const ending = (...args: unknown[]) => {
          req.session.cookie.maxAge = 7_000_000
          return Reflect.apply(end, res, args)
        }
        Object.assign(res, { end: ending })
        next()
      })
    })
    const stored = async () => (await store.all()).map((found) => found.cookie.originalMaxAge)
    // At the sign-in the guard had stored the session before the age was changed.
    expect(await stored()).toEqual([null])

    expect(await ask('/read', { headers: { cookie } })).toMatchObject({ status: 200 })
    await vi.waitFor(async () => expect(await stored()).toEqual([7_000_000]))
  })
})

/** A guarded site, and the cookie of a session that is stored. */
async function signedIn(
  express: (typeof frameworks)[number]['express'],
  before?: (app: ReturnType<typeof express>) => void,
  between?: (app: ReturnType<typeof express>) => void,
) {
  const store = new InProcessStore()
  const app = express()
  before?.(app)
  app.use(session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))
  between?.(app)
  app.use(sessionGuard({ store }))
  app.get('/in', (req, res) => {
    contentOf(req)['user'] = 'alice'
    res.send('in')
  })
  app.get('/read', (_req, res) => void res.json({ read: true }))
  const site = await http1.serve(app as unknown as Listener)
  sites.push(site)
  const { headers } = await site.ask('/in')
  const [cookie = ''] = String(headers['set-cookie']).split(';', 1)
  return { store, ask: site.ask, cookie }
}
