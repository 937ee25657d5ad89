import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { OutcomeUnknownError, StoreUnavailableError } from '../../lib/errors.ts'
import { handleOf, ownerName } from '../../lib/session/names.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { createGate } from '../store/gate.ts'
import { SECRET } from '../store/parts-store.ts'
import { type Place, storeKinds } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { TestClock } from '../support/clock.ts'
import { type AuthSite, bearer, type StatefulSite, statefulSite } from './auth-site.ts'

const ROUNDS = inject('suite') === 'long' ? 200 : 20
const EACH_CLASS = inject('suite') === 'long' ? 50 : 10
const SIDE_BY_SIDE = 50
const DEAD = { error: 'invalid_grant', error_code: 'refresh_token_not_found' }
const OTHER_SECRET = 'another secret of the tests, never used outside'

const handleOfToken = (token: string): string => handleOf(token.split('.')[1]) ?? ''
const generationOf = (token: string): number => Number(token.split('.')[2])

/** Refreshes a number of times, one after the other, and returns all tokens, the first included. */
async function chain({ refresh }: AuthSite, first: string, length: number): Promise<string[]> {
  const tokens = [first]
  for (let at = 0; at < length; at += 1) tokens.push((await refresh(tokens[at] ?? '')).body.refresh_token)
  return tokens
}

async function isAlive({ refresh }: AuthSite, token: string): Promise<boolean> {
  return (await refresh(token)).status === 200
}

describe.each(storeKinds())('Refresh tokens of a store $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const siteOf = (store: SessionStore, options: Partial<Parameters<typeof statefulSite>[0]> = {}) =>
    statefulSite({ issuer: 'https://app.example/auth', ...options, store })

  interface Scene extends StatefulSite {
    readonly place: Place
    readonly clock: TestClock
  }

  // Short graces, as the server's clock only moves in truth.
  async function scene(refreshGrace = 30): Promise<Scene> {
    const clock = new TestClock()
    const place = kind.place({ clock })
    const site = await siteOf(place.share(), {
      refreshGrace,
      clock: { now: () => Math.max(clock.now(), Date.now()) },
    })
    return { ...site, place, clock }
  }

  test('are spent one after the other, each for the next', async () => {
    const site = await scene()
    const { refresh_token: first } = await site.signIn('alice')
    const tokens = await chain(site, first, 5)

    expect(tokens.map(generationOf)).toEqual([0, 1, 2, 3, 4, 5])
    expect(new Set(tokens.map(handleOfToken)).size).toBe(1)
  })

  test(`that ${SIDE_BY_SIDE} requests present at once come to one successor, ${ROUNDS} times`, async () => {
    const clock = new TestClock()
    const place = kind.place({ clock })
    const sites = [await siteOf(place.share()), await siteOf(place.share())] as const
    let { refresh_token: token } = await sites[0].signIn('alice')
    for (let round = 0; round < ROUNDS; round += 1) {
      const replies = await Promise.all(
        Array.from({ length: SIDE_BY_SIDE }, async (_, at) => {
          const site = sites[at % 2] ?? sites[0]
          // A reply of 503 asks for a repeat.
          for (;;) {
            const reply = await site.refresh(token)
            if (reply.status !== 503) return reply
          }
        }),
      )
      expect(replies.map(({ status }) => status)).toEqual(replies.map(() => 200))
      const successors = new Set(replies.map(({ body }) => body.refresh_token))
      expect(successors.size).toBe(1)
      token = [...successors][0] ?? ''
      expect(generationOf(token)).toBe(round + 1)
    }
  })

  test('come back with the same successor within their grace, which no use extends', async () => {
    const graceS = 6
    const site = await scene(graceS)
    const { refresh_token: first } = await site.signIn('alice')
    const [, second, third = ''] = await chain(site, first, 2)

    // A grandparent, as of a third tab, gets the current one.
    expect((await site.refresh(first)).body.refresh_token).toBe(third)
    expect((await site.refresh(second ?? '')).body.refresh_token).toBe(third)
    await kind.pass(graceS * 400, site.clock)
    expect((await site.refresh(first)).body.refresh_token).toBe(third)
    await kind.pass(graceS * 700, site.clock)
    expect((await site.refresh(first)).body).toMatchObject(DEAD)
    expect((await site.refresh(third)).body).toMatchObject(DEAD)
  })

  describe('end their session when they come back late', () => {
    test.each([
      { name: 'the parent', from: 3, presented: 'late-parent' },
      { name: 'an older one', from: 1, presented: 'stale' },
    ])(`$name, ${EACH_CLASS} times`, async ({ from, presented }) => {
      const clock = new TestClock()
      const store = kind.place({ clock }).share()
      const events: unknown[] = []
      store.on('refresh-reused', ({ presented: word }) => events.push(word))
      const site = await siteOf(store, { refreshGrace: 0 })
      for (let round = 0; round < EACH_CLASS; round += 1) {
        const { refresh_token: first } = await site.signIn(`alice ${round}`)
        const tokens = await chain(site, first, 4)
        const { status, body } = await site.refresh(tokens[from] ?? '')
        expect([status, body]).toEqual([400, expect.objectContaining(DEAD)])
        expect(await isAlive(site, tokens[4] ?? '')).toBe(false)
        expect((await store.registry.ending({ handle: handleOfToken(first) }))?.reason).toBe('refresh-reused')
      }
      expect(events).toEqual(Array.from({ length: EACH_CLASS }, () => presented))
    })
  })

  test('that nobody issued are refused without asking the store', async () => {
    const place = kind.place({ clock: new TestClock() })
    const real = await siteOf(place.share())
    const { refresh_token: token } = await real.signIn('alice')
    const refuse = async (): Promise<never> => Promise.reject(new StoreUnavailableError('asked'))
    // A fake that fails: any call would be 503.
    const site = await siteOf(
      place.over(wrapBackend(place.backend(), { get: refuse, put: refuse, end: refuse, now: refuse })),
    )
    const [kid = '', id = '', gen = '', mac = ''] = token.split('.')
    const last = mac.at(-1) ?? ''
    const sibling = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    const forgeries = [
      '',
      'x',
      `${kid}.${id}.${gen}`,
      `${kid}.${id}.1.${mac}`,
      `${kid}.${id}.00.${mac}`,
      `${kid}.${'A'.repeat(32)}.${gen}.${mac}`,
      `${'A'.repeat(11)}.${id}.${gen}.${mac}`,
      `${token}=`,
      `${token}.`,
      ` ${token}`,
      // The same bits, said otherwise.
      `${kid}.${id}.${gen}.${mac.slice(0, -1)}${sibling[sibling.indexOf(last) ^ 1] ?? ''}`,
      `${kid}.${id}.${gen}.${mac.split('').reverse().join('')}`,
    ]
    for (const forgery of forgeries.filter((one) => one !== '')) {
      const { status, body } = await site.refresh(forgery)
      expect([forgery, status, body]).toEqual([forgery, 400, expect.objectContaining(DEAD)])
    }
    expect((await site.refresh(token)).status).toBe(503)
    expect(await isAlive(real, token)).toBe(true)
  })

  test('are the same again where the reply of the write was lost', async () => {
    const place = kind.place({ clock: new TestClock() })
    const real = await siteOf(place.share())
    const backend = place.backend()
    // A fake that loses replies: the write is applied.
    const lossy = wrapBackend(backend, {
      put: async (handle, write) => {
        await backend.put(handle, write)
        throw new OutcomeUnknownError('timeout')
      },
    })
    const site = await siteOf(place.over(lossy))
    let { refresh_token: token } = await real.signIn('alice')
    for (let round = 0; round < ROUNDS; round += 1) {
      const lost = await site.refresh(token)
      expect([lost.status, lost.headers.get('retry-after')]).toEqual([503, '1'])
      const again = await site.refresh(token)
      const once = await real.refresh(token)
      expect([again.status, again.body.refresh_token]).toEqual([200, once.body.refresh_token])
      token = again.body.refresh_token
    }
    expect(generationOf(token)).toBe(ROUNDS)
  })

  test('are never set back by a request that was held up', async () => {
    const place = kind.place({ clock: new TestClock() })
    const store = place.share()
    const ahead: unknown[] = []
    store.on('refresh-ahead', (event) => ahead.push(event))
    const real = await siteOf(store)
    const backend = place.backend()
    const held = createGate()
    const writing = createGate()
    // A fake that holds writes up until others have come in between.
    const slow = wrapBackend(backend, {
      put: async (handle, write) => {
        writing.open()
        await held.opened
        return backend.put(handle, write)
      },
    })
    const site = await siteOf(place.over(slow))
    const { refresh_token: token } = await real.signIn('alice')
    const late = site.refresh(token)
    await writing.opened
    const [, , second = ''] = await chain(real, token, 2)
    held.open()

    expect((await late).body.refresh_token).toBe(second)
    expect(generationOf((await real.refresh(second)).body.refresh_token)).toBe(3)
    expect(ahead).toEqual([])
  })

  test('of a session that has lost its place in the registry end it', async () => {
    for (const isSpent of [false, true]) {
      const site = await scene()
      const { refresh_token: token } = await site.signIn('alice')
      if (isSpent) await site.refresh(token)
      const handles = [handleOfToken(token)]
      await site.place.backend().registry.withdraw(ownerName('alice'), { handles, departedTtlMs: 1 })

      expect((await site.refresh(token)).body).toMatchObject(DEAD)
      expect((await site.auth.registry.ending({ handle: handleOfToken(token) }))?.reason).toBe(
        'owner-mismatch',
      )
    }
  })

  test('go on after the store has lost writes, and then end the session if an older one comes', async () => {
    const clock = new TestClock()
    const place = kind.place({ clock })
    const store = place.share()
    const events: unknown[] = []
    store.on('refresh-ahead', (event) => events.push(event))
    const site = await siteOf(store, { refreshGrace: 0 })
    const { refresh_token: first } = await site.signIn('alice')
    const tokens = await chain(site, first, 2)
    const handle = handleOfToken(first)
    const before = await place.backend().get(handle, 65_536)
    const later = await chain(site, tokens[2] ?? '', 3)
    if (typeof before !== 'object') throw new Error('There is no record')
    await rollBack(place.backend(), handle, before.blob)

    const ahead = await site.refresh(later[3] ?? '')
    expect(ahead.status).toBe(200)
    expect(generationOf(ahead.body.refresh_token)).toBe(6)
    expect(events).toEqual([{ handle }])
    expect((await site.refresh(later[1] ?? '')).body).toMatchObject(DEAD)
    expect(await isAlive(site, ahead.body.refresh_token)).toBe(false)
  })

  test('have one successor while the secrets change, on nodes with either order', async () => {
    const place = kind.place({ clock: new TestClock() })
    const [old, middle, next] = await Promise.all([
      siteOf(place.share({ secrets: [SECRET, OTHER_SECRET] })),
      siteOf(place.share({ secrets: [OTHER_SECRET, SECRET] })),
      siteOf(place.share({ secrets: [OTHER_SECRET] })),
    ])
    const { refresh_token: token } = await old.signIn('alice')
    const replies = await Promise.all(
      Array.from({ length: 20 }, (_, at) => (at % 2 === 0 ? old : middle).refresh(token)),
    )
    const successors = new Set(
      replies.filter(({ status }) => status === 200).map(({ body }) => body.refresh_token),
    )
    expect(successors.size).toBe(1)
    const { refresh_token: current } = (await middle.refresh([...successors][0] ?? '')).body
    expect(await isAlive(next, current)).toBe(true)
  })

  test(`never outlive a sign-out that meets them, ${ROUNDS} times`, async () => {
    const site = await scene()
    for (let round = 0; round < ROUNDS; round += 1) {
      const user = `alice ${round}`
      const { refresh_token: token } = await site.signIn(user)
      const [replies] = await Promise.all([
        Promise.all(Array.from({ length: 4 }, () => site.refresh(token))),
        round % 2 === 0
          ? site.auth.registry.endAll(user)
          : site.auth.registry.end({ handle: handleOfToken(token) }),
      ])
      expect(replies.map(({ status }) => status).filter((status) => ![200, 400].includes(status))).toEqual([])
      const given = replies.filter(({ status }) => status === 200).map(({ body }) => body.refresh_token)
      for (const one of [token, ...given]) expect(await isAlive(site, one)).toBe(false)
    }
  })

  test('expire when they are not used, and for certain at the hard end', async () => {
    const clock = new TestClock()
    const options = { refreshTtl: 5, absoluteTtl: 8, clock }
    const site = await siteOf(kind.place({ clock }).share(), options)
    const idle = await site.signIn('alice')
    const used = await site.signIn('alice')
    expect(idle.expires_in).toBeLessThanOrEqual(5)
    await kind.pass(3000, clock)
    const { refresh_token: second } = (await site.refresh(used.refresh_token)).body
    await kind.pass(2500, clock)
    expect(await isAlive(site, idle.refresh_token)).toBe(false)
    const { refresh_token: third, expires_in: expiresIn } = (await site.refresh(second)).body
    expect(expiresIn).toBeLessThanOrEqual(3)
    await kind.pass(3000, clock)
    expect(await isAlive(site, third)).toBe(false)
  })

  test('are 503 in an outage and live on', async () => {
    const place = kind.place({ clock: new TestClock() })
    const real = await siteOf(place.share())
    const { refresh_token: token, access_token: access } = await real.signIn('alice')
    const refuse = async (): Promise<never> => Promise.reject(new StoreUnavailableError('connection'))
    for (const verb of ['get', 'put', 'now'] as const) {
      const site = await siteOf(place.over(wrapBackend(place.backend(), { [verb]: refuse })))
      const { status, headers, body } = await site.refresh(token)
      expect([verb, status, headers.get('retry-after')]).toEqual([verb, 503, '1'])
      expect(body).toMatchObject({ error: 'temporarily_unavailable' })
      if (verb === 'get') expect((await site.send('/live', bearer(access))).status).toBe(503)
    }
    expect(await isAlive(real, token)).toBe(true)
  })
})

/** Puts an older version of a record back, as a failover to a replica that lags does it. */
async function rollBack(backend: Backend, handle: string, blob: Buffer): Promise<void> {
  const { answer } = await backend.put(handle, {
    blob,
    owner: ownerName('alice'),
    expect: { kind: 'any' },
    ttlMs: 60_000,
  })
  expect(answer).toBe('stored')
}
