import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { SessionInvalidError, SessionUnknownKeyError, StoreUnavailableError } from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { TestClock } from '../support/clock.ts'
import { createApp, listen, type Running } from './app.ts'
import { blobOf } from './blob-of.ts'
import { Browser } from './browser.ts'
import { contentEventsOf } from './content-events.ts'
import { failureOf } from './failure-of.ts'
import { generateSession, storedContent } from './live-session.ts'
import { signedCookie } from './signed-cookie.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const OTHER_SECRET = 'a secret that is not configured, as long as it has to be'

describe.each(storeKinds())(
  'missing, expired, tampered, of an unknown secret, and behind a backend that is down $name',
  (kind) => {
    beforeAll(() => kind.start())
    afterAll(() => kind.stop())

    const running: Running[] = []
    afterEach(async () => {
      await Promise.all(running.splice(0).map((app) => app.close()))
    })

    async function serve(store: SessionStore): Promise<Browser> {
      const app = await listen(createApp({ store }))
      running.push(app)
      return new Browser(app.origin)
    }

    async function prepare(options: { onInvalid?: 'error'; onUnknownKey?: 'error' }) {
      const clock = new TestClock()
      const place = kind.place({ clock })
      const short = place.share({ ttl: 0.05 })
      await short.set('expired', generateSession(short, 'expired'))
      const store = place.share(options)
      await store.set('alive', generateSession(store, 'alive', { content: { user: 'alice' } }))
      await store.set('tampered', generateSession(store, 'tampered'))
      await place.plant(store.handle('tampered'), await blobOf(place, store, 'alive'))
      const other = place.share({ secrets: [OTHER_SECRET] })
      await other.set('foreign', generateSession(other, 'foreign'))
      await kind.pass(60, clock)
      // A fake, as the real backend has to serve the other cases.
      const fail = async () => {
        throw new StoreUnavailableError('fake')
      }
      const down = place.over(wrapBackend(place.backend(), { get: fail }), options)
      return { store, down, events: contentEventsOf(store) }
    }

    async function answersOf(store: SessionStore, down: SessionStore): Promise<readonly unknown[]> {
      const answer = async (from: SessionStore, sid: string) => {
        const error = await failureOf(from.get(sid))
        return error === undefined ? await storedContent(from, sid) : error
      }
      const answers: unknown[] = []
      for (const sid of ['alive', 'missing', 'expired', 'tampered', 'foreign'])
        answers.push(await answer(store, sid))
      return [...answers, await answer(down, 'alive')]
    }

    test('are told apart by events and errors when invalid sessions are discarded', async () => {
      const { store, down, events } = await prepare({})

      const answers = await answersOf(store, down)

      expect(answers.slice(0, 5)).toEqual([{ user: 'alice' }, undefined, undefined, undefined, undefined])
      expect(answers[5]).toBeInstanceOf(StoreUnavailableError)
      await vi.waitFor(() =>
        expect([...new Set(events)]).toEqual([
          `session-invalid ${store.handle('tampered')}`,
          `session-unknown-key ${store.handle('foreign')}`,
        ]),
      )
    })

    test('are told apart by errors when invalid sessions are errors', async () => {
      const { store, down, events } = await prepare({ onInvalid: 'error', onUnknownKey: 'error' })

      const answers = await answersOf(store, down)

      expect(answers.slice(0, 3)).toEqual([{ user: 'alice' }, undefined, undefined])
      expect(answers[3]).toBeInstanceOf(SessionInvalidError)
      expect(answers[4]).toBeInstanceOf(SessionUnknownKeyError)
      expect(answers[5]).toBeInstanceOf(StoreUnavailableError)
      await vi.waitFor(() =>
        expect(events.map((event) => event.split(' ')[0])).toEqual([
          'session-invalid',
          'session-unknown-key',
        ]),
      )
    })

    test('are told apart by the status of the response', async () => {
      const { store, down } = await prepare({ onInvalid: 'error', onUnknownKey: 'error' })
      const [up, gone] = [await serve(store), await serve(down)]
      const pages = []
      for (const sid of ['alive', 'missing', 'expired', 'tampered', 'foreign']) {
        up.cookie = signedCookie(sid)
        pages.push(await up.get('/content'))
      }
      gone.cookie = signedCookie('alive')
      pages.push(await gone.get('/content'))

      expect(pages).toMatchObject([
        { status: 200, body: { user: 'alice' } },
        { status: 200, body: {} },
        { status: 200, body: {} },
        { status: 500, body: { code: 'ERR_SESSION_INVALID' } },
        { status: 503, body: { code: 'ERR_SESSION_UNKNOWN_KEY' } },
        { status: 503, body: { code: 'ERR_STORE_UNAVAILABLE' } },
      ])
      expect(pages.flatMap(({ setCookie }) => setCookie)).toEqual([])
    })

    test('no event or error shows the id, the secret or the content', async () => {
      const { store, down, events } = await prepare({ onInvalid: 'error', onUnknownKey: 'error' })

      const answers = (await answersOf(store, down)).filter((answer) => answer instanceof Error)
      const shown = [
        ...answers.map(
          (error) => `${JSON.stringify(error)} ${String(error)} ${error.stack} ${String(error.cause)}`,
        ),
        ...events,
      ].join('\n')

      expect(answers).toHaveLength(3)
      for (const secret of ['alice', OTHER_SECRET, 'tampered', 'foreign'])
        expect(shown.replaceAll(/at .*\n/g, '')).not.toContain(secret)
    })
  },
)
