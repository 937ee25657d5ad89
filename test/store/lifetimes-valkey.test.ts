import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { type ForkedApp, forkApp } from './forked-app.ts'
import { generateSession, loadedSession, storedContent } from './live-session.ts'
import { freshPrefix, ValkeyKind } from './stores.ts'

const MAX_BYTES = 100_000

describe('lifetimes on Valkey', () => {
  const kind = new ValkeyKind()
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  test.each([
    ['was persisted by an administrator', (admin: Redis, key: string) => admin.persist(key)],
    [
      'was given a year by an administrator',
      (admin: Redis, key: string) => admin.pexpire(key, 365 * 86_400_000),
    ],
  ])('a session whose record %s ends at its hard end all the same', async (_, meddle) => {
    const admin = kind.server.client()
    const place = kind.place()
    const store = place.open({ ttl: 60, absoluteTtl: 1, touchAfter: 0 })
    await store.set('sid', generateSession(store, 'sid', { content: { user: 'alice' } }))
    const key = createKeys(place.prefix).record(store.handle('sid'))
    await meddle(admin, key)
    const live = await loadedSession(store, 'sid')

    await kind.pass(1050)

    expect(await admin.exists(key)).toBe(1)
    expect(await store.get('sid')).toBeNull()
    await store.touch('sid', live)
    expect(await failureOf(store.set('sid', Object.assign(live, { late: true })))).toMatchObject({
      code: 'ERR_SESSION_ENDED',
    })
    expect(await place.open({ ttl: 60 }).get('sid')).toBeNull()
    expect(await store.all()).toEqual([])
    admin.disconnect()
  })

  test('the expiry in the record is the one of its key', async () => {
    const admin = kind.server.client()
    const place = kind.place()
    const store = place.open({ ttl: 60, touchAfter: 0 })
    await store.set('sid', generateSession(store, 'sid'))
    const key = createKeys(place.prefix).record(store.handle('sid'))
    const expiries = async () => {
      const record = await place.backend().get(store.handle('sid'), MAX_BYTES)
      return [await admin.call('pexpiretime', key), typeof record === 'object' && record.expiresAtMs]
    }

    const [ofKey, ofRecord] = await expiries()
    await store.touch('sid', await loadedSession(store, 'sid'))
    const [ofKeyTouched, ofRecordTouched] = await expiries()

    expect(ofRecord).toBe(ofKey)
    expect(ofRecordTouched).toBe(ofKeyTouched)
    admin.disconnect()
  })

  describe.each([
    ['a day behind', -86_400_000],
    ['five minutes behind', -300_000],
    ['five minutes ahead', 300_000],
    ['a day ahead', 86_400_000],
  ])('a process whose wall clock is %s', (_, clockOffsetMs) => {
    const prefix = freshPrefix()
    let app: ForkedApp
    let right: SessionStore

    beforeAll(async () => {
      const store = {
        connection: { url: kind.server.url },
        prefix,
        ttl: 600,
        absoluteTtl: 3600,
        touchAfter: 0,
      }
      app = await forkApp({ store, clockOffsetMs, sessions: [{}, { cookie: { maxAge: 600_000 } }] })
      right = kind.open({ prefix, ttl: 600, absoluteTtl: 3600 })
    })
    afterAll(() => app.close())

    test.each([
      ['browser-session cookies', 0],
      ['cookies with an age', 1],
    ])('neither shortens nor extends sessions with %s, its own or those of others', async (_, at) => {
      const admin = kind.server.client()
      const browser = new Browser(app.origins[at] ?? '')
      const { body } = await browser.post('/sign-in/alice')
      const { id } = body as { id: string }
      const lasts = async () => Number(await admin.pttl(createKeys(prefix).record(right.handle(id))))

      const created = await lasts()
      const content = await storedContent(right, id)
      await right.set(id, Object.assign(await loadedSession(right, id), { right: true }))
      const seen = await browser.get('/content')
      const touched = await lasts()

      for (const lastsMs of [created, touched]) {
        expect(lastsMs).toBeGreaterThan(590_000)
        expect(lastsMs).toBeLessThanOrEqual(600_000)
      }
      expect(content).toEqual({ user: 'alice' })
      expect(seen.body).toEqual({ user: 'alice', right: true })
      admin.disconnect()
    })
  })
})
