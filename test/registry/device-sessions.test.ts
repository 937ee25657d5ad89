import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import { failureOf } from '../store/failure-of.ts'
import { loadedSession } from '../store/live-session.ts'
import { ValkeyKind } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { failingBackend } from './failing-backend.ts'
import { newSid, newUser, registered, signIn, signInTimes, validates, validOf } from './requests.ts'

const TERMS = { reason: 'stolen', actor: { type: 'admin', id: 'carol' } }

describe("what a service's source of truth for device sessions does", () => {
  const kind = new ValkeyKind()
  let admin: Redis
  beforeAll(async () => {
    await kind.start()
    admin = kind.server.client()
  })
  afterAll(() => kind.stop())

  function open() {
    const place = kind.place()
    return { place, keys: createKeys(place.prefix), store: place.share(), user: newUser() }
  }

  test('get, list by user newest first, count active, revoke one, revoke all of a user', async () => {
    const { store, user } = open()
    const sids = await signInTimes(store, user, 3)
    const handles = sids.map((sid) => store.handle(sid))

    expect(await store.get(sids[0] ?? '')).toMatchObject({ userId: user })
    expect(await registered(store, user)).toEqual(handles.toReversed())
    expect(await store.registry.count(user)).toBe(3)
    expect((await store.registry.end({ handle: handles[1] ?? '' })).outcome).toBe('ended')
    expect(await store.registry.count(user)).toBe(2)
    expect((await store.registry.endAll(user)).ended.toSorted()).toEqual(
      [handles[0] ?? '', handles[2] ?? ''].toSorted(),
    )
    expect([await store.registry.count(user), await validOf(store, sids)]).toEqual([0, []])
  })

  test('create is a conflict if the session exists: of two at once one is stored, 100 times', async () => {
    const { place, user } = open()
    const stores = [place.share(), place.share()]
    for (let time = 1; time <= 100; time += 1) {
      const sid = newSid()
      const failures = await Promise.all(stores.map((store) => failureOf(signIn(store, user, sid))))

      expect(failures.filter((failure) => failure === undefined)).toHaveLength(1)
      expect(failures.find((failure) => failure !== undefined)).toMatchObject({
        code: 'ERR_SESSION_CONFLICT',
      })
    }
    expect(await stores[0]?.registry.count(user)).toBe(100)
  })

  test('a revocation keeps the record with when, reason code, actor type and actor id', async () => {
    const { store, user } = open()
    const sid = await signIn(store, user)
    await store.registry.end({ sid }, TERMS)

    const [session] = await store.registry.list(user, { includeEnded: true })

    expect(session).toMatchObject({
      status: 'ended',
      ending: { at: expect.any(Date), ...TERMS },
      createdAt: expect.any(Date),
    })
    expect(await store.registry.ending({ sid })).toEqual(session?.status === 'ended' && session.ending)
    expect(await validates(store, sid)).toBe(false)
  })

  test('outcomes tell revoked, already revoked, not found and no active sessions apart', async () => {
    const { store, user } = open()
    const sid = await signIn(store, user)

    const outcomes = [
      (await store.registry.end({ sid })).outcome,
      (await store.registry.end({ sid })).outcome,
      (await store.registry.end({ sid: newSid() })).outcome,
      (await store.registry.endAll(user)).ended,
    ]

    expect(outcomes).toEqual(['ended', 'already-ended', 'not-found', []])
  })

  test('optimistic locking: a stale version is a conflict, and a fresh one passes', async () => {
    const { place, user } = open()
    const store = place.share({ concurrency: 'reject' })
    const sid = await signIn(store, user)
    const stale = await loadedSession(store, sid)
    await store.set(sid, Object.assign(await loadedSession(store, sid), { first: true }))

    const failure = await failureOf(store.set(sid, Object.assign(stale, { second: true })))
    await store.set(sid, Object.assign(await loadedSession(store, sid), { third: true }))

    expect(failure).toMatchObject({ code: 'ERR_SESSION_CONFLICT' })
    expect(await store.get(sid)).toMatchObject({ first: true, third: true })
    expect(await store.get(sid)).not.toHaveProperty('second')
  })

  test('optimistic locking: the tries of one save are bounded, and it then is a conflict', async () => {
    const { place, store, user } = open()
    const sid = await signIn(store, user)
    let tries = 0
    // A fake: no real traffic makes every single try too late.
    const contended = place.over(
      wrapBackend(place.backend(), {
        put: async (handle, write) => {
          tries += 1
          await store.set(sid, Object.assign(await loadedSession(store, sid), { tries }))
          return place.backend().put(handle, write)
        },
      }),
    )

    const failure = await failureOf(
      contended.set(sid, Object.assign(await loadedSession(contended, sid), { late: true })),
    )

    expect(failure).toMatchObject({ code: 'ERR_SESSION_CONFLICT' })
    expect(tries).toBeGreaterThanOrEqual(3)
    expect(tries).toBeLessThanOrEqual(32)
    expect(await store.get(sid)).toMatchObject({ tries })
  })

  test('revoke-all is all or nothing to an observer who retries it', async () => {
    const { place, user } = open()
    const store = place.share({ verifyOwner: 'always' })
    const sids = await signInTimes(store, user, 5)
    const interrupted = (backend: Backend, verb: 'raise' | 'end') =>
      place.over(failingBackend(backend, { verb, fault: 'is never reached' }))

    const failures = [await failureOf(interrupted(place.backend(), 'raise').registry.endAll(user))]
    const afterNothing = await validOf(store, sids)
    failures.push(await failureOf(interrupted(place.backend(), 'end').registry.endAll(user)))
    const afterHalf = await validOf(store, sids)
    await store.registry.endAll(user)

    expect(failures).toMatchObject([{ status: 503 }, { status: 503 }])
    expect([afterNothing, afterHalf]).toEqual([sids, []])
    expect(await registered(store, user)).toEqual([])
  })

  test('keys are namespaced and encoded: nothing but the prefix and a digest', async () => {
    const { place, store } = open()
    const user = 'bob {*} \n:r:{x}'
    const sid = await signIn(store, user)
    await store.registry.end({ sid: await signIn(store, user) }, TERMS)

    const all = await admin.keys(`${place.prefix}*`)
    // One key is the prefix's own.
    const names = all.filter((name) => name !== `${place.prefix}:k:{keys}`)

    expect(names.length).toBeGreaterThanOrEqual(6)
    for (const name of names)
      expect(name).toMatch(new RegExp(`^${place.prefix}:[a-z]:\\{[A-Za-z0-9_-]{43}\\}$`))
    expect(names.join()).not.toContain(sid)
    expect(names).toContain(`${place.prefix}:r:{${store.handle(sid)}}`)
  })
})
