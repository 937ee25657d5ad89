import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { failureOf } from '../store/failure-of.ts'
import { createGate } from '../store/gate.ts'
import { storeKinds } from '../store/stores.ts'
import { TestClock } from '../support/clock.ts'
import { edit, newUser, registered, signIn, validates, visit } from './requests.ts'
import { wrapRegistry } from './wrap-registry.ts'

const OPTIONS = { ttl: 100, touchAfter: 0 }

describe.each(storeKinds())(
  'a session that one signs a user out of while another signs that user in to it $name',
  (kind) => {
    beforeAll(() => kind.start())
    afterAll(() => kind.stop())

    /** The sign-in is done between the two steps of the sign-out. */
    async function collide() {
      const clock = new TestClock()
      const place = kind.place({ clock })
      const store = place.share(OPTIONS)
      const user = newUser()
      const sid = await signIn(store, user)
      const [reached, gate] = [createGate(), createGate()]
      const { registry } = place.backend()
      const slow = place.over(
        wrapRegistry(place.backend(), {
          withdraw: async (owner, withdrawal) => {
            reached.open()
            await gate.opened
            return registry.withdraw(owner, withdrawal)
          },
        }),
        OPTIONS,
      )
      const signingOut = edit(slow, sid, { userId: undefined })
      await reached.opened
      await edit(store, sid, { userId: user })
      gate.open()
      await signingOut
      await kind.pass(2, clock)
      return { place, store, sid, user }
    }

    test('may lose its place in the registry, and is ended at its next touch', async () => {
      const { store, sid, user } = await collide()
      const before = [await validates(store, sid), await registered(store, user)]

      expect(await failureOf(visit(store, sid))).toMatchObject({ code: 'ERR_SESSION_ENDED' })
      expect(before).toEqual([true, []])
      expect(await validates(store, sid)).toBe(false)
      expect(await store.registry.ending({ sid })).toMatchObject({ reason: 'owner-mismatch' })
    })

    test('is ended at the next look if the store looks strictly', async () => {
      const { place, store, sid } = await collide()

      expect(await validates(place.share({ ...OPTIONS, verifyOwner: 'always' }), sid)).toBe(false)
      expect(await store.registry.ending({ sid })).toMatchObject({ reason: 'owner-mismatch' })
    })
  },
)
