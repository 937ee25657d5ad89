import { createHash } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { PAGE_SIZE } from '../../lib/backend/registry.ts'
import type { CommandArgument, ValkeyClient } from '../../lib/backend/valkey/connection/client.ts'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import { ValkeyBackend } from '../../lib/backend/valkey/valkey-backend.ts'
import { StoreUnavailableError } from '../../lib/errors.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { failureOf } from '../store/failure-of.ts'
import { createGate } from '../store/gate.ts'
import { generateSession } from '../store/live-session.ts'
import { SECRET } from '../store/parts-store.ts'
import { freshPrefix, storeKinds, ValkeyKind } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { TestClock } from '../support/clock.ts'
import { type Fault, failingBackend, type Verb } from './failing-backend.ts'
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

const MANY = 2 * PAGE_SIZE + 50
/** Members and pending handles of one page. */
const MOST_AT_ONCE = 2 * PAGE_SIZE

/** How many calls of `get` and `end` were under way at once, and how many there were. */
function watched(backend: Backend, failAt = Number.POSITIVE_INFINITY) {
  const seen = { most: 0, ends: 0 }
  let underWay = 0
  const during = async <Value>(call: () => Promise<Value>): Promise<Value> => {
    underWay += 1
    seen.most = Math.max(seen.most, underWay)
    try {
      return await call()
    } finally {
      underWay -= 1
    }
  }
  const wrapped = wrapBackend(backend, {
    get: (handle, maxBytes) => during(() => backend.get(handle, maxBytes)),
    end: (handle, ending) => {
      seen.ends += 1
      if (seen.ends > failAt) return Promise.reject(new Error('The process dies here'))
      return during(() => backend.end(handle, ending))
    },
  })
  return { seen, wrapped }
}

// A fake: a server's clock cannot be set, and nobody wants to wait for a minute.
function aMinuteLater(backend: Backend): Backend {
  return wrapRegistry(backend, {
    roster: async (owner, cursor) => {
      const roster = await backend.registry.roster(owner, cursor)
      const members = roster.members.map((member) => ({ ...member, seenAtMs: member.seenAtMs - 61_000 }))
      return { ...roster, members }
    },
  })
}

async function signInMany(store: SessionStore, user: string, count: number): Promise<string[]> {
  const sids = Array.from({ length: count }, newSid)
  for (let start = 0; start < count; start += 50)
    await Promise.all(sids.slice(start, start + 50).map((sid) => signIn(store, user, sid)))
  return sids
}

describe.each(storeKinds())('$name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  describe('a user with more sessions than a page', () => {
    const options = { maxSessionsPerUser: false } as const

    test(`has all ${MANY} ended by one call, page by page`, async () => {
      const place = kind.place()
      const { seen, wrapped } = watched(place.backend())
      const store = place.over(wrapped, options)
      const user = newUser()
      const sids = await signInMany(store, user, MANY)
      seen.most = 0

      const { ended } = await store.registry.endAll(user)

      expect(ended.toSorted()).toEqual(sids.map((sid) => store.handle(sid)).toSorted())
      expect(seen.most).toBeLessThanOrEqual(MOST_AT_ONCE)
      expect([await store.registry.count(user), await validOf(store, sids)]).toEqual([0, []])
    })

    test('has all but the excepted one ended, and those of the call that failed are not ended again', async () => {
      const place = kind.place()
      const dying = watched(place.backend(), PAGE_SIZE + 10)
      const store = place.over(place.backend(), options)
      const user = newUser()
      const sids = await signInMany(store, user, MANY)
      const [oldest = ''] = sids

      await failureOf(place.over(dying.wrapped, options).registry.endAll(user, { except: { sid: oldest } }))
      const { seen, wrapped } = watched(place.backend())
      await place.over(wrapped, options).registry.endAll(user, { except: { sid: oldest } })

      expect(await validOf(store, sids)).toEqual([oldest])
      expect(seen.ends).toBe(MANY - 1 - PAGE_SIZE - 10)
    })

    test('is listed newest first up to the limit, counted without a look at any session, and iterated', async () => {
      const place = kind.place()
      const { seen, wrapped } = watched(place.backend())
      const store = place.over(wrapped, options)
      const user = newUser()
      const sids = await signInTimes(store, user, MANY)
      const handles = sids.map((sid) => store.handle(sid)).toReversed()
      seen.most = 0

      expect(await store.registry.count(user)).toBe(MANY)
      expect(seen.most).toBe(0)
      expect(await registered(store, user)).toEqual(handles)
      const some = await store.registry.list(user, { limit: 120, current: { sid: sids.at(-1) ?? '' } })
      expect(some.map(({ handle, isCurrent }) => [handle, isCurrent])).toEqual(
        handles.slice(0, 120).map((handle, at) => [handle, at === 0]),
      )
      const iterated: string[] = []
      for await (const { handle } of store.registry.each(user)) iterated.push(handle)
      expect(iterated).toEqual(handles)
      expect(seen.most).toBeLessThanOrEqual(PAGE_SIZE)
    })

    test('is no more at once to a walk through all sessions', async () => {
      const place = kind.place()
      const { seen, wrapped } = watched(place.backend())
      const store = place.over(wrapped, options)
      await signInMany(store, newUser(), MANY)
      seen.most = 0

      expect(await store.all()).toHaveLength(MANY)
      await store.clear()

      expect(seen.most).toBeLessThanOrEqual(PAGE_SIZE)
      expect(await store.all()).toEqual([])
    })

    test('keeps exactly the last, once a cap is set that many are beyond', async () => {
      const place = kind.place()
      const { seen, wrapped } = watched(place.backend())
      const user = newUser()
      const sids = await signInMany(place.share(options), user, MANY)
      const store = place.over(wrapped, { maxSessionsPerUser: 2 })

      const [last, newest] = await signInTimes(store, user, 2)

      expect(seen.most).toBeLessThanOrEqual(MOST_AT_ONCE)
      expect(await validOf(store, [...sids, last ?? '', newest ?? ''])).toEqual([last, newest])
    })

    test('has at most 1,000 by default, and any number with `false`', () => {
      const place = kind.place()
      for (const wrong of [0, 10_001, true, null, '5'])
        expect(() => place.open({ maxSessionsPerUser: wrong as never })).toThrow(/maxSessionsPerUser/)
      expect(() => place.open({ maxSessionsPerUser: false })).not.toThrow()
    })

    test.each([0, 10_001, 1.5, '5'])('is not listed with a limit of %s', (limit) => {
      const { registry } = kind.place().share()
      expect(() => registry.list('alice', { limit: limit as never })).toThrow(/limit/)
    })
  })

  describe('a sign-in that dies after it registered', () => {
    const SHORT_MS = 200

    /** Stores that give a place up sooner than a minute. */
    function impatient(options: SessionStoreOptions) {
      const clock = new TestClock()
      const place = kind.place({ clock })
      const sooner = (backend: Backend) =>
        wrapRegistry(backend, {
          enroll: (owner, enrolment) =>
            backend.registry.enroll(owner, { ...enrolment, takenWithinMs: SHORT_MS }),
        })
      return {
        store: place.over(sooner(place.backend()), options),
        failing: (at: { verb: Verb; fault: Fault }) =>
          place.over(failingBackend(sooner(place.backend()), at), options),
        over: (backend: (inner: Backend) => Backend) => place.over(backend(sooner(place.backend())), options),
        pass: (ms = SHORT_MS + 50) => kind.pass(ms, clock),
      }
    }
    const dying = { verb: 'put', fault: 'is never reached' } as const

    test('takes nobody the place when its time is up, where more are refused', async () => {
      const { store, failing, pass } = impatient({ maxSessionsPerUser: 1, onMaxSessions: 'reject' })
      const user = newUser()
      await failureOf(signIn(failing(dying), user))
      expect(await failureOf(signIn(store, user))).toMatchObject({ code: 'ERR_SESSION_LIMIT' })
      await pass()

      expect(await store.registry.count(user)).toBe(0)
      const sid = await signIn(store, user)
      expect(await validOf(store, [sid])).toEqual([sid])
      await pass()
      expect(await failureOf(signIn(store, user))).toMatchObject({ code: 'ERR_SESSION_LIMIT' })
    })

    test('costs no session its place when its time is up, where the oldest goes', async () => {
      const { store, failing, pass } = impatient({ maxSessionsPerUser: 2 })
      const user = newUser()
      const first = await signIn(store, user)
      await failureOf(signIn(failing(dying), user))
      await pass()

      const second = await signIn(store, user)

      expect(await validOf(store, [first, second])).toEqual([first, second])
      expect(await store.registry.count(user)).toBe(2)
    })

    test('stores nothing if it turns out to be alive after its place was given up', async () => {
      const { store, over, pass } = impatient({ maxSessionsPerUser: 1 })
      const user = newUser()
      let goOn = () => {}
      const held = new Promise<void>((resolve) => (goOn = resolve))
      let hasBegun = () => {}
      const begun = new Promise<void>((resolve) => (hasBegun = resolve))
      const slow = over((inner) =>
        wrapBackend(inner, {
          put: async (handle, write) => {
            hasBegun()
            await held
            return inner.put(handle, write)
          },
        }),
      )
      const late = newSid()
      const saving = failureOf(signIn(slow, user, late))
      await begun
      await pass()
      const sid = await signIn(store, user)
      goOn()

      expect(await saving).toMatchObject({ code: 'ERR_SESSION_ENDED' })
      expect(await validOf(store, [late, sid])).toEqual([sid])
      expect(await registered(store, user)).toEqual([store.handle(sid)])
    })

    test('and stored its session has its place once the save is repeated', async () => {
      const { store, over, pass } = impatient({ maxSessionsPerUser: 2 })
      const [user, sid] = [newUser(), newSid()]
      let isRefused = false
      const failing = over((inner) =>
        wrapRegistry(inner, {
          withdraw: async (owner, withdrawal) => {
            if (withdrawal.taken === undefined || isRefused) return inner.registry.withdraw(owner, withdrawal)
            isRefused = true
            throw new StoreUnavailableError('connection')
          },
        }),
      )
      const live = generateSession(failing, sid, { content: { userId: user } })
      expect(await failureOf(failing.set(sid, live))).toMatchObject({ code: 'ERR_STORE_OUTCOME_UNKNOWN' })
      await failing.set(sid, live)
      await pass()

      const newest = await signIn(store, user)

      expect(await validOf(store, [sid, newest])).toEqual([sid, newest])
      expect(await store.registry.count(user)).toBe(2)
    })

    test.each(['a new session', 'a session that was there before'])(
      'and is held up for longer is registered when it stores %s, though its user looked meanwhile',
      async (what) => {
        const { store, over, pass } = impatient({ maxSessionsPerUser: 2 })
        const [user, sid] = [newUser(), newSid()]
        if (what !== 'a new session') await store.set(sid, generateSession(store, sid))
        const [hasBegun, goOn] = [createGate(), createGate()]
        const slow = over((inner) =>
          wrapBackend(inner, {
            put: async (handle, write) => {
              hasBegun.open()
              await goOn.opened
              return inner.put(handle, write)
            },
          }),
        )
        const saving = what === 'a new session' ? signIn(slow, user, sid) : edit(slow, sid, { userId: user })
        await hasBegun.opened
        await pass()
        const looking = over((inner) => aMinuteLater(inner))
        const seen = [await registered(looking, user), await looking.registry.count(user)]
        goOn.open()
        await saving

        expect(seen).toEqual([[], 0])
        expect(await registered(store, user)).toEqual([store.handle(sid)])
        expect(await store.registry.count(user)).toBe(1)
      },
    )

    test('and stored its session is ended before the next takes its place, unless it was used', async () => {
      const { store, failing, pass } = impatient({ maxSessionsPerUser: 2, touchAfter: 0 })
      const user = newUser()
      const [unused, used] = [newSid(), newSid()]
      for (const sid of [unused, used])
        await failureOf(signIn(failing({ verb: 'withdraw', fault: 'is never reached' }), user, sid))
      expect(await validOf(store, [unused, used])).toEqual([unused, used])
      // Makes a touch due.
      await pass(20)
      await visit(store, used)
      await pass()

      const newest = await signIn(store, user)

      expect(await validOf(store, [unused, used, newest])).toEqual([used, newest])
      expect((await store.registry.ending({ sid: unused }))?.reason).toBe('evicted')
    })
  })
})

describe('a registry that somebody else filled', () => {
  const PLANTED = 3000
  const kind = new ValkeyKind()
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  /** A client that notes how many parts the largest reply had. */
  function measuring(client: ValkeyClient) {
    const seen = { parts: 0 }
    const partsOf = (reply: unknown): number =>
      Array.isArray(reply) ? reply.reduce((sum: number, part) => sum + partsOf(part), 0) : 1
    const callBuffer = async (command: string, ...args: CommandArgument[]): Promise<unknown> => {
      const reply = await client.callBuffer(command, ...args)
      seen.parts = Math.max(seen.parts, partsOf(reply))
      return reply
    }
    const measured = new Proxy(client, {
      get(target, name) {
        if (name === 'callBuffer') return callBuffer
        const member: unknown = Reflect.get(target, name)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
    return { seen, measured }
  }

  const planting = `for at = 1, ${PLANTED} do
    local name = ARGV[1] == 'handles' and string.format('%043d', at) or 'x' .. at
    local order = ARGV[2] == 'one' and 5 or ARGV[2] == 'infinite' and (at % 2 == 0 and '-inf' or '+inf') or at
    redis.call('ZADD', KEYS[1], order, name)
    if KEYS[2] then redis.call('ZADD', KEYS[2], ARGV[3], name) end
  end`
  const [NEVER, LONG_AGO] = ['9999999999999', '1']

  describe.each(['handles', 'names that are none'])('with %s', (what) => {
    test.each([
      ['members', ['o', 'x'], 'each', NEVER],
      ['members of one order', ['o', 'x'], 'one', NEVER],
      ['members of infinite order', ['o', 'x'], 'infinite', NEVER],
      ['members that have expired', ['o', 'x'], 'each', LONG_AGO],
      ['members that were not taken', ['u', 'x'], 'each', NEVER],
      ['pending ones', ['p'], 'one', NEVER],
      ['departed ones', ['d'], 'each', NEVER],
    ] as const)('as %s, is worked on piece by piece', async (_, letters, orders, expiry) => {
      const prefix = freshPrefix()
      const { seen, measured } = measuring(kind.client)
      const timing = { connectTimeoutMs: 10_000, commandTimeoutMs: 10_000, retries: 1 }
      const store = new ValkeyStore({ client: measured, prefix, ...timing, secrets: [SECRET] })
      const user = newUser()
      const sid = await signIn(store, user)
      const keys = createKeys(prefix).registry(ownerOf(user))
      const names = ['o', 'x', 'p', 's', 'd', 'u']
      const planted = letters.map((letter) => keys[names.indexOf(letter)] ?? '')
      await kind.client.callBuffer('eval', planting, planted.length, ...planted, what, orders, expiry)

      const { registry } = store
      await registry.list(user, { limit: 10, includeEnded: true })
      await registry.count(user)
      await visit(store, sid)
      // One step each of what may take many.
      const inner = new ValkeyBackend({ client: measured, prefix, maxBlobBytes: 65_536, ...timing })
      await inner.registry.raise(ownerOf(user), { keepMs: 60_000 })
      const applicant = { handle: store.handle(newSid()), ttlMs: 60_000, takenWithinMs: 60_000 }
      const reply = await inner.registry.enroll(ownerOf(user), { ...applicant, cap: 100, beyondCap: 'evict' })
      await registry.end({ sid })

      expect(['enrolled', 'crowded']).toContain(reply.answer)
      // A member has five parts.
      expect(seen.parts).toBeLessThanOrEqual(8 * PAGE_SIZE)
      await Promise.all([inner.close(), store.close()])
    })
  })

  test('with members that have expired, has room for who signs in before all are swept, and counts exactly', async () => {
    const prefix = freshPrefix()
    const timing = { connectTimeoutMs: 10_000, commandTimeoutMs: 10_000, retries: 1 }
    const backend = new ValkeyBackend({ client: kind.client, prefix, maxBlobBytes: 65_536, ...timing })
    const owner = ownerOf(newUser())
    const [orders = '', expiries = ''] = createKeys(prefix).registry(owner)
    await kind.client.callBuffer('eval', planting, 2, orders, expiries, 'handles', 'each', LONG_AGO)
    const handles = Array.from({ length: 4 }, () => createHash('sha256').update(newSid()).digest('base64url'))
    const enroll = (at: number, beyondCap: 'evict' | 'refuse') =>
      backend.registry.enroll(owner, {
        handle: handles[at] ?? '',
        ttlMs: 60_000,
        takenWithinMs: 60_000,
        cap: 2,
        beyondCap,
      })

    expect((await enroll(0, 'evict')).answer).toBe('enrolled')
    expect((await enroll(1, 'refuse')).answer).toBe('enrolled')
    expect((await enroll(2, 'refuse')).answer).toBe('full')
    let reply = await enroll(3, 'evict')
    for (let round = 0; reply.answer === 'crowded' && round < PLANTED / PAGE_SIZE; round += 1) {
      expect(reply.pending).toEqual([])
      reply = await enroll(3, 'evict')
    }
    expect(reply).toMatchObject({ answer: 'enrolled', pending: [handles[0]] })
    await backend.close()
  })
})
