import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { OutcomeUnknownError, StoreUnavailableError } from '../../lib/errors.ts'
import { failureOf } from '../store/failure-of.ts'
import { generateSession } from '../store/live-session.ts'
import { type StoreKind, storeKinds } from '../store/stores.ts'
import { TestClock } from '../support/clock.ts'
import { skipEpochComparison, skipMembershipCheck, skipRaise } from './backend-mutants.ts'
import { eachVerb, FAULTS, type Fault, failingBackend, type Verb } from './failing-backend.ts'
import type { BackendMutant } from './interleavings.ts'
import { newSid, newUser, ownerOf, registered, signIn, signInTimes, validOf, visit } from './requests.ts'

const CAP = 2
const combine = (verbs: readonly Verb[]) => verbs.flatMap((verb) => FAULTS.map((fault) => ({ verb, fault })))

/** A user with as many sessions as they may have, and stores that look at them in different ways. */
async function setUp(kind: StoreKind, mutant: BackendMutant = (backend) => backend) {
  const clock = new TestClock()
  const place = kind.place({ clock })
  const options = { maxSessionsPerUser: CAP, touchAfter: 0 }
  const store = place.over(place.backend(), options)
  const user = newUser()
  const sids = await signInTimes(store, user, CAP)
  // What is touched after this is due.
  await kind.pass(2, clock)
  return {
    user,
    sids,
    store,
    strict: place.over(mutant(place.backend()), { ...options, verifyOwner: 'always' }),
    roster: () => place.backend().registry.roster(ownerOf(user)),
    failing: (at: { verb: Verb; fault: Fault }) =>
      place.over(failingBackend(mutant(place.backend()), at), options),
    unregister: (sid: string) =>
      place.backend().registry.withdraw(ownerOf(user), { handles: [store.handle(sid)], departedTtlMs: 1 }),
  }
}

describe.each(storeKinds())('$name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  test('a place that is given up, and whose removal comes late, is not taken from the save that was tried again', async () => {
    const clock = new TestClock()
    const place = kind.place({ clock })
    // A fake: a real network cannot be told to deliver one command after a later one.
    const lateRemovals: (() => Promise<unknown>)[] = []
    let hasFailed = false
    const backend = eachVerb(place.backend(), async (verb, call) => {
      if (verb === 'put' && !hasFailed) {
        hasFailed = true
        throw new StoreUnavailableError('connection')
      }
      if (verb !== 'withdraw' || lateRemovals.length > 0) return call()
      lateRemovals.push(call)
      throw new OutcomeUnknownError('timeout')
    })
    const store = place.over(backend)
    const [user, sid] = [newUser(), newSid()]
    const session = generateSession(store, sid, { content: { userId: user } })
    await failureOf(store.set(sid, session))
    await kind.pass(1, clock)
    await store.set(sid, session)
    for (const remove of lateRemovals) await remove()

    expect(lateRemovals).toHaveLength(1)
    expect(await registered(store, user)).toEqual([store.handle(sid)])
  })

  describe.each(combine(['enroll', 'end', 'put', 'withdraw']))(
    'a sign-in whose step "$verb" $fault',
    (at) => {
      test('fails, says whether it may have been stored, and lets nobody in beyond the cap', async () => {
        const { user, sids, store, failing } = await setUp(kind)
        const sid = newSid()

        const failure = await failureOf(signIn(failing(at), user, sid))
        const valid = await validOf(store, [...sids, sid])

        expect(failure).toMatchObject({ status: 503 })
        expect(valid.length).toBeLessThanOrEqual(CAP)
        if (failure instanceof StoreUnavailableError) expect(valid).not.toContain(sid)
        if (valid.includes(sid)) expect(failure).toBeInstanceOf(OutcomeUnknownError)
      })

      test('leaves no living session that is not registered, and no displaced one after the next look', async () => {
        const { user, sids, store, failing, roster } = await setUp(kind)
        const sid = newSid()
        await failureOf(signIn(failing(at), user, sid))

        const listed = await registered(store, user)
        const { members, pending } = await roster()
        const valid = await validOf(store, [...sids, sid])

        expect(listed.toSorted()).toEqual(valid.map((each) => store.handle(each)).toSorted())
        // For a minute, a sign-in that registered and was never heard of again may still be under way.
        const isUnderWay = members.some(({ handle }) => handle === store.handle(sid)) && !valid.includes(sid)
        expect(await store.registry.count(user)).toBe(valid.length + (isUnderWay ? 1 : 0))
        expect(members.map(({ handle }) => handle)).toEqual(expect.arrayContaining(listed))
        expect(pending).toEqual([])
      })

      test('does not keep the next ones from being exactly as many as may be', async () => {
        const { user, sids, store, failing, roster } = await setUp(kind)
        const sid = newSid()
        await failureOf(signIn(failing(at), user, sid))

        const next = await signInTimes(store, user, CAP)
        const { members, pending } = await roster()

        expect(await validOf(store, [...sids, sid, ...next])).toEqual(next)
        expect(members.map(({ handle }) => handle)).toEqual(next.map((each) => store.handle(each)))
        expect(pending).toEqual([])
      })
    },
  )

  test.each(combine(['end', 'put']).filter(({ fault }) => fault === 'is refused'))(
    'a sign-in whose step "$verb" $fault takes nobody else the place',
    async (at) => {
      const { user, sids, store, failing } = await setUp(kind)
      await failureOf(signIn(failing(at), user))

      const next = await signIn(store, user)

      expect(await validOf(store, [...sids, next])).toEqual([sids[1], next])
    },
  )

  describe.each(combine(['raise', 'end', 'withdraw']))('an end of all whose step "$verb" $fault', (at) => {
    const isRaised = at.verb !== 'raise' || at.fault === 'loses its reply'

    test(`fails, and ${isRaised ? 'no strict look finds any of them' : 'nothing has happened'}`, async () => {
      const { user, sids, strict, failing } = await setUp(kind)

      const failure = await failureOf(failing(at).registry.endAll(user))

      expect(failure).toMatchObject({ status: 503 })
      expect(await validOf(strict, sids)).toEqual(isRaised ? [] : sids)
    })

    // Where nothing was raised, nothing has happened that a touch could find.
    if (isRaised) {
      test('ends each of them at the latest when it is touched', async () => {
        const { user, sids, store, failing } = await setUp(kind)
        await failureOf(failing(at).registry.endAll(user))

        for (const sid of await validOf(store, sids))
          expect(await failureOf(visit(store, sid))).toMatchObject({ code: 'ERR_SESSION_ENDED' })

        expect(await validOf(store, sids)).toEqual([])
        expect(await registered(store, user)).toEqual([])
      })
    }

    test('is completed when it is repeated', async () => {
      const { user, sids, store, failing, roster } = await setUp(kind)
      await failureOf(failing(at).registry.endAll(user))

      await store.registry.endAll(user)
      const { members, pending } = await roster()

      expect(await validOf(store, sids)).toEqual([])
      expect([...members, ...pending]).toEqual([])
    })
  })

  describe.each(combine(['roster', 'get', 'put', 'raise', 'end', 'withdraw']))(
    'an end of all others whose step "$verb" $fault',
    (at) => {
      test('spares the one, and ends the others once it is repeated', async () => {
        const { user, sids, store, strict, failing } = await setUp(kind)
        const [, spared = ''] = sids

        const failure = await failureOf(failing(at).registry.endAll(user, { except: { sid: spared } }))
        const meanwhile = await validOf(strict, [spared])
        await store.registry.endAll(user, { except: { sid: spared } })

        expect(failure).toMatchObject({ status: 503 })
        expect(meanwhile).toEqual([spared])
        expect(await validOf(strict, sids)).toEqual([spared])
        expect(await registered(store, user)).toEqual([store.handle(spared)])
      })
    },
  )

  const interrupted = { verb: 'end', fault: 'is never reached' } as const

  test.each([
    ['does not raise the epoch', skipRaise],
    ['does not compare epochs', skipEpochComparison],
  ])('an interrupted end of all ends nobody if the store %s', async (_, mutant) => {
    const { user, sids, strict, failing } = await setUp(kind, mutant)

    await failureOf(failing(interrupted).registry.endAll(user))

    expect(await validOf(strict, sids)).toEqual(sids)
  })

  test('a session that has lost its place in the registry is ended when it is looked at strictly', async () => {
    const { sids, store, strict, unregister } = await setUp(kind)
    const [lost = '', kept = ''] = sids
    await unregister(lost)

    expect(await validOf(strict, sids)).toEqual([kept])
    expect(await validOf(store, sids)).toEqual([kept])
    expect(await store.registry.ending({ sid: lost })).toMatchObject({
      reason: 'owner-mismatch',
      actor: { type: 'system' },
    })
  })

  test('a session that has lost its place in the registry is ended when it is touched', async () => {
    const { sids, store, unregister } = await setUp(kind)
    const [lost = '', kept = ''] = sids
    await unregister(lost)

    const failures = [await failureOf(visit(store, lost)), await failureOf(visit(store, kept))]

    expect(failures).toMatchObject([{ code: 'ERR_SESSION_ENDED' }, undefined])
    expect(await validOf(store, sids)).toEqual([kept])
    expect(await store.registry.ending({ sid: lost })).toMatchObject({
      reason: 'owner-mismatch',
      actor: { type: 'system' },
    })
  })

  test('a session that has lost its place in the registry lives on if the store does not ask for membership', async () => {
    const { sids, strict, unregister } = await setUp(kind, skipMembershipCheck)
    await unregister(sids[0] ?? '')

    expect(await validOf(strict, sids)).toEqual(sids)
  })
})
