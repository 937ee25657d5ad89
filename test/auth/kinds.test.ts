import { EventEmitter, once } from 'node:events'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { closeOnEnd } from '../../lib/index.ts'
import { accessTo } from '../../lib/registry/access.ts'
import { handleOf, ownerName } from '../../lib/session/names.ts'
import { generateSession } from '../store/live-session.ts'
import { storeKinds } from '../store/stores.ts'
import { TestClock } from '../support/clock.ts'
import { bearer, statefulSite } from './auth-site.ts'

const sidOf = (token: string): string => handleOf(token.split('.')[1]) ?? ''

describe.each(storeKinds())('Cookie sessions and token sessions $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  async function scene(options = {}) {
    const place = kind.place({ clock: new TestClock() })
    const store = place.open(options)
    const site = await statefulSite({ store, device: () => ({ app: 'phone' }) })
    const browse = (sid: string, userId: string) =>
      store.set(sid, generateSession(store, sid, { content: { userId } }))
    return { ...site, store, browse }
  }

  test('are in one list, each with its kind, and in the history', async () => {
    const { store, signIn, browse, auth } = await scene()
    await browse('cookie', 'alice')
    const { refresh_token: token } = await signIn('alice')

    const sessions = await store.registry.list('alice', { current: { handle: sidOf(token) } })
    expect(sessions).toEqual([
      expect.objectContaining({
        kind: 'token',
        handle: sidOf(token),
        device: { app: 'phone' },
        isCurrent: true,
      }),
      expect.objectContaining({ kind: 'session', handle: store.handle('cookie'), isCurrent: false }),
    ])
    expect(auth.registry).toBe(store.registry)

    await store.registry.endAll('alice', { reason: 'password-changed' })
    const history = await store.registry.list('alice', { includeEnded: true })
    const endings = history.map((one) => [one.kind, one.status, 'ending' in one && one.ending.reason])
    expect(endings).toEqual(
      expect.arrayContaining([
        ['token', 'ended', 'password-changed'],
        ['session', 'ended', 'password-changed'],
      ]),
    )
  })

  test('are listed, counted and ended by kind, the others untouched', async () => {
    const { store, signIn, refresh, browse } = await scene()
    await browse('cookie', 'alice')
    const tokens = [await signIn('alice'), await signIn('alice')].map(({ refresh_token: token }) => token)
    const { registry } = store
    const kinds = async (terms: object) => (await registry.list('alice', terms)).map(({ kind: one }) => one)

    expect(await kinds({})).toEqual(['token', 'token', 'session'])
    expect(await kinds({ kind: 'session', limit: 1 })).toEqual(['session'])
    expect(await kinds({ kind: 'token', limit: 1 })).toEqual(['token'])
    expect([
      await registry.count('alice'),
      await registry.count('alice', { kind: 'token' }),
      await registry.count('alice', { kind: 'session' }),
    ]).toEqual([3, 2, 1])

    const { ended } = await registry.endAll('alice', {
      kind: 'token',
      except: { handle: sidOf(tokens[1] ?? '') },
    })
    expect(ended).toEqual([sidOf(tokens[0] ?? '')])
    const statuses = [(await refresh(tokens[0] ?? '')).status, (await refresh(tokens[1] ?? '')).status]
    expect(statuses).toEqual([400, 200])
    expect(await store.get('cookie')).not.toBeNull()
    expect((await registry.endAll('alice', { kind: 'session' })).ended).toEqual([store.handle('cookie')])
    expect(await kinds({})).toEqual(['token'])
    expect(await kinds({ kind: 'session', includeEnded: true })).toEqual(['session'])
    expect(() => registry.list('alice', { kind: 'cookie' as 'token' })).toThrow(/"kind" must be one of/)
  })

  test('share one cap: of two cookie sessions and five sign-ins at once three are active', async () => {
    const { store, signIn, refresh, browse } = await scene({ maxSessionsPerUser: 3 })
    await browse('one', 'alice')
    await browse('two', 'alice')
    const replies = await Promise.allSettled(Array.from({ length: 5 }, () => signIn('alice')))
    const tokens = replies.flatMap((reply) =>
      reply.status === 'fulfilled' ? [reply.value.refresh_token] : [],
    )

    const active = await store.registry.list('alice')
    expect(active).toHaveLength(3)
    expect(active.map(({ kind: one }) => one)).toEqual(['token', 'token', 'token'])
    const alive = await Promise.all(tokens.map(async (token) => (await refresh(token)).status === 200))
    expect(alive.filter(Boolean)).toHaveLength(3)
    expect([await store.get('one'), await store.get('two')]).toEqual([null, null])
  })

  test('refuse a sign-in beyond a cap that evicts nobody, with 400', async () => {
    const { signIn, post } = await scene({ maxSessionsPerUser: 1, onMaxSessions: 'reject' })
    await signIn('alice')
    const form = { grant_type: 'password', username: 'alice', password: 'correct horse' }

    const { status, body } = await post('/auth/token', form)
    expect([status, body]).toEqual([400, expect.objectContaining({ error_code: 'session_limit_reached' })])
  })

  test('do not open as each other, and say so', async () => {
    const { store, signIn, refresh, browse } = await scene()
    const events: unknown[] = []
    store.on('session-invalid', (event) => events.push(event))
    await browse('cookie', 'alice')
    const { refresh_token: token } = await signIn('alice')
    const [, id = ''] = token.split('.')

    // The id of a token session, as a cookie.
    expect(await store.get(id)).toBeNull()
    await nextTurn()
    expect(events).toEqual([{ handle: sidOf(token) }])
    expect(await accessTo(store)?.tokenRecords.read(store.handle('cookie'))).toBeUndefined()
    await nextTurn()
    expect(events).toEqual([{ handle: sidOf(token) }, { handle: store.handle('cookie') }])
    expect((await store.all()).map(({ id: handle }) => handle)).toEqual([store.handle('cookie')])
    await nextTurn()
    expect(events).toHaveLength(2)
    expect((await refresh(token)).status).toBe(200)
    await store.clear()
    expect(await store.registry.list('alice')).toEqual([])
  })

  test('are watched alike: a connection closes with its token session', async () => {
    const { store, signIn, post } = await scene()
    const { access_token: access, refresh_token: token } = await signIn('alice')
    const connection = Object.assign(new EventEmitter(), {
      close: (code: number, reason: string) => void connection.emit('closed', [code, reason]),
    })
    closeOnEnd({ store, target: { handle: sidOf(token) }, connection })
    const closed = once(connection, 'closed')
    await post('/auth/logout', {}, access)

    expect(await closed).toEqual([[4401, 'logout']])
  })

  test('are watched by kind, whichever ends first', async () => {
    const { store, signIn, post, browse } = await scene()
    const stop = new AbortController()
    const { signal } = stop
    const { registry } = store
    const firstOf = async (one: 'session' | 'token') =>
      (await registry.watch({ userId: 'alice' }, { signal, kind: one }).ended).handle
    const watched = { session: firstOf('session'), token: firstOf('token') }
    await browse('cookie', 'alice')
    const tokens = [await signIn('alice'), await signIn('alice')]
    await registry.end({ handle: sidOf(tokens[0]?.refresh_token ?? '') })
    await post('/auth/logout', {}, tokens[1]?.access_token ?? '')
    await store.destroy('cookie')

    expect(await watched.session).toBe(store.handle('cookie'))
    expect(tokens.map(({ refresh_token: token }) => sidOf(token))).toContain(await watched.token)
    await browse('another', 'alice')
    const later = firstOf('token')
    await store.destroy('another')
    const { refresh_token: last } = await signIn('alice')
    await registry.endAll('alice', { kind: 'token' })
    expect([sidOf(last), ...tokens.map(({ refresh_token: token }) => sidOf(token))]).toContain(await later)
    stop.abort()
    expect(() => registry.watch({ handle: sidOf(last) }, { kind: 'token' })).toThrow(
      /"kind" must be left out/,
    )
    expect(() => registry.watch({ userId: 'alice' }, { kind: 'cookie' as 'token' })).toThrow(
      /"kind" must be one of/,
    )
  })

  test('are both checked against the registry on each read, where the store does so', async () => {
    const place = kind.place({ clock: new TestClock() })
    const { signIn, send } = await statefulSite({ store: place.share({ verifyOwner: 'always' }) })
    const { access_token: access, refresh_token: token } = await signIn('alice')
    await place.backend().registry.withdraw(ownerName('alice'), { handles: [sidOf(token)], departedTtlMs: 1 })

    expect((await send('/live', bearer(access))).status).toBe(401)
  })

  test('keep an upstream secret that nobody can read who reads the store', async () => {
    const place = kind.place({ clock: new TestClock() })
    const store = place.share()
    const upstream: (string | undefined)[] = []
    const authenticate = Object.assign(
      async () => ({ user: { id: 'alice' }, upstream: 'secret-of-theirs' }),
      {
        refresh: async (session: { upstream: string | undefined }) => {
          upstream.push(session.upstream)
          return { user: { id: 'alice', turn: upstream.length }, upstream: `secret-${upstream.length}` }
        },
      },
    )
    const { signIn, refresh } = await statefulSite({ store, authenticate })
    let { refresh_token: token } = await signIn('alice')
    for (let turn = 1; turn <= 3; turn += 1) {
      const { body } = await refresh(token)
      expect(body.user).toEqual({ id: 'alice', turn })
      token = body.refresh_token
    }

    expect(upstream).toEqual(['secret-of-theirs', 'secret-1', 'secret-2'])
    const stored = await place.backend().get(sidOf(token), 65_536)
    const bytes = typeof stored === 'object' ? stored.blob.toString('latin1') : ''
    expect(bytes).toContain('alice')
    expect(bytes).not.toContain('secret-')
  })

  test('end when an upstream no longer knows the user, and not when it is away', async () => {
    const store = kind.place({ clock: new TestClock() }).share()
    let reply: () => Promise<{ user: { id: string } } | undefined> = async () => ({ user: { id: 'alice' } })
    const authenticate = Object.assign(async () => ({ user: { id: 'alice' } }), { refresh: () => reply() })
    const { signIn, refresh } = await statefulSite({ store, authenticate })
    const { refresh_token: token } = await signIn('alice')

    reply = async () => Promise.reject(new Error('away'))
    expect((await refresh(token)).status).toBe(503)
    reply = async () => ({ user: { id: 'alice' } })
    const { refresh_token: next } = (await refresh(token)).body
    reply = async () => ({ user: { id: 'mallory' } })
    expect((await refresh(next)).status).toBe(400)
    expect((await store.registry.ending({ handle: sidOf(next) }))?.reason).toBe('sign-in-revoked')
  })
})
