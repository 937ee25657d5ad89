import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { StoreClosedError } from '../../lib/errors.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import { failureOf } from '../store/failure-of.ts'
import { createGate } from '../store/gate.ts'
import { storeKinds } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { until } from '../support/until.ts'
import { collect } from './collected-endings.ts'
import { newSid, newUser, signIn, signInTimes, visit } from './requests.ts'

describe.each(storeKinds())('a watch $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const open = (options: SessionStoreOptions = {}) => {
    const place = kind.place()
    return { place, store: place.share(options), other: place.share(options), user: newUser() }
  }

  test('on one session resolves to its ending, whichever store ends it, by id or by handle', async () => {
    const { store, other, user } = open()
    const sid = await signIn(store, user)
    const watches = [store.registry.watch({ sid }), store.registry.watch({ handle: store.handle(sid) })]

    await other.registry.end({ sid }, { reason: 'stolen', actor: { type: 'admin', id: 'carol' } })

    const ending = {
      handle: store.handle(sid),
      reason: 'stolen',
      actor: { type: 'admin', id: 'carol' },
      at: expect.any(Date),
    }
    expect(await Promise.all(watches.map(({ ended }) => ended))).toEqual([ending, ending])
  })

  test('on one session that has ended already resolves at once', async () => {
    const { store, other, user } = open()
    const sid = await signIn(store, user)
    await store.destroy(sid)

    expect(await other.registry.watch({ sid }).ended).toMatchObject({
      reason: 'logout',
      actor: { type: 'user' },
    })
  })

  test('on one session that has ended already resolves at once, also beside another watch', async () => {
    const { store, other, user } = open()
    const [sid = '', mark = ''] = await signInTimes(store, user, 2)
    await store.destroy(sid)
    const heard = collect(other.registry.watch({ userId: user }))
    await store.destroy(mark)
    // The other watch is in force.
    await until(() => heard.handles().includes(store.handle(mark)))

    expect(await other.registry.watch({ sid }).ended).toMatchObject({ reason: 'logout' })
    expect(heard.isOver).toBe(false)
  })

  test('on one session tells that it has expired, and not before it has', async () => {
    const { store, user } = open({ ttl: 1.5, touchAfter: 0.05 })
    const sid = await signIn(store, user)
    const watch = store.registry.watch({ sid })
    const heard = collect(watch)
    const startMs = performance.now()
    // Each visit extends it; where a busy machine does not get to one in time it has expired earlier.
    while (performance.now() - startMs < 2000 && !heard.isOver) {
      await delay(20)
      await visit(store, sid).catch(() => {})
    }
    if (heard.isOver) expect(await store.get(sid)).toBeNull()

    expect(await watch.ended).toMatchObject({
      handle: store.handle(sid),
      reason: 'expired',
      actor: { type: 'system' },
    })
    expect(await store.get(sid)).toBeNull()
  })

  test('on one session is over after it has told', async () => {
    const { store, user } = open()
    const sid = await signIn(store, user)
    const heard = collect(store.registry.watch({ sid }))

    await store.destroy(sid)

    await until(() => heard.isOver)
    expect(heard.handles()).toEqual([store.handle(sid)])
  })

  test('on a user tells each ending once, and nothing of other users', async () => {
    const { store, other, user } = open({ maxSessionsPerUser: 3 })
    const sids = await signInTimes(store, user, 3)
    const heard = collect(store.registry.watch({ userId: user }))
    const foreign = await signIn(store, newUser())

    await other.registry.end({ sid: foreign })
    const next = await signIn(other, user)
    await other.destroy(sids[1] ?? '')
    await other.registry.endAll(user, { reason: 'password-changed' })

    await until(() => heard.endings.length === 4)
    const [first, second, ...rest] = heard.endings
    expect([first, second]).toMatchObject([
      { handle: store.handle(sids[0] ?? ''), reason: 'evicted' },
      { handle: store.handle(sids[1] ?? ''), reason: 'logout' },
    ])
    expect(rest.map(({ handle }) => handle).toSorted()).toEqual(
      [sids[2] ?? '', next].map((sid) => store.handle(sid)).toSorted(),
    )
    expect(rest.map(({ reason }) => reason)).toEqual(['password-changed', 'password-changed'])
    expect(heard.isOver).toBe(false)
  })

  test('on a user tells nothing of a sign-in that is under way, but of its end', async () => {
    const { place, store, user } = open()
    const [reached, gate] = [createGate(), createGate()]
    const slow = place.over(
      wrapBackend(place.backend(), {
        put: async (handle, write) => {
          reached.open()
          await gate.opened
          return place.backend().put(handle, write)
        },
      }),
    )
    const sid = newSid()
    const signingIn = signIn(slow, user, sid)
    await reached.opened

    // The first watch looks at everything the user has when it is in force; that it is, the other one tells.
    const heard = collect(store.registry.watch({ userId: user }))
    const mark = await signIn(store, user)
    await store.registry.end({ sid: mark }, { reason: 'mark' })
    await until(() => heard.handles().includes(store.handle(mark)))
    gate.open()
    await signingIn
    await store.destroy(sid)

    await until(() => heard.endings.length === 2)
    expect(heard.endings).toMatchObject([{ reason: 'mark' }, { handle: store.handle(sid), reason: 'logout' }])
  })

  test('on a user tells an ending that was asked for before it and took effect after it', async () => {
    const { place, store, user } = open()
    const sid = await signIn(store, user)
    const [reached, gate] = [createGate(), createGate()]
    const slow = place.over(
      wrapBackend(place.backend(), {
        end: async (handle, ending) => {
          reached.open()
          await gate.opened
          return place.backend().end(handle, ending)
        },
      }),
    )
    const ending = slow.registry.end({ sid }, { reason: 'slow' })
    await reached.opened
    const askedAtMs = Date.now()
    await until(() => Date.now() > askedAtMs + 50)

    const watch = store.registry.watch({ userId: user })
    gate.open()
    await ending

    expect(await watch.ended).toMatchObject({ handle: store.handle(sid), reason: 'slow' })
  })

  test('on a user does not tell what ended long before it', async () => {
    const { place, store, user } = open()
    const anHourAgo = place.over(
      wrapBackend(place.backend(), { now: async () => (await place.backend().now()) - 3_600_000 }),
    )
    const old = await signIn(store, user)
    await anHourAgo.registry.end({ sid: old })
    const sid = await signIn(store, user)

    const heard = collect(store.registry.watch({ userId: user }))
    await store.registry.end({ sid }, { reason: 'new' })
    await until(() => heard.handles().includes(store.handle(sid)))
    // Whatever the watch looked at before this it has told by now.
    const mark = await signIn(store, user)
    await store.registry.end({ sid: mark }, { reason: 'mark' })
    await until(() => heard.handles().includes(store.handle(mark)))

    expect(heard.endings.map(({ reason }) => reason)).toEqual(['new', 'mark'])
  })

  test('stops with its signal, before or after it began', async () => {
    const { store, user } = open()
    const sid = await signIn(store, user)
    const stop = new AbortController()
    const watches = [{ sid }, { userId: user }].map((target) =>
      store.registry.watch(target, { signal: stop.signal }),
    )
    const heard = watches.map(collect)

    stop.abort('enough')
    const late = store.registry.watch({ sid }, { signal: stop.signal })
    await store.destroy(sid)

    expect(await Promise.all([...watches, late].map(({ ended }) => failureOf(ended)))).toEqual([
      'enough',
      'enough',
      'enough',
    ])
    await until(() => heard.every(({ isOver }) => isOver))
    expect(heard.flatMap(({ endings }) => endings)).toEqual([])
  })

  test.each([null, {}, 'abort', new AbortController()])('refuses the signal %j by name', async (signal) => {
    const { store, user } = open()

    expect(() => store.registry.watch({ userId: user }, { signal } as never)).toThrow(/"signal"/)
    await store.close()
  })

  test('stops when the store is closed, and none begins after that', async () => {
    const store = kind.place().open()
    const user = newUser()
    const sid = await signIn(store, user)
    const watches = [store.registry.watch({ sid }), store.registry.watch({ userId: user })]
    const heard = watches.map(collect)

    await store.close()

    for (const { ended } of watches) expect(await failureOf(ended)).toBeInstanceOf(StoreClosedError)
    await until(() => heard.every(({ isOver }) => isOver))
    expect(() => store.registry.watch({ sid })).toThrow(StoreClosedError)
  })

  test('stops when its iteration is left', async () => {
    const { store, user } = open()
    const [first = '', second = ''] = await signInTimes(store, user, 2)
    const watch = store.registry.watch({ userId: user })
    await store.destroy(first)
    const told: string[] = []
    for await (const { handle } of watch) {
      told.push(handle)
      break
    }

    await store.destroy(second)

    expect(told).toEqual([store.handle(first)])
    expect(await watch[Symbol.asyncIterator]().next()).toEqual({ done: true, value: undefined })
  })

  test.each([
    ['nobody', { userId: '' }, /"userId"/],
    [
      'a user and a session',
      { userId: 'alice', sid: 'x' },
      /exactly one of \{ sid \} or \{ handle \} or \{ userId \}/,
    ],
    ['a bare string', 'some-session-id', /write \{ sid: … \}/],
  ])('on %s is refused', (_, target, message) => {
    const { store } = open()

    expect(() => store.registry.watch(target as never)).toThrow(message)
  })
})
