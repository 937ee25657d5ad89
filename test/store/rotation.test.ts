import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SessionStore } from '../../lib/store/store.ts'
import { TestClock } from '../support/clock.ts'
import { createApp, listen, type Running } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { createGate } from './gate.ts'
import { generateSession, loadedSession, storedContent } from './live-session.ts'
import { SECRET as A } from './parts-store.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const B = 'the secret that comes after, as long as it has to be'
const MAX_BYTES = 100_000
const USERS = 12

const steps = [
  { secrets: [A], name: '[A]' },
  { secrets: [A, B], name: '[A, B]' },
  { secrets: [B, A], name: '[B, A]' },
  { secrets: [B], name: '[B]' },
]

// Apart from the user, who each request sees: is somebody signed in, and is every value that was set still there?
interface Visitor {
  readonly browser: Browser
  readonly user: string
  sets: number
}

async function visit(visitor: Visitor): Promise<string | undefined> {
  const name = `k${visitor.sets}`
  visitor.sets += 1
  await visitor.browser.post(`/set/${name}/x`)
  const { body } = await visitor.browser.get('/content')
  const expected = {
    user: visitor.user,
    ...Object.fromEntries(Array.from({ length: visitor.sets }, (_, at) => [`k${at}`, 'x'])),
  }
  return JSON.stringify(sorted(body)) === JSON.stringify(sorted(expected))
    ? undefined
    : `${visitor.user} got ${JSON.stringify(body)}`
}

const sorted = (content: unknown) =>
  Object.entries(content as object).sort(([one], [other]) => (one < other ? -1 : 1))

describe.each(storeKinds())('rotating secrets $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  test('signs nobody out and loses nothing over three instances under traffic', async () => {
    const place = kind.place()
    // Behind a load balancer, each instance is restarted with the next list of secrets while the others serve.
    const instances: Running[] = []
    const startInstance = (secrets: readonly string[]) =>
      listen(createApp({ store: place.share({ secrets, touchAfter: 0 }) }))
    for (let at = 0; at < 3; at += 1) instances.push(await startInstance([A]))
    const origins = instances.map(({ origin }) => origin)
    const visitors = Array.from(
      { length: USERS },
      (_, at): Visitor => ({ browser: new Browser(...origins), user: `user${at}`, sets: 0 }),
    )
    await Promise.all(visitors.map(({ browser, user }) => browser.post(`/sign-in/${user}`)))

    const complaints: string[] = []
    let visits = 0
    for (const { secrets } of steps.slice(1)) {
      for (let at = 0; at < 3; at += 1) {
        const next = await startInstance(secrets)
        origins[at] = next.origin
        const old = instances.splice(at, 1, next)[0]
        for (const visitor of visitors) visitor.browser.turnTo(...origins)
        const seen = await Promise.all(visitors.map(visit))
        visits += seen.length
        complaints.push(...seen.filter((complaint) => complaint !== undefined))
        await old?.close()
      }
    }
    const atLast = await Promise.all(visitors.map(visit))
    await Promise.all(instances.map((instance) => instance.close()))

    expect(visits).toBe(9 * USERS)
    expect([...complaints, ...atLast.filter((complaint) => complaint !== undefined)]).toEqual([])
  })

  test('seals a session anew on its next due touch, and not on one that is not due', async () => {
    const clock = new TestClock()
    const place = kind.place({ clock })
    const before = place.share({ secrets: [A] })
    await before.set('sid', generateSession(before, 'sid', { content: { user: 'alice' } }))
    const rotated = place.share({ secrets: [B, A], ttl: 10, touchAfter: 1 })
    const after = place.share({ secrets: [B] })
    const touch = async (store: SessionStore) => store.touch('sid', await loadedSession(store, 'sid'))

    const soon = place.share({ secrets: [B, A] })
    await touch(soon)
    expect(await after.get('sid')).toBeNull()
    await touch(rotated)

    expect(await storedContent(after, 'sid')).toEqual({ user: 'alice' })
  })

  test('seals a session anew when it is saved, even with what it had', async () => {
    const place = kind.place()
    const before = place.share({ secrets: [A] })
    await before.set('sid', generateSession(before, 'sid', { content: { user: 'alice' } }))
    const rotated = place.share({ secrets: [B, A] })

    await rotated.set('sid', await loadedSession(rotated, 'sid'))

    expect(await storedContent(place.share({ secrets: [B] }), 'sid')).toEqual({ user: 'alice' })
  })

  test('leaves a session sealed with the first secret alone, byte for byte, when it is touched', async () => {
    const place = kind.place()
    const store = place.share({ secrets: [B, A], ttl: 10, touchAfter: 0 })
    await store.set('sid', generateSession(store, 'sid'))
    const backend = place.backend()
    const read = () => backend.get(store.handle('sid'), MAX_BYTES)
    const before = await read()

    const late = place.share({ secrets: [B, A], ttl: 100, touchAfter: 0 })
    await late.touch('sid', await loadedSession(late, 'sid'))

    const after = await read()
    expect(after).toMatchObject({ blob: (before as { blob: Buffer }).blob })
    expect(after).not.toEqual(before)
  })

  test.each(['merge', 'reject', 'overwrite'] as const)(
    'loses no save that overtakes a re-seal, with %s',
    async (concurrency) => {
      const place = kind.place()
      const before = place.share({ secrets: [A] })
      await before.set('sid', generateSession(before, 'sid', { content: { user: 'alice' } }))
      const backend = place.backend()
      const [sealed, go] = [createGate(), createGate()]
      // Holds the re-seal back, just before it is stored, until the save is done.
      const slow = place.over(
        wrapBackend(backend, {
          put: async (handle, write) => {
            sealed.open()
            await go.opened
            return backend.put(handle, write)
          },
        }),
        { secrets: [B, A], ttl: 10, touchAfter: 0, concurrency },
      )
      const quick = place.share({ secrets: [B, A], concurrency })
      const copy = await loadedSession(quick, 'sid')

      const touching = slow.touch('sid', await loadedSession(slow, 'sid'))
      await sealed.opened
      await quick.set('sid', Object.assign(copy, { cart: 'full' }))
      go.open()
      await touching

      expect(await storedContent(quick, 'sid')).toEqual({ user: 'alice', cart: 'full' })
    },
  )

  test.each(['merge', 'reject', 'overwrite'] as const)(
    'is no conflict to a save that a re-seal overtakes, with %s',
    async (concurrency) => {
      const place = kind.place()
      const before = place.share({ secrets: [A] })
      await before.set('sid', generateSession(before, 'sid', { content: { user: 'alice' } }))
      const store = place.share({ secrets: [B, A], ttl: 10, touchAfter: 0, concurrency })
      const copy = await loadedSession(store, 'sid')

      await store.touch('sid', await loadedSession(store, 'sid'))
      await store.set('sid', Object.assign(copy, { cart: 'full' }))

      expect(await storedContent(place.share({ secrets: [B] }), 'sid')).toEqual({
        user: 'alice',
        cart: 'full',
      })
    },
  )

  test('revives nothing by a re-seal that the sign-out overtakes', async () => {
    const place = kind.place()
    const before = place.share({ secrets: [A] })
    await before.set('sid', generateSession(before, 'sid', { content: { user: 'alice' } }))
    const rotated = place.share({ secrets: [B, A], ttl: 10, touchAfter: 0 })
    const copy = await loadedSession(rotated, 'sid')

    await before.destroy('sid')
    const refused = await failureOf(rotated.touch('sid', copy))

    expect(refused).toMatchObject({ code: 'ERR_SESSION_ENDED', ending: 'ended' })
    expect(await place.share({ secrets: [A, B] }).get('sid')).toBeNull()
    expect(await before.length()).toBe(0)
  })

  test('ends, with an event, sessions whose secret is gone', async () => {
    const place = kind.place()
    const before = place.share({ secrets: [A] })
    await before.set('sid', generateSession(before, 'sid'))
    const after = place.share({ secrets: [B] })
    const events: unknown[] = []
    after.on('session-unknown-key', (facts) => events.push(facts))

    expect(await after.get('sid')).toBeNull()

    await new Promise((resolve) => setImmediate(resolve))
    expect(events).toEqual([{ handle: after.handle('sid') }])
  })
})
