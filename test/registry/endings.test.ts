import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import { decidingTime } from '../store/deciding-time.ts'
import { failureOf } from '../store/failure-of.ts'
import { loadedSession } from '../store/live-session.ts'
import { storeKinds } from '../store/stores.ts'
import { TestClock } from '../support/clock.ts'
import { newSid, newUser, ownerOf, signIn, signInTimes, validOf, visit } from './requests.ts'

const TERMS = { reason: 'password-changed', actor: { type: 'admin', id: 'carol@example.com' } }

describe.each(storeKinds())('$name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  function open(options: SessionStoreOptions = {}) {
    const clock = new TestClock()
    const place = kind.place({ clock })
    const told: { handle: string; reason: string }[] = []
    const store = place.share(options)
    store.on('session-ended', (facts) => told.push(facts))
    return { place, store, clock, told, user: newUser() }
  }

  describe('an ending', () => {
    test('is ended, then already-ended; under a name that nobody has it is not-found', async () => {
      const { place, store, user } = open()
      const sid = await signIn(store, user)

      const results = [
        await store.registry.end({ sid }, TERMS),
        await store.registry.end({ handle: store.handle(sid) }),
        await place.share().registry.end({ sid }),
        await store.registry.end({ sid: newSid() }),
      ]
      const outcomes = results.map(({ outcome }) => outcome)

      expect(outcomes).toEqual(['ended', 'already-ended', 'already-ended', 'not-found'])
      expect(await validOf(store, [sid])).toEqual([])
    })

    test('is told with its time, reason and actor, by id and by handle, to every store', async () => {
      const { place, store, user } = open()
      const sid = await signIn(store, user)
      const beforeMs = await decidingTime(kind, place)

      await store.registry.end({ sid }, TERMS)

      const other = place.share()
      const endings = [
        await store.registry.ending({ sid }),
        await other.registry.ending({ handle: store.handle(sid) }),
      ]
      // Half a round trip, on a busy machine.
      const roomMs = 10 * kind.clockErrorMs
      expect(endings).toEqual([endings[0], { at: expect.any(Date), ...TERMS }])
      const afterMs = await decidingTime(kind, place)
      expect(endings[1]?.at.getTime()).toBeGreaterThanOrEqual(beforeMs - roomMs)
      expect(endings[1]?.at.getTime()).toBeLessThanOrEqual(afterMs + roomMs)
    })

    test('has a reason and an actor even if nobody gives one', async () => {
      const { store, user } = open()
      const sid = await signIn(store, user)

      await store.registry.end({ sid })

      expect(await store.registry.ending({ sid })).toMatchObject({ reason: 'ended', actor: { type: 'app' } })
    })

    test('is none for a session that lives, has expired, or never was', async () => {
      const { store, clock, user } = open({ ttl: 0.05 })
      const sid = await signIn(store, user)
      const living = await store.registry.ending({ sid })
      await kind.pass(100, clock)

      expect([
        living,
        await store.registry.ending({ sid }),
        await store.registry.ending({ sid: newSid() }),
      ]).toEqual([undefined, undefined, undefined])
    })

    test('is changed by nothing that comes later: no save, touch, sign-out, or second ending', async () => {
      const { place, store, user } = open()
      const sid = await signIn(store, user)
      const touching = place.share({ ttl: 60, touchAfter: 0 })
      const copies = [await loadedSession(store, sid), await loadedSession(touching, sid)] as const
      await store.registry.end({ sid }, TERMS)
      const first = await store.registry.ending({ sid })

      const failures = [
        await failureOf(store.set(sid, Object.assign(copies[0], { late: true }))),
        await failureOf(store.set(sid, { cookie: { originalMaxAge: null }, userId: user } as never)),
        await failureOf(touching.touch(sid, copies[1])),
        await failureOf(store.destroy(sid)),
        await failureOf(store.registry.end({ sid }, { reason: 'other' })),
        await failureOf(place.share().registry.endAll(user, { reason: 'other' })),
      ]

      const ended = { code: 'ERR_SESSION_ENDED' }
      expect(failures.slice(0, 3)).toMatchObject([ended, ended, ended])
      expect(failures.slice(3)).toEqual([undefined, undefined, undefined])
      expect(await store.registry.ending({ sid })).toEqual(first)
      expect(await store.registry.list(user, { includeEnded: true })).toMatchObject([
        { status: 'ended', ending: first },
      ])
    })

    const codes = ['', 'Reason', '1st', '-x', '_a', '.a', 'a b', 'grün', 'a\n', 'a'.repeat(33), 7, null]
    const ids = [
      '',
      'a\nb',
      'a\u0000b',
      'a\u001b[31m',
      'a\u2028b',
      'a\u2029b',
      '\ud800',
      'a'.repeat(129),
      7,
      null,
    ]
    const wrong: readonly (readonly [name: string, terms: object])[] = [
      ...codes.map((reason) => ['reason', { reason }] as const),
      ...codes.map((type) => ['actor.type', { actor: { type } }] as const),
      ...ids.map((id) => ['actor.id', { actor: { type: 'admin', id } }] as const),
      ...[null, 'admin', ['admin']].map((actor) => ['actor', { actor }] as const),
      ['name', { actor: { type: 'admin', name: 'carol' } }],
      ['because', { because: 'of this' }],
    ]
    test.each(wrong)('with a wrong "%s" is refused by that name, and ends nothing', async (name, terms) => {
      const { place, store, user } = open()
      const sid = await signIn(store, user)

      const failures = [
        await failureOf((async () => store.registry.end({ sid }, terms as never))()),
        await failureOf((async () => store.registry.endAll(user, terms as never))()),
      ]

      for (const failure of failures)
        expect(failure).toMatchObject({ name: 'TypeError', message: expect.stringContaining(`"${name}"`) })
      // With the epoch it was sealed with still in force.
      expect(await validOf(place.share({ verifyOwner: 'always' }), [sid])).toEqual([sid])
    })

    test('takes reasons of 32 characters, and ids of 128 of whatever script', async () => {
      const { store, user } = open()
      const sid = await signIn(store, user)
      const terms = {
        reason: `a${'-9_.'.repeat(7)}-9z`,
        actor: { type: `b_.${'b'.repeat(29)}`, id: 'ü語🙂'.repeat(42) },
      }

      await store.registry.end({ sid }, terms)

      expect(await store.registry.ending({ sid })).toMatchObject(terms)
    })
  })

  describe('the ways a session ends', () => {
    test('a sign-out is a logout by the user', async () => {
      const { store, told, user } = open()
      const sid = await signIn(store, user)

      await store.destroy(sid)

      expect(await store.registry.ending({ sid })).toMatchObject({
        reason: 'logout',
        actor: { type: 'user' },
      })
      // Listeners are called on the next turn.
      await nextTurn()
      expect(told).toEqual([{ handle: store.handle(sid), reason: 'logout' }])
    })

    test('a session beyond the cap is evicted by the system', async () => {
      const { store, told, user } = open({ maxSessionsPerUser: 1 })
      const [sid = ''] = await signInTimes(store, user, 2)

      expect(await store.registry.ending({ sid })).toMatchObject({
        reason: 'evicted',
        actor: { type: 'system' },
      })
      await nextTurn()
      expect(told).toEqual([{ handle: store.handle(sid), reason: 'evicted' }])
    })

    test('a session that is older than a hard end allows by now is ended by the system', async () => {
      const { place, store, clock, user } = open({ ttl: 100 })
      const sid = await signIn(store, user)
      await kind.pass(150, clock)
      const stricter = place.share({ ttl: 100, absoluteTtl: 0.05, touchAfter: 0.01 })

      expect(await stricter.get(sid)).toBeNull()

      expect(await store.registry.ending({ sid })).toMatchObject({
        reason: 'expired-absolute',
        actor: { type: 'system' },
      })
      expect(await store.registry.list(user)).toEqual([])
    })

    test('a session whose place in the registry is lost is an owner mismatch, ended by the system', async () => {
      const { place, store, clock, told, user } = open({ ttl: 100, touchAfter: 0.01 })
      const { registry } = place.backend()
      const sid = await signIn(store, user)
      await registry.withdraw(ownerOf(user), { handles: [store.handle(sid)], departedTtlMs: 1 })

      await kind.pass(20, clock)
      const refused = await failureOf(visit(store, sid))

      expect(refused).toMatchObject({ code: 'ERR_SESSION_ENDED' })
      expect(await store.registry.ending({ sid })).toMatchObject({
        reason: 'owner-mismatch',
        actor: { type: 'system' },
      })
      await nextTurn()
      expect(told).toEqual([{ handle: store.handle(sid), reason: 'owner-mismatch' }])
    })

    test("an app's own words are kept and told", async () => {
      const { store, told, user } = open()
      const sids = await signInTimes(store, user, 2)

      await store.registry.endAll(user, TERMS)
      await nextTurn()

      expect(told.map(({ handle }) => handle).toSorted()).toEqual(
        sids.map((sid) => store.handle(sid)).toSorted(),
      )
      expect(told.map(({ reason }) => reason)).toEqual([TERMS.reason, TERMS.reason])
      for (const sid of sids) expect(await store.registry.ending({ sid })).toMatchObject(TERMS)
    })
  })
})
