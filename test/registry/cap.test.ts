import { setImmediate as nextTurn } from 'node:timers/promises'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { contentOf, createApp, handled, listen, type Running, save } from '../store/app.ts'
import { Browser } from '../store/browser.ts'
import { failureOf } from '../store/failure-of.ts'
import { type Place, type StoreKind, storeKinds, ValkeyKind, type ValkeyPlace } from '../store/stores.ts'
import { edit, newSid, newUser, ownerOf, registered, signIn, signInTimes, validOf } from './requests.ts'

/** Everything that stands in a place about some sessions and a user. */
async function everything(
  kind: StoreKind,
  place: Place,
  { user, sids }: { user: string; sids: readonly string[] },
): Promise<unknown> {
  if (kind instanceof ValkeyKind) {
    const keys = (await kind.client.callBuffer('keys', `${(place as ValkeyPlace).prefix}:*`)) as Buffer[]
    return Promise.all(
      keys.sort(Buffer.compare).map(async (key) => [String(key), await kind.client.callBuffer('dump', key)]),
    )
  }
  const backend = place.backend()
  const handles = sids.map((sid) => place.share().handle(sid))
  const records = handles.map((handle) => Promise.all([backend.get(handle, 65_536), backend.ending(handle)]))
  return [await Promise.all(records), await backend.registry.roster(ownerOf(user))]
}

describe.each(storeKinds())('$name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  test('five sign-ins and sign-outs, ten times over, never end the one living older session at cap 5', async () => {
    const store = kind.place().open({ maxSessionsPerUser: 5 })
    const user = newUser()
    const older = await signIn(store, user)
    for (let round = 1; round <= 10; round += 1) {
      for (const sid of await signInTimes(store, user, 4)) await store.destroy(sid)
      await store.destroy(await signIn(store, user))
    }

    expect(await validOf(store, [older])).toEqual([older])
    expect(await registered(store, user)).toEqual([store.handle(older)])
  })

  test('the oldest is ended first, whatever order they were used in', async () => {
    const store = kind.place().open({ maxSessionsPerUser: 3 })
    const user = newUser()
    const sids = await signInTimes(store, user, 3)
    await edit(store, sids[0] ?? '', { used: 'last' })

    const next = await signIn(store, user)

    expect(await validOf(store, [...sids, next])).toEqual([sids[1], sids[2], next])
    expect(await store.registry.ending({ sid: sids[0] ?? '' })).toMatchObject({
      reason: 'evicted',
      actor: { type: 'system' },
    })
  })

  test('a cap that was lowered holds from the next sign-in on', async () => {
    const place = kind.place()
    const user = newUser()
    const sids = await signInTimes(place.share({ maxSessionsPerUser: 5 }), user, 5)
    const store = place.share({ maxSessionsPerUser: 2 })

    const next = await signIn(store, user)

    expect(await validOf(store, [...sids, next])).toEqual([sids[4], next])
  })

  test('an eviction is told once, to the store that does it', async () => {
    const place = kind.place()
    const [one, other] = [place.share({ maxSessionsPerUser: 1 }), place.share({ maxSessionsPerUser: 1 })]
    const told: unknown[] = []
    one.on('session-ended', (facts) => told.push(['one', facts]))
    other.on('session-ended', (facts) => told.push(['other', facts]))
    const user = newUser()
    const first = await signIn(one, user)

    await signIn(other, user)
    await one.registry.list(user)
    await nextTurn()

    expect(told).toEqual([['other', { handle: one.handle(first), reason: 'evicted' }]])
  })

  describe('with "reject"', () => {
    const options = { maxSessionsPerUser: 2, onMaxSessions: 'reject' } as const

    test('one sign-in too many fails and leaves everything as it was', async () => {
      const place = kind.place()
      const store = place.share(options)
      const user = newUser()
      const sids = [...(await signInTimes(store, user, 2)), newSid()]
      const before = await everything(kind, place, { user, sids })

      const failure = await failureOf(signIn(store, user, sids[2]))

      expect(failure).toMatchObject({ code: 'ERR_SESSION_LIMIT', status: 409, maxSessionsPerUser: 2 })
      expect(await everything(kind, place, { user, sids })).toEqual(before)
      expect(await validOf(store, sids)).toEqual(sids.slice(0, 2))
    })

    test('a session that would come to the user from another one stays where it is', async () => {
      const store = kind.place().open(options)
      const [user, other] = [newUser(), newUser()]
      await signInTimes(store, user, 2)
      const foreign = await signIn(store, other)

      const failure = await failureOf(edit(store, foreign, { userId: user }))

      expect(failure).toMatchObject({ code: 'ERR_SESSION_LIMIT' })
      expect(await registered(store, other)).toEqual([store.handle(foreign)])
      expect(await store.get(foreign)).toMatchObject({ userId: other })
    })

    test('a sign-out makes room for exactly one', async () => {
      const store = kind.place().open(options)
      const user = newUser()
      const [gone = '', kept = ''] = await signInTimes(store, user, 2)
      await store.destroy(gone)

      const next = await signIn(store, user)

      expect(await failureOf(signIn(store, user))).toMatchObject({ code: 'ERR_SESSION_LIMIT' })
      expect(await validOf(store, [gone, kept, next])).toEqual([kept, next])
    })

    test('of 50 sign-ins at once as many succeed as may be', async () => {
      const place = kind.place()
      const stores = [place.share(options), place.share(options)] as const
      const user = newUser()
      const sids = Array.from({ length: 50 }, newSid)

      const failures = await Promise.all(
        sids.map((sid, at) => failureOf(signIn(at % 2 === 0 ? stores[0] : stores[1], user, sid))),
      )

      const granted = sids.filter((_, at) => failures[at] === undefined)
      expect(granted).toHaveLength(2)
      expect(await validOf(stores[0], sids)).toEqual(granted)
      expect(failures.filter((failure) => failure !== undefined)).toMatchObject(
        Array.from({ length: 48 }, () => ({ code: 'ERR_SESSION_LIMIT' })),
      )
    })

    test('a visitor who is refused is told so with 409 and gets no session', async () => {
      const store = kind.place().open(options)
      const user = newUser().replace(' ', '-')
      await signInTimes(store, user, 2)
      const app = await listen(
        createApp({
          store,
          routes: (routes) =>
            routes.post(
              '/log-in/:user',
              handled(async (req, res) => {
                contentOf(req)['userId'] = req.params['user']
                await save(req)
                res.json({})
              }),
            ),
        }),
      )
      running.push(app)
      const browser = new Browser(app.origin)

      const page = await browser.post(`/log-in/${user}`)

      expect(page).toMatchObject({ status: 409, body: { code: 'ERR_SESSION_LIMIT' } })
      expect((await browser.get('/content')).body).toEqual({})
      expect(await store.registry.count(user)).toBe(2)
    })
  })
})
