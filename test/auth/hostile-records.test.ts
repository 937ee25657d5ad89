import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import { handleOf } from '../../lib/session/names.ts'
import { generateSession } from '../store/live-session.ts'
import { ValkeyKind } from '../store/stores.ts'
import { bearer, statefulSite } from './auth-site.ts'

const kind = new ValkeyKind()
const sidOf = (token: string): string => handleOf(token.split('.')[1]) ?? ''
let admin: Redis

beforeAll(async () => {
  await kind.start()
  admin = kind.server.client()
})
afterAll(() => kind.stop())

/** Whoever can write to Valkey moves records about, byte for byte. */
describe('A record of a token session that was moved on the server', () => {
  async function scene(options = {}) {
    const { prefix, share } = kind.place()
    const store = share({ ...options })
    const site = await statefulSite({ store })
    const keys = createKeys(prefix)
    const copy = (from: string, to: string) => admin.copy(keys.record(from), keys.record(to), 'REPLACE')
    return { ...site, store, keys, copy }
  }

  test('over that of another user opens for neither', async () => {
    const { signIn, refresh, copy, send } = await scene()
    const [ann, bob] = [await signIn('ann'), await signIn('bob')]
    await copy(sidOf(ann.refresh_token), sidOf(bob.refresh_token))

    expect((await refresh(bob.refresh_token)).status).toBe(400)
    expect((await send('/live', bearer(bob.access_token))).status).toBe(401)
    expect((await refresh(ann.refresh_token)).body.user.id).toBe('ann')
  })

  test('over a cookie session, or from one, opens as neither', async () => {
    const { signIn, refresh, copy, store } = await scene()
    const { refresh_token: token } = await signIn('ann')
    for (const sid of ['one', 'two'])
      await store.set(sid, generateSession(store, sid, { content: { userId: 'ann' } }))
    await copy(sidOf(token), store.handle('one'))
    expect(await store.get('one')).toBeNull()
    await copy(store.handle('two'), sidOf(token))
    expect((await refresh(token)).status).toBe(400)
    expect(await store.get('two')).not.toBeNull()
  })

  test('back in the place of a newer version of itself lets its next old token end it', async () => {
    const { signIn, refresh, keys, store } = await scene()
    const { refresh_token: first } = await signIn('ann')
    const key = keys.record(sidOf(first))
    const old = await admin.dumpBuffer(key)
    const { refresh_token: second } = (await refresh(first)).body
    const { refresh_token: third } = (await refresh(second)).body
    await admin.restore(key, 60_000, old, 'REPLACE')

    expect((await refresh(third)).body.refresh_token.split('.')[2]).toBe('3')
    // The record of before knows of no grace for it.
    expect((await refresh(second)).status).toBe(400)
    expect(await store.registry.count('ann')).toBe(0)
  })

  test('back after a sign-out is refused at its refresh, and where every read asks the registry', async () => {
    const { signIn, refresh, keys, store, send } = await scene({ verifyOwner: 'always' })
    const { refresh_token: token, access_token: access } = await signIn('ann')
    const key = keys.record(sidOf(token))
    const old = await admin.dumpBuffer(key)
    await store.registry.endAll('ann')
    await admin.restore(key, 60_000, old, 'REPLACE')

    expect((await send('/live', bearer(access))).status).toBe(401)
    await admin.restore(key, 60_000, old, 'REPLACE')
    expect((await refresh(token)).status).toBe(400)
    expect(await store.registry.list('ann')).toEqual([])
  })

  test('with a bit changed anywhere is refused, and is no failure of the server', async () => {
    const { signIn, refresh, keys, store } = await scene()
    const invalid: unknown[] = []
    store.on('session-invalid', (event) => invalid.push(event))
    const { refresh_token: token } = await signIn('ann')
    const key = keys.record(sidOf(token))
    const whole = (await admin.getBuffer(key)) ?? Buffer.alloc(0)
    const places = [70, 74, 90, Math.floor(whole.length / 2), whole.length - 17, whole.length - 1]
    for (const at of places) {
      const changed = Buffer.from(whole)
      changed[at] = (changed[at] ?? 0) ^ 1
      await admin.set(key, changed, 'KEEPTTL')
      expect([at, (await refresh(token)).status]).toEqual([at, 400])
    }
    await admin.set(key, whole, 'KEEPTTL')
    expect((await refresh(token)).status).toBe(200)
    expect(invalid.length + 1).toBeGreaterThanOrEqual(places.length)
  })
})
