import { once } from 'node:events'
import { expect, test } from 'vitest'
import type { Authenticate } from '../../lib/auth/index.ts'
import { StoreUnavailableError } from '../../lib/errors.ts'
import { InProcessStore } from '../../lib/index.ts'
import { handleOf } from '../../lib/session/names.ts'
import { createGate } from '../store/gate.ts'
import { InProcessKind } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { TestClock } from '../support/clock.ts'
import { authenticate, statefulSite } from './auth-site.ts'

const ISSUER = 'https://app.example/auth'
const sidOf = (token: string): string => handleOf(token.split('.')[1]) ?? ''

function upstream(refresh: NonNullable<Authenticate['refresh']>): Authenticate {
  const signIn: Authenticate = async (credentials) => {
    const found = await authenticate(credentials)
    return found && 'user' in found ? { ...found, upstream: 'u0' } : found
  }
  return Object.assign(signIn, { refresh })
}

/** An upstream that renews `u0` once, and refuses it from then on. */
function strictUpstream() {
  let isSpent = false
  const refused = createGate()
  const server = upstream(async () => {
    if (isSpent) {
      refused.open()
      return undefined
    }
    isSpent = true
    return { user: { id: 'alice' }, upstream: 'u1' }
  })
  return { server, refused }
}

test('two refreshes at once sign nobody out where the upstream renews only once', async () => {
  const both = createGate()
  const first = createGate()
  let calls = 0
  const server = upstream(async () => {
    calls += 1
    if (calls === 1) {
      await both.opened
      return { user: { id: 'alice' }, upstream: 'u1' }
    }
    both.open()
    await first.opened
    return undefined
  })
  const site = await statefulSite({ store: new InProcessStore(), authenticate: server })
  const { refresh_token: token } = await site.signIn('alice')
  const one = site.refresh(token)
  const other = site.refresh(token)
  const quicker = await Promise.race([one, other])
  first.open()
  const replies = await Promise.all([one, other])
  expect(quicker.status).toBe(200)
  expect(replies.map(({ status }) => status)).toEqual([200, 200])
  expect(calls).toBe(2)
  expect(replies[0].body.refresh_token).toBe(replies[1].body.refresh_token)
  // Refused alone, it is the end.
  expect(await site.refresh(replies[0].body.refresh_token)).toMatchObject({ status: 400 })
  expect(await site.auth.registry.count('alice')).toBe(0)
})

test('nor where the one that was renewed has not stored that yet', async () => {
  const place = new InProcessKind().place({ clock: new TestClock() })
  const { server, refused } = strictUpstream()
  const renewed = createGate()
  const backend = place.backend()
  // A fake that stores no sooner than the upstream has refused somebody.
  const slow = wrapBackend(backend, {
    put: async (handle, write) => {
      renewed.open()
      await refused.opened
      return backend.put(handle, write)
    },
  })
  const options = { issuer: ISSUER, authenticate: server }
  const site = await statefulSite({ ...options, store: place.share() })
  const slower = await statefulSite({ ...options, store: place.over(slow) })
  const { refresh_token: token } = await site.signIn('alice')
  const winner = slower.refresh(token)
  await renewed.opened
  const loser = await site.refresh(token)

  expect([(await winner).status, loser.status]).toEqual([200, 200])
  expect(loser.body.refresh_token).toBe((await winner).body.refresh_token)
})

test('nor where it is stored just before the session would be ended', async () => {
  const place = new InProcessKind().place({ clock: new TestClock() })
  const { server } = strictUpstream()
  const [renewed, ending, stored] = [createGate(), createGate(), createGate()]
  const backend = place.backend()
  // Fakes that bring two writes into an order: the one that was renewed first, at the last moment.
  const slow = wrapBackend(backend, {
    put: async (handle, write) => {
      renewed.open()
      await ending.opened
      const reply = await backend.put(handle, write)
      stored.open()
      return reply
    },
  })
  const late = wrapBackend(backend, {
    put: async (handle, write) => {
      ending.open()
      await stored.opened
      return backend.put(handle, write)
    },
  })
  const options = { issuer: ISSUER, authenticate: server }
  const real = await statefulSite({ ...options, store: place.share() })
  const { refresh_token: token } = await real.signIn('alice')
  const winner = (await statefulSite({ ...options, store: place.over(slow) })).refresh(token)
  await renewed.opened
  const loser = await (await statefulSite({ ...options, store: place.over(late) })).refresh(token)

  expect([(await winner).status, loser.status]).toEqual([200, 200])
  expect(await real.auth.registry.count('alice')).toBe(1)
})

test('a session whose end was interrupted is ended by whoever looks at it next', async () => {
  const place = new InProcessKind().place({ clock: new TestClock() })
  const store = place.share()
  const server = upstream(async () => undefined)
  const site = await statefulSite({ issuer: ISSUER, store, authenticate: server })
  // A fake that fails between the two steps.
  const failing = wrapBackend(place.backend(), {
    end: async () => Promise.reject(new StoreUnavailableError('connection')),
  })
  const { refresh } = await statefulSite({
    issuer: ISSUER,
    store: place.over(failing),
    authenticate: server,
  })
  const { refresh_token: token } = await site.signIn('alice')

  expect((await refresh(token)).status).toBe(503)
  expect((await site.refresh(token)).status).toBe(400)
  expect(await store.registry.list('alice')).toEqual([])
  expect((await store.registry.ending({ handle: sidOf(token) }))?.reason).toBe('sign-in-revoked')
})

test('a refresh that began while its token was current is no reuse, even without a grace', async () => {
  const place = new InProcessKind().place({ clock: new TestClock() })
  const store = place.share()
  const reused: unknown[] = []
  store.on('refresh-reused', (event) => reused.push(event))
  const [writing, held] = [createGate(), createGate()]
  const backend = place.backend()
  // A fake that holds a write up until another request has stored its own.
  const slow = wrapBackend(backend, {
    put: async (handle, write) => {
      writing.open()
      await held.opened
      return backend.put(handle, write)
    },
  })
  const options = { issuer: ISSUER, refreshGrace: 0 }
  const real = await statefulSite({ ...options, store })
  const slower = await statefulSite({ ...options, store: place.over(slow) })
  const { refresh_token: token } = await real.signIn('alice')
  const late = slower.refresh(token)
  await writing.opened
  const { refresh_token: successor } = (await real.refresh(token)).body
  held.open()

  expect((await late).body.refresh_token).toBe(successor)
  expect(reused).toEqual([])
  // One that begins later is.
  expect((await real.refresh(token)).status).toBe(400)
  expect(reused).toHaveLength(1)
})

test('a client may refresh often within one grace, and go on with the first of its tokens', async () => {
  const site = await statefulSite({ store: new InProcessStore() })
  const { refresh_token: first } = await site.signIn('alice')
  let token = first
  for (let turn = 0; turn < 64; turn += 1) token = (await site.refresh(token)).body.refresh_token

  expect((await site.refresh(first)).body.refresh_token).toBe(token)
})

test.each([
  [
    'throws',
    () => {
      throw new Error('the log is full')
    },
  ],
  ['rejects', () => Promise.reject(new Error('the log is full'))],
])('an observer of errors that %s costs neither the reply nor the process', async (_, onError) => {
  const warned = once(process, 'warning')
  const site = await statefulSite({
    store: new InProcessStore(),
    authenticate: () => Promise.reject(new Error('away')),
    onError,
  })

  const { status } = await site.post('/auth/token', { grant_type: 'password', username: 'a', password: 'b' })
  expect(status).toBe(503)
  expect(await warned).toMatchObject([{ name: 'AuthObserverWarning' }])
})
