import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { InProcessRegistry } from '../../lib/backend/in-process-registry.ts'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { failureOf } from '../store/failure-of.ts'
import { generateSession, loadedSession } from '../store/live-session.ts'
import { type StoreKind, storeKinds, ValkeyKind, type ValkeyPlace } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { TestClock } from '../support/clock.ts'
import { until } from '../support/until.ts'
import {
  edit,
  newSid,
  newUser,
  ownerOf,
  registered,
  signIn,
  signInTimes,
  validOf,
  visit,
} from './requests.ts'
import { wrapRegistry } from './wrap-registry.ts'

const ROUNDS = 20
const SIGN_INS = 200
const SPARING_ROUNDS = 20

/** A place whose registries can be lost. */
function losable(kind: StoreKind) {
  const clock = new TestClock()
  const place = kind.place({ clock })
  const backend = place.backend()
  if (kind instanceof ValkeyKind) {
    const { registry } = createKeys((place as ValkeyPlace).prefix)
    return {
      place,
      clock,
      backend,
      lose: (user: string) => kind.client.callBuffer('del', ...registry(ownerOf(user))),
    }
  }
  // What is kept in process cannot be deleted by hand: another registry, which is empty, takes its place.
  let lost: InProcessRegistry | undefined
  const registry = new Proxy(backend.registry, {
    get: (kept, name) => {
      const current = lost ?? kept
      const verb: unknown = Reflect.get(current, name)
      return typeof verb === 'function' ? verb.bind(current) : verb
    },
  })
  const losing = new Proxy(wrapBackend(backend, {}), {
    get: (target, name) => (name === 'registry' ? registry : Reflect.get(target, name)),
  })
  const lose = async () => {
    lost = new InProcessRegistry({ clock })
  }
  return { place, clock, backend: losing, lose }
}

describe.each(storeKinds())('$name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  /** Notes under which epoch each handle was enrolled, and to which it was raised. */
  function noting(backend: Backend) {
    const enrolled = new Map<string, number>()
    const raised: number[] = []
    const noted = wrapRegistry(backend, {
      enroll: async (owner, enrolment) => {
        const reply = await backend.registry.enroll(owner, enrolment)
        if (reply.answer === 'enrolled') enrolled.set(enrolment.handle, reply.epoch)
        return reply
      },
      raise: async (owner, raising) => {
        const roster = await backend.registry.raise(owner, raising)
        raised.push(roster.epoch)
        return roster
      },
    })
    return { noted, enrolled, raised }
  }

  test(`an end of all beside ${SIGN_INS} sign-ins ends who was enrolled before it and nobody else, ${ROUNDS} times`, async () => {
    const { place, backend } = losable(kind)
    const counts = { before: 0, after: 0 }
    for (let round = 1; round <= ROUNDS; round += 1) {
      const user = newUser()
      const { noted, enrolled, raised } = noting(backend)
      const stores = Array.from({ length: 4 }, () => place.over(noted))
      const [store = place.over(noted)] = stores

      const sids = Array.from({ length: SIGN_INS }, (_, at) => `${user}-${at}`.replaceAll(' ', '-'))
      const signIns = sids.map(async (sid, at) => {
        // The later ones begin while the earlier ones are under way.
        await until(() => enrolled.size >= at - 50, { everyMs: 1 })
        return failureOf(signIn(stores[at % stores.length] ?? store, user, sid))
      })
      await until(() => enrolled.size >= (round / (ROUNDS + 1)) * SIGN_INS, { everyMs: 1 })
      await store.registry.endAll(user)
      await Promise.all(signIns)

      const [epoch = Number.NaN] = raised
      const isAfter = (sid: string) => (enrolled.get(store.handle(sid)) ?? Number.NaN) >= epoch
      expect(await validOf(store, sids)).toEqual(sids.filter(isAfter))
      expect(enrolled.size).toBe(SIGN_INS)
      counts.after += sids.filter(isAfter).length
      counts.before += sids.filter((sid) => !isAfter(sid)).length
    }
    expect(counts.before + counts.after).toBe(ROUNDS * SIGN_INS)
  })

  test('answers the handles of those it ended, and none when there is none', async () => {
    const store = kind.place().open()
    const user = newUser()
    const sids = await signInTimes(store, user, 3)

    const { ended } = await store.registry.endAll(user)

    expect(ended.toSorted()).toEqual(sids.map((sid) => store.handle(sid)).toSorted())
    expect((await store.registry.endAll(user)).ended).toEqual([])
    expect((await store.registry.endAll(newUser())).ended).toEqual([])
    expect(await validOf(store, sids)).toEqual([])
  })

  test('leaves the sessions of other users, and visitors who are none', async () => {
    const store = kind.place().open()
    const [user, other] = [newUser(), newUser()]
    const [, others] = [await signIn(store, user), await signIn(store, other)]
    const anonymous = newSid()
    await store.set(anonymous, generateSession(store, anonymous, { content: { basket: 1 } }))

    await store.registry.endAll(user)

    expect(await validOf(store, [others, anonymous])).toEqual([others, anonymous])
  })

  describe('after the registry was lost', () => {
    const options = { ttl: 100, touchAfter: 0.05 }

    test('ends each session at once for who looks strictly', async () => {
      const { place, backend, lose } = losable(kind)
      const store = place.over(backend, options)
      const strict = place.over(backend, { ...options, verifyOwner: 'always' })
      const user = newUser()
      const sids = await signInTimes(store, user, 50)
      await lose(user)

      await store.registry.endAll(user)

      expect(await validOf(strict, sids)).toEqual([])
      expect(await validOf(store, sids)).toEqual([])
    })

    test.each([
      ['touch', visit],
      ['save', (store: SessionStore, sid: string) => edit(store, sid, { late: true })],
    ] as const)('ends each session no later than its first %s after a touch window', async (_, use) => {
      const { place, clock, backend, lose } = losable(kind)
      const store = place.over(backend, options)
      const user = newUser()
      const sids = await signInTimes(store, user, 50)
      await lose(user)
      await store.registry.endAll(user)

      await kind.pass(60, clock)
      await Promise.all(sids.map((sid) => failureOf(use(store, sid))))

      expect(await validOf(store, sids)).toEqual([])
      expect(await store.registry.ending({ sid: sids[0] ?? '' })).toMatchObject({ reason: 'owner-mismatch' })
    })

    test('lets live who signs in after it', async () => {
      const { place, backend, lose } = losable(kind)
      const strict = place.over(backend, { ...options, verifyOwner: 'always' })
      const user = newUser()
      const old = await signIn(strict, user)
      await lose(user)
      await strict.registry.endAll(user)

      const fresh = await signIn(strict, user)

      expect(await validOf(strict, [old, fresh])).toEqual([fresh])
      expect(await registered(strict, user)).toEqual([strict.handle(fresh)])
    })
  })

  describe('with one to spare', () => {
    test.each(['merge', 'reject', 'overwrite'] as const)(
      `keeps it while it is saved and touched, with concurrency "%s", ${SPARING_ROUNDS} times`,
      async (concurrency) => {
        const place = kind.place()
        const options = { ttl: 100, touchAfter: 0, concurrency, verifyOwner: 'always' } as const
        const [store, other] = [place.share(options), place.share(options)]
        for (let round = 1; round <= SPARING_ROUNDS; round += 1) {
          const user = newUser()
          const [spared = '', ...others] = await signInTimes(store, user, 4)
          const [saved, touched] = [await loadedSession(other, spared), await loadedSession(other, spared)]

          const [{ ended }] = await Promise.all([
            store.registry.endAll(user, { except: { sid: spared } }),
            other.touch(spared, touched),
            other.set(spared, Object.assign(saved, { round })),
          ])

          expect(ended).toHaveLength(3)
          expect(await validOf(other, [spared, ...others])).toEqual([spared])
          expect(await store.get(spared)).toMatchObject({ round })
          expect(await registered(store, user)).toEqual([store.handle(spared)])
        }
      },
    )

    test('keeps it when two do so at once, and ends every other one once', async () => {
      const place = kind.place()
      const options = { verifyOwner: 'always' } as const
      const stores = [place.share(options), place.share(options)] as const
      const user = newUser()
      const [spared = '', ...others] = await signInTimes(stores[0], user, 4)

      const results = await Promise.all(
        stores.map((store) => store.registry.endAll(user, { except: { sid: spared } })),
      )
      const ended = results.map((result) => result.ended)

      expect(ended.flat().toSorted()).toEqual(others.map((sid) => stores[0].handle(sid)).toSorted())
      expect(await validOf(stores[1], [spared, ...others])).toEqual([spared])
    })

    test('takes its id or its handle, and keeps it alive through its next touches and saves', async () => {
      const clock = new TestClock()
      const place = kind.place({ clock })
      const store = place.share({ ttl: 100, touchAfter: 0.01, verifyOwner: 'always' })
      const user = newUser()
      const [spared = '', other = ''] = await signInTimes(store, user, 2)

      await store.registry.endAll(user, { except: { handle: store.handle(spared) } })
      for (const use of [visit, visit, (one: typeof store, sid: string) => edit(one, sid, { more: true })]) {
        await kind.pass(20, clock)
        await use(store, spared)
      }

      expect(await validOf(store, [spared, other])).toEqual([spared])
    })

    test('fails and ends nobody if that one does not live, or is of another user', async () => {
      const store = kind.place().open({ verifyOwner: 'always' })
      const [user, other] = [newUser(), newUser()]
      const [mine = '', gone = ''] = await signInTimes(store, user, 2)
      const foreign = await signIn(store, other)
      await store.destroy(gone)

      const failures = [gone, 'never-there', foreign].map((sid) =>
        failureOf(store.registry.endAll(user, { except: { sid } })),
      )

      expect(await Promise.all(failures)).toMatchObject([
        { code: 'ERR_SESSION_ENDED' },
        { code: 'ERR_SESSION_ENDED' },
        { name: 'TypeError' },
      ])
      expect(await validOf(store, [mine, foreign])).toEqual([mine, foreign])
    })
  })
})
