import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { writeFileSync } from 'node:fs'
import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import express from 'express'
import session, { type Store } from 'express-session'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import * as present from '../../lib/index.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { hasPrevious, keysOn, type Library, loadPrevious, PREVIOUS } from './previous-version.ts'

const YEARS_S = 90 * 365 * 86_400
const PATIENT = { connectTimeoutMs: 5000, commandTimeoutMs: 5000, onUnsafeServer: 'ignore' } as const

let valkey: ValkeyServer
let previous: Library
const secret = randomBytes(32).toString('hex')

beforeAll(async () => {
  if (hasPrevious) previous = await loadPrevious()
  valkey = await startValkey()
}, 240_000)
afterAll(() => valkey?.stop())

/** A process of an app: signs in, counts, and says whose session it is. */
async function startNode(library: Library, prefix: string) {
  const store = new library.ValkeyStore({
    connection: { url: valkey.url },
    secrets: [secret],
    encrypt: true,
    prefix,
    maxSessionsPerUser: 3,
    ...PATIENT,
  })
  const app = express()
  app.use(session({ store: store as Store, secret: 'keyboard cat', resave: false, saveUninitialized: false }))
  app.post('/sign-in', (req, res, next) => {
    req.session.regenerate((error) => {
      Object.assign(req.session, { userId: String(req.query['user']), count: 0 })
      error ? next(error) : req.session.save((failure) => (failure ? next(failure) : res.json({})))
    })
  })
  app.get('/', (req, res) => {
    const content = req.session as { userId?: string; count?: number }
    if (content.userId !== undefined) content.count = (content.count ?? 0) + 1
    res.json({ userId: content.userId, count: content.count })
  })
  const server: Server = app.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  onTestFinished(async () => {
    server.close()
    server.closeAllConnections()
    await store.close()
  })
  return { store, origin: `http://127.0.0.1:${port}` }
}

async function signIn(origin: string, user = 'ann'): Promise<string> {
  const response = await fetch(`${origin}/sign-in?user=${user}`, { method: 'POST' })
  return response.headers.getSetCookie()[0]?.split(';')[0] ?? ''
}

const visit = async (origin: string, cookie: string): Promise<object> =>
  (await (await fetch(origin, { headers: { cookie } })).json()) as object

const title = hasPrevious
  ? `This version beside the packed one of ${PREVIOUS}`
  : `This version beside itself, as this clone has no ${PREVIOUS}: stored-by-previous.test.ts reads what that one wrote`

describe(title, () => {
  const other = () => (hasPrevious ? previous : present)

  it('serves one session on nodes of both, to and fro', async () => {
    const [old, now] = [await startNode(other(), 'both'), await startNode(present, 'both')]
    for (const [begins, goesOn] of [
      [old, now],
      [now, old],
    ] as const) {
      const cookie = await signIn(begins.origin)

      expect(await visit(goesOn.origin, cookie)).toEqual({ userId: 'ann', count: 1 })
      expect(await visit(begins.origin, cookie)).toEqual({ userId: 'ann', count: 2 })
      expect(await visit(goesOn.origin, cookie)).toEqual({ userId: 'ann', count: 3 })
    }
  })

  it('counts the sessions of both for the cap, and lists them', async () => {
    const [old, now] = [await startNode(other(), 'cap'), await startNode(present, 'cap')]
    const cookies: string[] = []
    for (const node of [old, now, old, now]) cookies.push(await signIn(node.origin))

    expect(await visit(old.origin, cookies[0] ?? '')).toEqual({})
    expect(await old.store.registry.list('ann')).toHaveLength(3)
    expect(await now.store.registry.list('ann')).toHaveLength(3)
  })

  it('ends for good, and hears at once, what the other has signed in', async () => {
    const [old, now] = [await startNode(other(), 'end'), await startNode(present, 'end')]
    for (const [signs, ends, user] of [
      [old, now, 'ann'],
      [now, old, 'ben'],
    ] as const) {
      const cookies = [await signIn(signs.origin, user), await signIn(ends.origin, user)]
      const heard: string[] = []
      const watching = new AbortController()
      const watch = (async () => {
        for await (const ending of signs.store.registry.watch({ userId: user }, { signal: watching.signal }))
          if (heard.push(ending.reason) === 2) watching.abort()
      })()
      await ends.store.registry.endAll(user, { reason: 'new-password' })
      await watch

      expect(heard).toEqual(['new-password', 'new-password'])
      for (const cookie of cookies) {
        expect(await visit(old.origin, cookie)).toEqual({})
        expect(await visit(now.origin, cookie)).toEqual({})
      }
    }
  })

  it('keeps what both change at the same time', async () => {
    const [old, now] = [await startNode(other(), 'merge'), await startNode(present, 'merge')]
    const cookie = await signIn(old.origin)
    for (let round = 0; round < 20; round += 1)
      await Promise.all([visit(old.origin, cookie), visit(now.origin, cookie)])
    const { userId, count } = (await visit(now.origin, cookie)) as { userId: string; count: number }

    // Counting is a change of one key by both: the last one stands, but the session is whole.
    expect(userId).toBe('ann')
    expect(count).toBeGreaterThan(20)
  })

  // Writes the bytes that test/package/stored-by-previous.test.ts reads.
  it.runIf(process.env['WRITE_STORED'])('writes its bytes for a clone without it', async () => {
    const server = await startValkey()
    onTestFinished(() => server.stop())
    const options = { connection: { url: server.url }, secrets: [secret], prefix: 'sess', ...PATIENT }
    const store = new (other().ValkeyStore)({ ...options, ttl: YEARS_S, endedTtl: YEARS_S, encrypt: true })
    const content = (device: string) => ({
      cookie: { originalMaxAge: null, path: '/' },
      userId: 'ann',
      device,
    })
    const sids = Object.fromEntries(
      ['phone', 'laptop', 'ended'].map((name) => [name, randomBytes(24).toString('base64url')]),
    )
    for (const [name, sid] of Object.entries(sids)) await store.set(sid, content(name) as never)
    await store.registry.end({ sid: sids['ended'] ?? '' }, { reason: 'lost-phone' })
    await store.close()
    const stored = { commit: PREVIOUS, secret, sids, keys: await keysOn(server.client()) }
    writeFileSync(
      join(import.meta.dirname, 'stored-by-previous.json'),
      `${JSON.stringify(stored, null, 2)}\n`,
    )
  })
})
