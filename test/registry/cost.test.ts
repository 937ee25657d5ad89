import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { CommandArgument, ValkeyClient } from '../../lib/backend/valkey/connection/client.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { SECRET } from '../store/parts-store.ts'
import { freshPrefix, ValkeyKind } from '../store/stores.ts'
import { countCommands } from '../support/valkey.ts'
import { edit, newUser, signIn, signInTimes, validOf } from './requests.ts'

/** Counts round trips: commands that are sent before any reply to one of them has come back make up one. */
class TripCounter {
  trips = 0
  #isUnderWay = false

  counting(client: ValkeyClient): ValkeyClient {
    const callBuffer = async (command: string, ...args: CommandArgument[]): Promise<unknown> => {
      // A look at the server, once for each connection: part of no call.
      if (command === 'info') return client.callBuffer(command, ...args)
      if (!this.#isUnderWay) this.trips += 1
      this.#isUnderWay = true
      try {
        return await client.callBuffer(command, ...args)
      } finally {
        this.#isUnderWay = false
      }
    }
    return new Proxy(client, {
      get(target, name) {
        if (name === 'callBuffer') return callBuffer
        const member: unknown = Reflect.get(target, name)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
  }

  async count(work: () => Promise<unknown>): Promise<number> {
    const before = this.trips
    await work()
    return this.trips - before
  }
}

describe('on Valkey', () => {
  const kind = new ValkeyKind()
  const counter = new TripCounter()
  let client: ValkeyClient
  beforeAll(async () => {
    await kind.start()
    client = counter.counting(kind.client)
  })
  afterAll(() => kind.stop())

  /** A store whose round trips are counted. */
  function make(options: SessionStoreOptions = {}): SessionStore {
    const timing = { connectTimeoutMs: 10_000, commandTimeoutMs: 30_000 }
    return new ValkeyStore({ client, prefix: freshPrefix(), ...timing, ...options, secrets: [SECRET] })
  }

  /** As {@link make}, on a server that knows the scripts, at a time that the store knows. */
  async function open(options: SessionStoreOptions = {}): Promise<SessionStore> {
    const store = make(options)
    const user = newUser()
    await edit(store, await signIn(store, user), { edited: true })
    await store.registry.list(user)
    await store.registry.endAll(user)
    return store
  }

  test.each([0, 1, 10, 100, 1000])(
    'an end of all takes three round trips for each 100 of %i sessions',
    async (sessions) => {
      const prefix = freshPrefix()
      const store = await open({ prefix })
      const user = newUser()
      const sids = await signInTimes(store, user, sessions)
      // The worst case: a store that has not even been told the time.
      const fresh = make({ prefix })
      const admin = kind.server.client()

      let [trips, ended] = [0, -1]
      const commands = await countCommands(admin, async () => {
        trips = await counter.count(async () => {
          ended = (await fresh.registry.endAll(user)).ended.length
        })
      })
      admin.disconnect()

      // The epoch or the next page, the ends, the registry.
      const pages = Math.ceil(sessions / 100)
      expect(trips).toBe(sessions === 0 ? 1 : 3 * pages)
      expect(ended).toBe(sessions)
      // Of each page, one script raises or reads it, one ends each, one withdraws them all.
      expect(commands).toMatchObject({ evalsha: sessions === 0 ? 1 : sessions + 2 * pages })
      expect(commands).not.toHaveProperty('eval')
      expect(await validOf(store, sids.slice(0, 20))).toEqual([])
    },
  )

  test.each<[string, number | false, number]>([
    ['without a cap', false, 3],
    ['below the cap', 3, 3],
    ['that displaces another', 1, 4],
  ])(
    'a sign-in %s takes as many round trips as its protocol has steps',
    async (_, maxSessionsPerUser, steps) => {
      const store = await open({ maxSessionsPerUser })
      const user = newUser()
      await signIn(store, user)

      expect(await counter.count(() => signIn(store, user))).toBe(steps)
    },
  )

  test.each([1, 10, 100])('a list of %i sessions takes two round trips', async (sessions) => {
    const store = await open()
    const user = newUser()
    await signInTimes(store, user, sessions)

    expect(await counter.count(() => store.registry.list(user))).toBe(2)
  })
})
