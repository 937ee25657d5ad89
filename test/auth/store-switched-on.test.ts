import { beforeEach, describe, expect, test } from 'vitest'
import { InProcessKind, type Place } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { TestClock } from '../support/clock.ts'
import { authenticate, bearer, statefulSite, statelessSite } from './auth-site.ts'

const ISSUER = 'https://app.example/auth'
const SECRETS = ['a secret of the tests, never used outside of them']

describe('A refresh token of before there was a store', () => {
  let clock: TestClock
  let place: Place

  beforeEach(() => {
    clock = new TestClock()
    place = new InProcessKind().place({ clock })
  })

  async function scene(options: Partial<Parameters<typeof statefulSite>[0]> = {}) {
    const before = await statelessSite({ issuer: ISSUER, secrets: SECRETS, clock })
    const store = place.share()
    const site = await statefulSite({ issuer: ISSUER, secrets: SECRETS, clock, store, ...options })
    const signedIn = await before.signIn('alice')
    return { before, site, store, ...signedIn, token: signedIn.refresh_token }
  }

  test('opens one session, whose name access tokens had before', async () => {
    const { before, site, store, token, access_token: access } = await scene()
    const { body: known } = await before.send<{ sid: string }>('/auth/session', bearer(access))
    const { status, body } = await site.refresh(token)

    expect([status, body.refresh_token.split('.')[2]]).toEqual([200, '1'])
    expect((await store.registry.list('alice')).map(({ handle }) => handle)).toEqual([known.sid])
    expect((await site.refresh(body.refresh_token)).status).toBe(200)
    expect((await site.send('/live', bearer(access))).status).toBe(200)
  })

  test('comes back with the current token within the grace, and ends the session after it', async () => {
    const { site, store, token } = await scene()
    const replies = [await site.refresh(token), await site.refresh(token)]

    expect(replies.map(({ status }) => status)).toEqual([200, 200])
    expect(replies[0]?.body.refresh_token).toBe(replies[1]?.body.refresh_token)
    expect(await store.registry.count('alice')).toBe(1)
    clock.advance(31_000)
    expect((await site.refresh(token)).status).toBe(400)
    expect(await store.registry.count('alice')).toBe(0)
  })

  test('opens nothing after its session was ended, and evicts nobody', async () => {
    const { site, store, token } = await scene()
    await site.refresh(token)
    await store.registry.endAll('alice')
    const enrolled: string[] = []
    const { registry } = place.backend()
    // Observes: whoever is registered may evict another.
    const observed = wrapBackend(place.backend(), {
      registry: Object.assign(Object.create(registry) as typeof registry, {
        enroll: (...terms: Parameters<typeof registry.enroll>) => {
          enrolled.push(terms[0])
          return registry.enroll(...terms)
        },
      }),
    })
    const later = await statefulSite({
      issuer: ISSUER,
      secrets: SECRETS,
      clock,
      store: place.over(observed),
    })

    expect((await later.refresh(token)).status).toBe(400)
    expect(enrolled).toEqual([])
  })

  test('that many requests present at once opens one session', async () => {
    const { site, store, token } = await scene()
    const replies = await Promise.all(
      Array.from({ length: 20 }, async () => {
        for (;;) {
          const reply = await site.refresh(token)
          if (reply.status !== 503) return reply
        }
      }),
    )

    expect(new Set(replies.map(({ status }) => status))).toEqual(new Set([200]))
    expect(new Set(replies.map(({ body }) => body.refresh_token)).size).toBe(1)
    expect(await store.registry.count('alice')).toBe(1)
  })

  test('is asked for at the upstream, which may refuse it', async () => {
    let user: { id: string } | undefined = { id: 'alice' }
    const asked: unknown[] = []
    const { site, token } = await scene({
      authenticate: Object.assign(authenticate.bind(undefined), {
        refresh: async ({ sid, upstream }: { sid: string; upstream: string | undefined }) => {
          asked.push([sid.length, upstream])
          return user && { user }
        },
      }),
    })
    user = undefined
    expect((await site.refresh(token)).status).toBe(400)
    user = { id: 'alice' }
    expect((await site.refresh(token)).status).toBe(200)
    expect(asked).toEqual([
      [43, undefined],
      [43, undefined],
    ])
  })

  test('of another client is dead', async () => {
    const { site, token } = await scene({ clients: ['other', 'first-party'] })

    expect((await site.refresh(token)).status).toBe(400)
  })
})
