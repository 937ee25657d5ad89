import { createHmac, randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import {
  SessionIdError,
  SessionInvalidError,
  SessionUnknownKeyError,
  StoreUnavailableError,
} from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/session-store.ts'
import { TestClock } from '../support/clock.ts'
import { COOKIE_SECRET, contentOf, createApp, listen, type Running } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { generateSession, storedContent } from './live-session.ts'
import { type Place, storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const MAX_BYTES = 100_000
const OTHER_SECRET = 'a secret that is not configured, as long as it has to be'

const hostileIds: readonly (readonly [string, unknown])[] = [
  ['empty', ''],
  ['with NUL', 'abc\0def'],
  ['with braces', '{abc}'],
  ['with a hash tag', 'x}{y'],
  ['with globs', 'x*?[a]'],
  ['with a newline', 'abc\nFLUSHALL\r\n'],
  ['of 257 characters', 'x'.repeat(257)],
  ['of 6,000 characters', 'x'.repeat(6000)],
  ['of 1,000,000 characters', 'x'.repeat(1_000_000)],
  ['with letters beyond ASCII', 'ünïcödé'],
  ['with an emoji', 'a😀b'],
  ['with a lone high surrogate', 'a\ud83d'],
  ['with a lone low surrogate', '\ude00a'],
]

const nonStrings: readonly (readonly [string, unknown])[] = [
  ['undefined', undefined],
  ['null', null],
  ['a number', 5],
  ['a list', ['abc']],
  ['an object', { toString: () => 'abc' }],
  ['a Buffer', Buffer.from('abc')],
  ['a symbol', Symbol('abc')],
  ['a function', () => 'abc'],
]

/** A cookie as this app's own cookie-parser signs them: genuine, but never issued as a session id. */
function signedCookie(value: string): string {
  const signature = createHmac('sha256', COOKIE_SECRET).update(value).digest('base64').replace(/=+$/, '')
  return `connect.sid=${encodeURIComponent(`s:${value}.${signature}`)}`
}

/** Counts every call of a verb. */
function counting(inner: Backend): { backend: Backend; calls: string[] } {
  const calls: string[] = []
  const counted = (name: 'get' | 'put' | 'touch' | 'end') =>
    ((...args: unknown[]) => {
      calls.push(name)
      return Reflect.apply(inner[name], inner, args) as unknown
    }) as never
  return {
    backend: wrapBackend(inner, {
      get: counted('get'),
      put: counted('put'),
      touch: counted('touch'),
      end: counted('end'),
    }),
    calls,
  }
}

function eventsOf(store: SessionStore): readonly string[] {
  const events: string[] = []
  for (const name of ['session-invalid', 'session-unknown-key'] as const) {
    store.on(name, ({ handle, ...more }) => events.push([name, handle, ...Object.keys(more)].join(' ')))
  }
  return events
}

async function blobOf(place: Place, store: SessionStore, sid = 'sid'): Promise<Buffer> {
  const record = await place.backend().get(store.handle(sid), MAX_BYTES)
  if (typeof record !== 'object') throw new Error('There is no readable record')
  return record.blob
}

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
      return { place, store, events: eventsOf(store), blob: await blobOf(place, store) }
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
        serializer: { stringify: () => text, parse: JSON.parse as never },
        ...options,
      })
      await writer.set('sid', { cookie: {} } as never)
      const store = place.share(options)
      return { store, events: eventsOf(store) }
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
    const names = ['__proto__', 'constructor', 'prototype', '\\u005f_proto__', '__proto\\u005f_']
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
      for (const name of names) {
        for (const payload of payloads) {
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

  describe('a session id', () => {
    function prepare() {
      const place = kind.place()
      const { backend, calls } = counting(place.backend())
      return { store: place.over(backend), calls }
    }

    test.each([...hostileIds, ...nonStrings])(
      'that is %s names no session and reaches no backend',
      async (_, id) => {
        const { store, calls } = prepare()
        const sid = id as string

        expect(await store.get(sid)).toBeNull()
        await store.destroy(sid)
        await store.touch(sid, { cookie: {} } as never)
        const failures = [
          await failureOf(store.set(sid, { cookie: {} } as never)),
          await failureOf(store.set(sid, generateSession(store, sid))),
          await failureOf(Promise.resolve().then(() => store.handle(sid))),
        ]

        expect(failures.map((failure) => failure instanceof SessionIdError)).toEqual([true, true, true])
        expect(calls).toEqual([])
      },
    )

    const sendable = hostileIds.filter(
      ([, id]) => id !== '' && (id as string).length <= 6000 && (id as string).isWellFormed(),
    )

    test.each(sendable)(
      'that is %s, in a cookie with a genuine signature, names no session and reaches no backend',
      async (_, id) => {
        const { store, calls } = prepare()
        const browser = await serve(store)
        browser.cookie = signedCookie(id as string)

        expect(await browser.get('/content')).toMatchObject({ status: 200, body: {}, setCookie: [] })
        expect(calls).toEqual([])
      },
    )

    test('that was never issued is not adopted: 300 genuine cookies of unknown ids get 300 new ids', async () => {
      const { store } = prepare()
      const browser = await serve(store)
      const ids = Array.from({ length: 300 }, () => randomBytes(24).toString('base64url'))

      const given = await Promise.all(
        ids.map(async (id) => {
          const visitor = new Browser(...browser.origins)
          visitor.cookie = signedCookie(id)
          await visitor.post('/set/user/mallory')
          return visitor.cookie
        }),
      )

      expect(given.filter((cookie, at) => cookie === signedCookie(ids[at] ?? ''))).toEqual([])
      const stored = new Set(await store.ids())
      expect(ids.filter((id) => stored.has(store.handle(id)))).toEqual([])
      expect(stored.size).toBe(300)
    })

    test('in a cookie without a signature, or with a wrong one, reaches no backend', async () => {
      const { store, calls } = prepare()
      await store.set('sid', generateSession(store, 'sid', { content: { user: 'alice' } }))
      calls.length = 0
      const browser = await serve(store)

      for (const cookie of [
        'connect.sid=sid',
        'connect.sid=s%3Asid',
        'connect.sid=s%3Asid.AAAA',
        `${signedCookie('sid')}x`,
      ]) {
        browser.cookie = cookie
        expect((await browser.get('/content')).body).toEqual({})
      }
      expect(calls).toEqual([])
    })
  })

  describe('missing, expired, tampered, of an unknown secret, and behind a backend that is down', () => {
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
      return { store, down, events: eventsOf(store) }
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
