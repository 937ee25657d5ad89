import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import { failureOf } from '../store/failure-of.ts'
import { storeKinds } from '../store/stores.ts'
import { TestClock } from '../support/clock.ts'
import { activeOf, edit, newUser, signIn, signInTimes, visit } from './requests.ts'

const TERMS = { reason: 'password-changed', actor: { type: 'admin', id: 'carol@example.com' } }

describe.each(storeKinds())('a list of sessions $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  function open(options: SessionStoreOptions = {}) {
    const clock = new TestClock()
    return { store: kind.place({ clock }).share(options), clock, user: newUser() }
  }

  test('shows the newest first: handle, beginning, last sight, expiry, and which is the current one', async () => {
    const { store, clock, user } = open({ ttl: 100, touchAfter: 0.01 })
    const old = await signIn(store, user)
    await kind.pass(300, clock)
    const young = await signIn(store, user)
    await kind.pass(300, clock)
    await visit(store, old)

    const [first, second, ...others] = await activeOf(store, user, { current: { sid: old } })

    expect(others).toEqual([])
    expect(first).toEqual({
      handle: store.handle(young),
      kind: 'session',
      status: 'active',
      createdAt: expect.any(Date),
      lastSeenAt: expect.any(Date),
      expiresAt: expect.any(Date),
      isCurrent: false,
    })
    expect(second).toMatchObject({ handle: store.handle(old), status: 'active', isCurrent: true })
    // The beginning is told by a clock that is carried on from a reply: half a round trip off, on a busy machine.
    const roomMs = 10 * kind.clockErrorMs
    const sinceMs = (later: Date | undefined, earlier: Date | undefined) =>
      (later?.getTime() ?? Number.NaN) - (earlier?.getTime() ?? Number.NaN)
    expect(sinceMs(first?.createdAt, second?.createdAt)).toBeGreaterThanOrEqual(300 - roomMs)
    expect(sinceMs(second?.lastSeenAt, second?.createdAt)).toBeGreaterThanOrEqual(600 - roomMs)
    expect(sinceMs(second?.lastSeenAt, first?.lastSeenAt)).toBeGreaterThanOrEqual(300 - roomMs)
    expect(sinceMs(second?.expiresAt, second?.lastSeenAt)).toBeGreaterThan(100_000 - 1000)
  })

  test('shows a last sight that is as fresh as touchAfter lets it be', async () => {
    const clock = new TestClock()
    const place = kind.place({ clock })
    const [lazy, eager] = [
      place.share({ ttl: 100, touchAfter: 50 }),
      place.share({ ttl: 100, touchAfter: 0.01 }),
    ]
    const user = newUser()
    const sid = await signIn(lazy, user)
    const seenAtMs = async () => (await activeOf(lazy, user))[0]?.lastSeenAt.getTime() ?? Number.NaN
    const firstMs = await seenAtMs()

    await kind.pass(50, clock)
    await visit(lazy, sid)
    const afterLazyMs = await seenAtMs()
    await visit(eager, sid)

    expect(afterLazyMs).toBe(firstMs)
    expect(await seenAtMs()).toBeGreaterThanOrEqual(firstMs + 50 - kind.clockErrorMs)
  })

  test('shows ended ones when it is asked to: after the living, the last to end first', async () => {
    const { store, user } = open({ maxSessionsPerUser: 3 })
    const [evicted = '', ended = '', left = '', living = ''] = await signInTimes(store, user, 4)
    await store.registry.end({ sid: ended }, TERMS)
    await store.destroy(left)

    const listed = await store.registry.list(user, { includeEnded: true, current: { sid: living } })

    expect(listed).toMatchObject([
      { handle: store.handle(living), status: 'active', isCurrent: true },
      {
        handle: store.handle(left),
        status: 'ended',
        isCurrent: false,
        ending: { reason: 'logout', actor: { type: 'user' } },
      },
      { handle: store.handle(ended), status: 'ended', isCurrent: false, ending: TERMS },
      {
        handle: store.handle(evicted),
        status: 'ended',
        isCurrent: false,
        ending: { reason: 'evicted', actor: { type: 'system' } },
      },
    ])
    expect(listed.slice(1).flatMap((session) => ['lastSeenAt' in session, 'expiresAt' in session])).toEqual(
      Array(6).fill(false),
    )
    expect(await store.registry.list(user)).toHaveLength(1)
    expect(await store.registry.count(user)).toBe(1)
  })

  test('shows at most 100 ended ones, the last to end', async () => {
    const { store, user } = open()
    const sids = await signInTimes(store, user, 105)
    for (const sid of sids) await store.destroy(sid)

    const listed = await store.registry.list(user, { includeEnded: true })

    expect(listed.map(({ handle }) => handle)).toEqual(
      sids
        .slice(5)
        .reverse()
        .map((sid) => store.handle(sid)),
    )
  })

  test('forgets ended ones after endedTtl', async () => {
    const { store, clock, user } = open({ endedTtl: 0.2 })
    await store.destroy(await signIn(store, user))
    const before = await store.registry.list(user, { includeEnded: true })

    await kind.pass(300, clock)

    expect(before).toHaveLength(1)
    expect(await store.registry.list(user, { includeEnded: true })).toEqual([])
  })

  test('refuses an option it does not know, by name', async () => {
    const { store, user } = open()
    const call = async () => store.registry.list(user, { includeended: true } as never)

    expect(await failureOf(call())).toMatchObject({
      name: 'TypeError',
      message: expect.stringContaining('"includeended"'),
    })
  })

  test.each([undefined, null, '', {}, true])('of the user %j is refused', async (userId) => {
    const { store } = open()
    const calls = [
      () => store.registry.list(userId as never),
      () => store.registry.count(userId as never),
      () => store.registry.endAll(userId as never),
    ]

    const failures = await Promise.all(calls.map((call) => failureOf((async () => call())())))

    for (const failure of failures)
      expect(failure).toMatchObject({ name: 'TypeError', message: expect.stringContaining('"userId"') })
  })

  test('shows of an ended one its name, beginning and ending, and nothing else', async () => {
    const { store, user } = open()
    const sid = await signIn(store, user)
    await edit(store, sid, { edited: true })
    await store.destroy(sid)

    const [session] = await store.registry.list(user, { includeEnded: true })

    expect(session).toEqual({
      handle: store.handle(sid),
      kind: 'session',
      status: 'ended',
      createdAt: expect.any(Date),
      ending: { at: expect.any(Date), reason: 'logout', actor: { type: 'user' } },
      isCurrent: false,
    })
  })
})
