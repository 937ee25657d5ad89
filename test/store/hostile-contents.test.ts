import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { SessionStore } from '../../lib/store/store.ts'
import { contentOf, createApp, listen, type Running } from './app.ts'
import { blobOf } from './blob-of.ts'
import { Browser } from './browser.ts'
import { contentEventsOf } from './content-events.ts'
import { generateSession, storedContent } from './live-session.ts'
import { signedCookie } from './signed-cookie.ts'
import { type Place, storeKinds } from './stores.ts'

const OTHER_SECRET = 'a secret that is not configured, as long as it has to be'

describe.each(storeKinds())('hostile contents $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  async function serve(store: SessionStore): Promise<Browser> {
    const app = await listen(
      createApp({
        store,
        routes: (routes) =>
          routes.get('/shape', (req, res) => {
            const { session } = req
            const copy = Object.assign({}, session, contentOf(req)['nested'])
            res.json({
              isAdmin: [session, session.cookie, copy, contentOf(req)['nested'], {}].map(
                (value) => Reflect.get(Object(value), 'isAdmin') ?? null,
              ),
              hasMethods: [typeof session.save, typeof Reflect.get(session.cookie, 'serialize')],
              content: Object.keys(contentOf(req)).filter((key) => key !== 'cookie'),
            })
          }),
      }),
    )
    running.push(app)
    return new Browser(app.origin)
  }

  describe.each([{ encrypt: false }, { encrypt: true }])('with encrypt $encrypt', ({ encrypt }) => {
    async function prepare() {
      const place = kind.place()
      const store = place.share({ encrypt })
      await store.set('sid', generateSession(store, 'sid', { content: { u: 1 } }))
      return { place, store, events: contentEventsOf(store), blob: await blobOf(place, store) }
    }

    async function acceptedOf(
      { place, store }: { place: Place; store: SessionStore },
      blobs: readonly Buffer[],
    ): Promise<number> {
      let accepted = 0
      for (const blob of blobs) {
        await place.plant(store.handle('sid'), blob)
        if ((await store.get('sid')) !== null) accepted += 1
      }
      return accepted
    }

    test('not one of all bit flips of a stored session is accepted, and each is told', async () => {
      const prepared = await prepare()
      const { blob, events, store } = prepared
      const flips = Array.from({ length: blob.length * 8 }, (_, bit) => {
        const flipped = Buffer.from(blob)
        flipped[bit >> 3] = (flipped[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        return flipped
      })

      expect(await acceptedOf(prepared, flips)).toBe(0)
      expect(await acceptedOf(prepared, [blob])).toBe(1)
      await vi.waitFor(() => expect(events).toHaveLength(flips.length))
      expect(new Set(events)).toEqual(
        new Set([`session-invalid ${store.handle('sid')}`, `session-unknown-key ${store.handle('sid')}`]),
      )
    })

    test('not one of all truncations and extensions of a stored session is accepted', async () => {
      const prepared = await prepare()
      const { blob } = prepared
      const cuts = Array.from({ length: blob.length }, (_, length) => [
        blob.subarray(0, length),
        blob.subarray(length + 1),
      ]).flat()
      const extensions = [
        Buffer.concat([blob, Buffer.of(0)]),
        Buffer.concat([Buffer.of(0), blob]),
        Buffer.concat([blob, blob]),
      ]

      expect(await acceptedOf(prepared, [...cuts, ...extensions])).toBe(0)
    })

    test('nothing that is no blob is accepted', async () => {
      const prepared = await prepare()
      const json = '{"cookie":{"originalMaxAge":null,"path":"/"},"user":"admin"}'
      const foreign = [json, '', '{}', 'null', `s:${json}`, 'ESV', 'ESV\x01\x01'].map((text) =>
        Buffer.from(text),
      )

      expect(await acceptedOf(prepared, [...foreign, Buffer.alloc(200), randomBytes(200)])).toBe(0)
    })

    test('a stored session is accepted under no other id, prefix or mode, and with no other secret', async () => {
      const { place, store, blob, events } = await prepare()
      await store.set('other', generateSession(store, 'other'))
      const otherMode = place.share({ encrypt: !encrypt })
      const otherPrefix = place.share({ encrypt, prefix: 'elsewhere' })
      const otherSecret = place.share({ encrypt, secrets: [OTHER_SECRET] })

      await place.plant(store.handle('other'), blob)
      expect(await store.get('other')).toBeNull()
      expect(await otherMode.get('sid')).toBeNull()
      expect(await otherSecret.get('sid')).toBeNull()
      expect(await otherPrefix.get('sid')).toBeNull()

      await vi.waitFor(() => expect(events).toEqual([`session-invalid ${store.handle('other')}`]))
      expect(await storedContent(store, 'sid')).toEqual({ u: 1 })
    })
  })

  describe('sealed by us all the same', () => {
    /** Content that a user got an app to store, as text that JSON.parse reads. */
    async function seal(text: string, options = {}) {
      const place = kind.place()
      const writer = place.share({
        serializer: { stringify: () => text, parse: () => ({ cookie: {} }) },
        ...options,
      })
      await writer.set('sid', { cookie: {} } as never)
      const store = place.share(options)
      return { store, events: contentEventsOf(store) }
    }

    const payloads = [
      '{"isAdmin":true}',
      '{"isAdmin":true,"save":1,"cookie":{}}',
      '{"__proto__":{"isAdmin":true}}',
      '[{"isAdmin":true}]',
      'null',
      '1',
      '"x"',
    ]
    const names = ['__proto__', '\\u005f_proto__', '__proto\\u005f_']
    const positions = [
      [
        'of the session',
        (name: string, payload: string) =>
          `{"cookie":{"originalMaxAge":null,"path":"/"},"${name}":${payload},"nested":{"a":1}}`,
      ],
      [
        'of its cookie',
        (name: string, payload: string) =>
          `{"cookie":{"originalMaxAge":null,"path":"/","${name}":${payload}},"nested":{"a":1}}`,
      ],
      [
        'of a nested object',
        (name: string, payload: string) =>
          `{"cookie":{"originalMaxAge":null,"path":"/"},"nested":{"a":1,"${name}":${payload}}}`,
      ],
    ] as const

    test.each(positions)('keys at the top %s that reach prototypes change none', async (_, place) => {
      const before = Reflect.ownKeys(Object.prototype)
      const keys = names.flatMap((name) => payloads.map((payload) => [name, payload] as const))
      const makers = payloads.map((payload) => ['constructor', `{"prototype":${payload}}`] as const)
      for (const [name, payload] of [...keys, ...makers]) {
        const { store } = await seal(place(name, payload))

        const data = await store.get('sid')

        expect(Object.getPrototypeOf(data)).toBe(Object.prototype)
        expect(Object.getPrototypeOf(data?.cookie)).toBe(Object.prototype)
        expect(data).toEqual({
          cookie: { originalMaxAge: null, expires: null, path: '/' },
          nested: { a: 1 },
        })
        expect(Object.getOwnPropertyNames(data)).toEqual(['cookie', 'nested'])
      }
      expect(Reflect.ownKeys(Object.prototype)).toEqual(before)
      expect(Reflect.get({}, 'isAdmin')).toBeUndefined()
    })

    test.each(positions)(
      'keys at the top %s that reach prototypes make nobody an admin over HTTP',
      async (_, place) => {
        const { store } = await seal(place('__proto__', '{"isAdmin":true}'))
        const browser = await serve(store)
        browser.cookie = signedCookie('sid')

        expect((await browser.get('/shape')).body).toEqual({
          isAdmin: [null, null, null, null, null],
          hasMethods: ['function', 'function'],
          content: ['nested'],
        })
      },
    )

    test.each([
      ['lists', '['.repeat(1_000_000) + ']'.repeat(1_000_000)],
      ['objects', `${'{"a":'.repeat(1_000_000)}1${'}'.repeat(1_000_000)}`],
      ['lists, one level too many', '['.repeat(64) + ']'.repeat(64)],
    ])('a depth of 1,000,000 of %s is no session, and a crash neither', async (_, tree) => {
      const { store, events } = await seal(`{"cookie":{"originalMaxAge":null},"tree":${tree}}`, {
        maxBytes: 8 * 1024 * 1024,
      })

      expect(await store.get('sid')).toBeNull()
      expect(await store.all()).toEqual([])
      await vi.waitFor(() =>
        expect(events).toEqual(Array.from({ length: 2 }, () => `session-invalid ${store.handle('sid')}`)),
      )
    })

    test.each([
      ['missing', '{"user":"alice"}'],
      ['null', '{"cookie":null}'],
      ['a text', '{"cookie":"connect.sid"}'],
      ['a number', '{"cookie":5}'],
      ['true', '{"cookie":true}'],
      ['a list', '{"cookie":[]}'],
      ['one whose age is a text', '{"cookie":{"originalMaxAge":"60000"}}'],
      ['one whose age is an object', '{"cookie":{"originalMaxAge":{"$gt":0}}}'],
      ['one whose age is too large for a number', '{"cookie":{"originalMaxAge":1e999}}'],
      ['that of a list instead of a session', '[{"cookie":{}}]'],
      ['that of a text instead of a session', '"session"'],
      ['that of nothing', 'null'],
    ])('a cookie that is %s is no session, and no failure over HTTP', async (_, text) => {
      const { store, events } = await seal(text)
      const browser = await serve(store)
      browser.cookie = signedCookie('sid')

      expect(await browser.get('/content')).toMatchObject({ status: 200, body: {} })
      await vi.waitFor(() => expect(events).toEqual([`session-invalid ${store.handle('sid')}`]))
    })
  })

  test('a discarded session is replaced by a new one on the next visit', async () => {
    const place = kind.place()
    const store = place.share()
    await store.set('sid', generateSession(store, 'sid', { content: { user: 'alice' } }))
    await place.plant(store.handle('sid'), Buffer.alloc(200))
    const browser = await serve(store)
    browser.cookie = signedCookie('sid')

    await browser.post('/set/cart/full')

    expect(browser.cookie).not.toBe(signedCookie('sid'))
    expect((await browser.get('/content')).body).toEqual({ cart: 'full' })
  })
})
