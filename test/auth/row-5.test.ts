import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { accessTo, type RegistryAccess } from '../../lib/registry/access.ts'
import { handleOf, ownerName } from '../../lib/session/names.ts'
import type { SessionRecord } from '../../lib/session/records.ts'
import { generateSession } from '../store/live-session.ts'
import { storeKinds } from '../store/stores.ts'
import { TestClock } from '../support/clock.ts'
import { until } from '../support/until.ts'
import { statefulSite } from './auth-site.ts'

const TTL_MS = 60_000
const handleOfToken = (token: string): string => handleOf(token.split('.')[1]) ?? ''

/** What a token library's session store on Redis does, line by line, and where this one is stronger. */
describe.each(storeKinds())('A store of token sessions $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  async function scene(options: { readonly absoluteTtl?: false; readonly refreshTtl?: number } = {}) {
    const clock = new TestClock()
    const place = kind.place({ clock })
    const store = place.share()
    const access = accessTo(store)
    if (access === undefined) throw new Error('The store gives no access')
    const invalid: string[] = []
    store.on('session-invalid', ({ handle }) => invalid.push(handle))
    const site = await statefulSite({
      store,
      clock: { now: () => Math.max(clock.now(), Date.now()) },
      ...options,
    })
    return { ...site, clock, place, store, access, invalid }
  }

  async function read({ tokenRecords }: RegistryAccess, handle: string): Promise<SessionRecord> {
    const record = await tokenRecords.read(handle)
    if (record === undefined) throw new Error('There is no record')
    return record
  }

  /** Stores what was read, under a lock: the version that it was read in. */
  async function update({ tokenRecords }: RegistryAccess, { handle, meta, body, etag }: SessionRecord) {
    const sealed = await tokenRecords.seal('token', handle, { meta, body })
    return (await tokenRecords.put(sealed, { expect: { kind: 'version', etag }, ttlMs: TTL_MS })).outcome
  }

  test('passes a get and then an update, conflicts on a stale lock, and revives nothing that was deleted', async () => {
    const { access, signIn, store } = await scene()
    const handle = handleOfToken((await signIn('alice')).refresh_token)
    const first = await read(access, handle)

    expect(await update(access, first)).toBe('stored')
    expect(await update(access, first)).toBe('conflict')
    const second = await read(access, handle)
    await store.registry.end({ handle })
    expect(await update(access, second)).toBe('ended')
    expect((await store.registry.end({ handle })).outcome).toBe('already-ended')
    expect((await store.registry.end({ handle: 'A'.repeat(43) })).outcome).toBe('not-found')
  })

  test('does not write a session that has expired already', async () => {
    const { access, signIn } = await scene()
    const { handle, body } = await read(access, handleOfToken((await signIn('alice')).refresh_token))
    const endsAtMs = Math.floor(await access.backend.now()) - 1
    const other = handleOf('another') ?? ''
    const sealed = await access.tokenRecords.seal('token', other, {
      meta: { createdAtMs: 0, endsAtMs },
      body,
    })

    expect(
      (await access.tokenRecords.put(sealed, { expect: { kind: 'absent' }, ttlMs: TTL_MS })).outcome,
    ).toBe('gone')
    expect(await access.tokenRecords.read(other)).toBeUndefined()
    expect(await access.tokenRecords.read(handle)).toBeDefined()
  })

  test('refuses what is unsigned, of another session, another user, or another kind, each with an event', async () => {
    const { access, place, store, signIn, refresh, invalid } = await scene()
    const tokens: string[] = []
    for (let at = 0; at < 4; at += 1) tokens.push((await signIn('alice')).refresh_token)
    const [unsigned = '', moved = '', foreign = '', otherKind = ''] = tokens.map(handleOfToken)
    const record = await read(access, foreign)
    const meta = { ...record.meta, owner: ownerName('mallory') }
    const stolen = await access.tokenRecords.seal('token', foreign, { meta, body: record.body })
    const cookie = generateSession(store, 'cookie', { content: { userId: 'alice' } })
    await store.set('cookie', cookie)
    const other = await access.backend.get(foreign, 65_536)
    const ofCookies = await access.backend.get(store.handle('cookie'), 65_536)
    if (typeof other !== 'object' || typeof ofCookies !== 'object') throw new Error('There is no record')

    await place.plant(unsigned, Buffer.from('{"user":{"id":"alice"},"gen":0}'))
    await place.plant(moved, other.blob)
    await place.plant(foreign, stolen.blob)
    await place.plant(otherKind, ofCookies.blob)
    for (const token of tokens) expect((await refresh(token)).status).toBe(400)
    await until(() => invalid.length >= 4)
    expect(new Set(invalid)).toEqual(new Set([unsigned, moved, foreign, otherKind]))
  })

  test('gets all and deletes all of one user and kind, and leaves other users and kinds alone', async () => {
    const { store, signIn, refresh } = await scene()
    const cookie = generateSession(store, 'cookie', { content: { userId: 'alice' } })
    await store.set('cookie', cookie)
    const tokens = [await signIn('alice'), await signIn('alice')].map(({ refresh_token: token }) => token)
    const { refresh_token: bobs } = await signIn('bob')
    const { registry } = store
    const handles = tokens.map(handleOfToken)

    const listed = await registry.list('alice', { kind: 'token' })
    expect(new Set(listed.map(({ handle }) => handle))).toEqual(new Set(handles))
    const { ended } = await registry.endAll('alice', { kind: 'token' })
    expect(new Set(ended)).toEqual(new Set(handles))
    for (const token of tokens) expect((await refresh(token)).status).toBe(400)
    expect((await registry.list('alice')).map(({ kind: one }) => one)).toEqual(['session'])
    expect((await refresh(bobs)).status).toBe(200)
  })

  test('keeps a session without a hard end for as long as it is refreshed, and loses one that is not', async () => {
    const { signIn, refresh, clock, store } = await scene({ absoluteTtl: false, refreshTtl: 4 })
    let { refresh_token: token } = await signIn('alice')
    const { refresh_token: idle } = await signIn('alice')
    for (let turn = 0; turn < 3; turn += 1) {
      await kind.pass(2000, clock)
      token = (await refresh(token)).body.refresh_token
    }

    expect((await refresh(idle)).status).toBe(400)
    expect((await refresh(token)).status).toBe(200)
    expect((await store.registry.list('alice')).map(({ handle }) => handle)).toEqual([handleOfToken(token)])
  })
})
