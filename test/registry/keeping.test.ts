import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import type { Member } from '../../lib/backend/registry.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { failureOf } from '../store/failure-of.ts'
import { createGate } from '../store/gate.ts'
import { generateSession, loadedSession } from '../store/live-session.ts'
import { SECRET } from '../store/parts-store.ts'
import { storeKinds } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { TestClock } from '../support/clock.ts'
import { failingBackend } from './failing-backend.ts'
import { edit, newSid, newUser, ownerOf, registered, signIn, validates, visit } from './requests.ts'
import { wrapRegistry } from './wrap-registry.ts'

describe.each(storeKinds())('$name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  function open(options: SessionStoreOptions = {}) {
    const clock = new TestClock()
    const place = kind.place({ clock })
    const roster = (user: string) => place.backend().registry.roster(ownerOf(user))
    return { clock, place, store: place.share(options), roster, alice: newUser(), bob: newUser() }
  }

  /** The handles of those sessions, sorted. */
  const handlesOf = (store: SessionStore, ...sids: readonly string[]) =>
    sids.map((sid) => store.handle(sid)).toSorted()

  describe('a session is registered', () => {
    test('from the first save on that names a user, and not before', async () => {
      const { store, alice } = open()
      const sid = newSid()
      await store.set(sid, generateSession(store, sid, { content: { cart: 1 } }))
      expect(await registered(store, alice)).toEqual([])

      await edit(store, sid, { userId: alice })

      expect(await registered(store, alice)).toEqual([store.handle(sid)])
    })

    test("by passport's user, by a number as by its digits, and as the option says", async () => {
      const { place, store, alice } = open()
      const own = place.share({ userId: (session) => Reflect.get(session, 'account') as string })
      const contents = [
        [store, { passport: { user: alice } }, alice],
        [store, { userId: 4711 }, '4711'],
        [own, { account: 'carol', userId: alice }, 'carol'],
      ] as const

      const found = await Promise.all(
        contents.map(async ([through, content, user]) => {
          const sid = newSid()
          await through.set(sid, generateSession(through, sid, { content }))
          return (await registered(through, user)).includes(through.handle(sid))
        }),
      )

      expect(found).toEqual([true, true, true])
    })

    test('under its new user once that changes, and nowhere once it has none', async () => {
      const { store, alice, bob } = open()
      const sid = await signIn(store, alice)

      await edit(store, sid, { userId: bob })
      const afterChange = [await registered(store, alice), await registered(store, bob)]
      await edit(store, sid, { userId: undefined })
      const afterSignOut = [await registered(store, alice), await registered(store, bob)]

      expect(afterChange).toEqual([[], [store.handle(sid)]])
      expect(afterSignOut).toEqual([[], []])
      expect(await validates(store, sid)).toBe(true)
    })

    test('no longer once it is destroyed', async () => {
      const { store, alice } = open()
      const [destroyed, kept] = [await signIn(store, alice), await signIn(store, alice)]

      await store.destroy(destroyed)

      expect(await registered(store, alice)).toEqual([store.handle(kept)])
    })

    test('as the newest of the user whom it comes to', async () => {
      const { store, alice, bob } = open({ maxSessionsPerUser: 2 })
      const moved = await signIn(store, alice)
      const bobs = [await signIn(store, bob), await signIn(store, bob)]

      await edit(store, moved, { userId: bob })

      expect(await registered(store, bob)).toEqual([moved, bobs[1] ?? ''].map((sid) => store.handle(sid)))
      expect(await validates(store, bobs[0] ?? '')).toBe(false)
    })

    test('when it is a plain object too: at its first save, through later ones, until its user changes or it ends', async () => {
      const { store, alice, bob } = open()
      const [one, two] = [newSid(), newSid()]
      const plain = (userId: string) => ({ cookie: { originalMaxAge: null }, userId }) as never
      for (const sid of [one, two, one]) await store.set(sid, plain(alice))
      const atFirst = await registered(store, alice)

      await store.set(one, plain(bob))
      await store.destroy(two)

      expect(atFirst.toSorted()).toEqual(handlesOf(store, one, two))
      expect([await registered(store, alice), await registered(store, bob)]).toEqual([
        [],
        [store.handle(one)],
      ])
    })

    test('anew when a plain object is saved under the id of one that has expired', async () => {
      const { store, clock, alice } = open({ ttl: (session) => Reflect.get(session, 'ttl') as number })
      const sid = newSid()
      const plain = (ttl: number) => ({ cookie: { originalMaxAge: null }, userId: alice, ttl }) as never
      await store.set(sid, plain(0.05))
      await kind.pass(100, clock)
      expect(await registered(store, alice)).toEqual([])

      await store.set(sid, plain(100))

      expect(await registered(store, alice)).toEqual([store.handle(sid)])
    })
  })

  test('a session that slides for ten times its ttl stays registered, and leaves the list when it stops', async () => {
    const { store, clock, alice } = open({ ttl: 1, touchAfter: 0.1 })
    const sid = await signIn(store, alice)
    const startMs = performance.now()
    let slidMs = 0
    while (slidMs < 10_000) {
      await kind.pass(200, clock)
      slidMs = kind.clockErrorMs === 0 ? slidMs + 200 : performance.now() - startMs
      await visit(store, sid)
      expect(await registered(store, alice)).toEqual([store.handle(sid)])
    }

    await kind.pass(1100, clock)

    expect(await validates(store, sid)).toBe(false)
    expect(await registered(store, alice)).toEqual([])
    // A place outlives its session by a second.
    await kind.pass(1000, clock)
    expect(await store.registry.count(alice)).toBe(0)
  })

  test('a touch of an older copy keeps the place that the session has by now', async () => {
    const { store, clock, alice, bob, roster } = open({ ttl: 100, touchAfter: 0 })
    const sid = await signIn(store, alice)
    const old = await loadedSession(store, sid)
    await edit(store, sid, { userId: bob })
    const before = (await roster(bob)).members[0]?.expiresAtMs ?? 0

    await kind.pass(50, clock)
    await store.touch(sid, old)

    expect((await roster(bob)).members[0]?.expiresAtMs).toBeGreaterThanOrEqual(
      before + 50 - kind.clockErrorMs,
    )
  })

  test.each(['is refused', 'loses its reply'] as const)(
    'a session whose extension %s does not outlive its registration',
    async (fault) => {
      const { place, store, clock, alice, roster } = open({ ttl: 100, touchAfter: 0 })
      const sid = await signIn(store, alice)
      await kind.pass(2000, clock)
      const failing = place.over(failingBackend(place.backend(), { verb: 'extend', fault }), {
        ttl: 100,
        touchAfter: 0,
      })

      const failure = await failureOf(visit(failing, sid))
      const record = await place.backend().get(store.handle(sid), 65_536)
      const [member] = (await roster(alice)).members

      expect(failure).toMatchObject({ status: 503 })
      expect(record).toMatchObject({ expiresAtMs: expect.any(Number) })
      expect((record as { expiresAtMs: number }).expiresAtMs).toBeLessThanOrEqual(member?.expiresAtMs ?? 0)
      expect(await validates(store, sid)).toBe(true)
    },
  )

  test('a list that is not able to open a session leaves it registered', async () => {
    const { place, alice, roster } = open()
    const elsewhere = place.share({ secrets: ['another secret of these tests, as long as needed', SECRET] })
    const sid = await signIn(elsewhere, alice)
    const later = place.over(aMinuteLater(place.backend(), [elsewhere.handle(sid)]))

    const listed = await registered(later, alice)

    expect(listed).toEqual([])
    expect((await roster(alice)).members.map(({ handle }) => handle)).toEqual([elsewhere.handle(sid)])
    expect(await validates(elsewhere, sid)).toBe(true)
  })

  test('a list takes out what was seen a minute ago and has no record, but nothing younger or not taken', async () => {
    const { place, store, alice, roster } = open()
    const [dead, untaken, young] = [store.handle(newSid()), store.handle(newSid()), store.handle(newSid())]
    const { registry } = place.backend()
    for (const handle of [dead, untaken, young]) {
      const enrolment = { handle, ttlMs: 600_000, beyondCap: 'evict', takenWithinMs: 1000 } as const
      await registry.enroll(ownerOf(alice), enrolment)
      if (handle !== untaken)
        await registry.withdraw(ownerOf(alice), { handles: [], taken: handle, departedTtlMs: 1 })
    }
    const later = place.over(aMinuteLater(place.backend(), [dead, untaken]))

    await registered(later, alice)

    expect((await roster(alice)).members.map(({ handle }) => handle)).toEqual([untaken, young])
  })

  test('a list leaves a session registered that its user is just coming back to', async () => {
    const { place, store, alice, roster } = open()
    const sid = await signIn(store, alice)
    const handle = store.handle(sid)
    // It became anonymous, and the step that takes it out of the registry has not come through.
    const cut = place.over(failingBackend(place.backend(), { verb: 'withdraw', fault: 'is never reached' }))
    await failureOf(edit(cut, sid, { userId: undefined }))
    const [enrolled, stored] = [createGate(), createGate()]
    const slow = place.over(
      wrapBackend(place.backend(), {
        put: async (name, write) => {
          enrolled.open()
          await stored.opened
          return place.backend().put(name, write)
        },
      }),
    )

    const comingBack = edit(slow, sid, { userId: alice })
    await enrolled.opened
    await registered(place.over(enrolledAMinuteAgo(place.backend(), handle)), alice)
    stored.open()
    await comingBack

    expect((await roster(alice)).members.map((member) => member.handle)).toEqual([handle])
    expect(await registered(store, alice)).toEqual([handle])
  })
})

// Fakes: a server's clock cannot be set, and nobody wants to wait for a minute.
function aMinuteLater(backend: Backend, handles: readonly string[]): Backend {
  return withMembers(backend, (member) =>
    handles.includes(member.handle) ? { ...earlier(member), seenAtMs: member.seenAtMs - 61_000 } : member,
  )
}

function enrolledAMinuteAgo(backend: Backend, handle: string): Backend {
  return withMembers(backend, (member) => (member.handle === handle ? earlier(member) : member))
}

function earlier(member: Member): Member {
  return { ...member, order: member.order - 61_000_000 }
}

function withMembers(backend: Backend, change: (member: Member) => Member): Backend {
  return wrapRegistry(backend, {
    roster: async (owner) => {
      const roster = await backend.registry.roster(owner)
      return { ...roster, members: roster.members.map(change) }
    },
  })
}
