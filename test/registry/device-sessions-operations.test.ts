import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStore } from '../../lib/store/store.ts'
import { ValkeyStore, type ValkeyStoreOptions } from '../../lib/store/valkey-store.ts'
import { documentedRights } from '../backend/valkey/subjects.ts'
import { failureOf } from '../store/failure-of.ts'
import { generateSession } from '../store/live-session.ts'
import { SECRET } from '../store/parts-store.ts'
import { ValkeyKind } from '../store/stores.ts'
import { newUser, registered, signIn, signInTimes } from './requests.ts'

const TERMS = { reason: 'stolen', actor: { type: 'admin', id: 'carol' } }

describe("how a service's source of truth for device sessions is run", () => {
  const kind = new ValkeyKind()
  let admin: Redis
  beforeAll(async () => {
    await kind.start()
    admin = kind.server.client()
  })
  afterAll(() => kind.stop())

  function open() {
    const place = kind.place()
    return { place, store: place.share(), user: newUser() }
  }

  function openOver(options: Partial<ValkeyStoreOptions>): SessionStore {
    return new ValkeyStore({ secrets: [SECRET], connectTimeoutMs: 5000, commandTimeoutMs: 5000, ...options })
  }

  test('an ACL user with the documented rights is enough, and one without them is told so', async () => {
    const { place } = open()
    const grant = (user: string, ...rights: string[]) =>
      admin.call(
        'acl',
        'setuser',
        user,
        'reset',
        'on',
        '>a-password',
        'resetchannels',
        `&${place.prefix}:n`,
        `~${place.prefix}:*`,
        '-@all',
        ...rights,
      )
    await grant('app', ...documentedRights().map((right) => `+${right}`))
    await grant('reader', '+getrange', '+time', '+ping', '+info', '+client|setinfo', '+evalsha', '+eval')
    const as = (username: string) =>
      openOver({
        prefix: place.prefix,
        connection: { url: kind.server.url, username, password: 'a-password' },
      })
    const [app, reader] = [as('app'), as('reader')]
    const user = newUser()

    const sids = await signInTimes(app, user, 2)
    const listed = await registered(app, user)
    const watch = app.registry.watch({ sid: sids[0] ?? '' })
    const { ended } = await app.registry.endAll(user, TERMS)
    const refused = await failureOf(reader.registry.endAll(user))
    const told = await watch.ended
    await Promise.all([app.close(), reader.close()])

    expect([listed.length, ended.length]).toEqual([2, 2])
    expect(told).toMatchObject(TERMS)
    expect(refused).toMatchObject({ status: 503, reason: 'no-permission' })
  })

  test('an operation timeout on every round trip: a server that stops answering is an error in time', async () => {
    const { place, user } = open()
    const timing = { connectTimeoutMs: 250, commandTimeoutMs: 500, retries: 1 }
    const store = openOver({ prefix: place.prefix, connection: { url: kind.server.url }, ...timing })
    const [sid = '', live] = [
      await signIn(store, user),
      generateSession(store, 'other', { content: { userId: user } }),
    ]
    const calls: (() => Promise<unknown>)[] = [
      () => store.get(sid),
      () => store.set('other', live),
      () => store.destroy(sid),
      () => store.registry.list(user),
      () => store.registry.count(user),
      () => store.registry.end({ sid }),
      () => store.registry.endAll(user),
      () => store.registry.endAll(user, { except: { sid } }),
      () => store.registry.ending({ sid }),
    ]

    await kind.server.freeze()
    const startMs = performance.now()
    const failures = await Promise.all(calls.map((one) => failureOf(one())))
    const tookMs = performance.now() - startMs
    await kind.server.thaw()
    await store.close()

    for (const failure of failures)
      expect(failure).toMatchObject({ status: 503, headers: { 'Retry-After': '1' } })
    // Two tries of 500 ms, and room for a busy machine.
    expect(tookMs).toBeLessThan(5000)
  })

  test('ping', async () => {
    const { store } = open()

    expect(await store.health()).toMatchObject({ isReady: true, latencyMs: expect.any(Number) })
  })

  test.each([
    ['maxSessionsPerUser', { maxSessionsPerUser: 0 }],
    ['onMaxSessions', { onMaxSessions: 'evict' }],
    ['verifyOwner', { verifyOwner: 'never' }],
    ['device', { device: { ip: true } }],
    ['endedTtl', { endedTtl: 0 }],
    ['userId', { userId: 'alice' }],
    ['prefix', { prefix: 'a{b}' }],
    ['secrets[0]', { secrets: ['short'] }],
    ['commandTimeoutMs', { commandTimeoutMs: 0 }],
    ['connection.url', { connection: { url: 'http://127.0.0.1' } }],
    ['maxSessionPerUser', { maxSessionPerUser: 5 }],
  ])('a configuration error names the field %s', (name, options) => {
    const attempt = () =>
      new ValkeyStore({
        secrets: [SECRET],
        connection: { url: 'valkey://127.0.0.1:1' },
        ...(options as object),
      })

    expect(attempt).toThrow(TypeError)
    expect(attempt).toThrow(`"${name}"`)
  })
})
