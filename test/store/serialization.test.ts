import { pack, unpack } from 'msgpackr'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { SessionNotSerializableError, SessionTooLargeError, SessionTtlError } from '../../lib/errors.ts'
import type { SessionSerializer } from '../../lib/session/codec.ts'
import { failureOf } from './failure-of.ts'
import { createGate } from './gate.ts'
import { generateSession, loadedSession, storedContent } from './live-session.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const cycle: Record<string, unknown> = {}
cycle['self'] = cycle

function nested(levels: number): unknown {
  let inner: unknown = 1
  for (let level = 0; level < levels; level += 1) inner = { inner }
  return inner
}

const unserializable = [
  ['a BigInt', 1n],
  ['a cycle', cycle],
  ['a depth of 20,000', nested(20_000)],
  ['nested 65 levels deep, one more than a load accepts', nested(64)],
] as const

describe.each(storeKinds())('what a session holds, $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  describe.each(unserializable)('if it is %s', (_, x) => {
    test('rejects set of a new session with the typed error, and stores nothing', async () => {
      const store = kind.place().open()

      const error = await failureOf(store.set('sid', generateSession(store, 'sid', { content: { x } })))

      expect(error).toBeInstanceOf(SessionNotSerializableError)
      expect(error).toMatchObject({ code: 'ERR_SESSION_NOT_SERIALIZABLE', status: 500 })
      expect(await store.length()).toBe(0)
    })

    test('rejects set of a loaded session and of a plain one, and keeps what was stored', async () => {
      const store = kind.place().open()
      await store.set('sid', generateSession(store, 'sid', { content: { x: 1 } }))
      const loaded = Object.assign(await loadedSession(store, 'sid'), { x })

      expect(await failureOf(store.set('sid', loaded))).toBeInstanceOf(SessionNotSerializableError)
      expect(await failureOf(store.set('sid', { cookie: {}, x } as never))).toBeInstanceOf(
        SessionNotSerializableError,
      )
      expect(await storedContent(store, 'sid')).toEqual({ x: 1 })
    })

    test('fails only the save that meets it: the same session is saved once it is removed', async () => {
      const store = kind.place().open()
      await store.set('sid', generateSession(store, 'sid', { content: { x: 1, kept: 1 } }))
      const loaded = Object.assign(await loadedSession(store, 'sid'), { x, added: 1 })
      const other = Object.assign(await loadedSession(store, 'sid'), { theirs: 1 })
      await failureOf(store.set('sid', loaded))
      await store.set('sid', other)

      await store.set('sid', Object.assign(loaded, { x: 2 }))

      expect(await storedContent(store, 'sid')).toEqual({ x: 2, kept: 1, added: 1, theirs: 1 })
    })
  })

  test('is an error of its own save only, even while an earlier save of the session is in flight', async () => {
    const place = kind.place()
    const inner = place.backend()
    const gate = createGate()
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    const store = place.over(
      wrapBackend(inner, {
        put: async (handle, write) => {
          await gate.opened
          return inner.put(handle, write)
        },
      }),
    )
    const live = generateSession(store, 'sid', { content: { x: 1 } })

    const first = store.set('sid', live)
    const second = failureOf(store.set('sid', Object.assign(live, { x: 1n })))
    await new Promise((resolve) => setImmediate(resolve))
    gate.open()

    await first
    expect(await second).toBeInstanceOf(SessionNotSerializableError)
    expect(await storedContent(store, 'sid')).toEqual({ x: 1 })
    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
  })

  test('is one error when its lifetime is wrong too', async () => {
    const store = kind.place().open()
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    const live = generateSession(store, 'sid', { content: { x: 1n } })
    live.cookie.expires = new Date(Number.NaN)

    const failures = [
      await failureOf(store.set('sid', live)),
      await failureOf(store.set('sid', { ...live } as never)),
    ]
    await new Promise((resolve) => setImmediate(resolve))

    process.off('unhandledRejection', unhandled)
    expect(failures.map((failure) => failure instanceof SessionTtlError)).toEqual([true, true])
    expect(unhandled).not.toHaveBeenCalled()
  })

  test('may become wrong while it is being saved without failing that save', async () => {
    const store = kind.place().open()
    await store.set('sid', generateSession(store, 'sid'))
    const loaded = await loadedSession(store, 'sid')
    await store.set('sid', Object.assign(await loadedSession(store, 'sid'), { theirs: 1 }))

    const saving = store.set('sid', Object.assign(loaded, { ours: 1 }))
    loaded['later'] = 1n
    await saving
    loaded['later'] = 1
    await store.set('sid', loaded)

    expect(await storedContent(store, 'sid')).toEqual({ ours: 1, theirs: 1, later: 1 })
  })

  test('may have maxBytes bytes and not one more', async () => {
    const store = kind.place().open({ maxBytes: 1000 })
    const overhead = Buffer.byteLength(
      JSON.stringify({ cookie: { originalMaxAge: null, path: '/', httpOnly: true }, x: '' }),
    )
    const withText = (sid: string, x: string) => generateSession(store, sid, { content: { x } })

    await store.set('fits', withText('fits', 'x'.repeat(1000 - overhead)))
    const error = await failureOf(store.set('large', withText('large', `é${'x'.repeat(999 - overhead)}`)))

    expect(await storedContent(store, 'fits')).toEqual({ x: 'x'.repeat(1000 - overhead) })
    expect(error).toBeInstanceOf(SessionTooLargeError)
    expect(error).toMatchObject({ bytes: 1001, maxBytes: 1000 })
    expect(await store.get('large')).toBeNull()
  })

  test('is too large when a merge makes it so, and the stored one stays', async () => {
    const store = kind.place().open({ maxBytes: 400 })
    await store.set('sid', generateSession(store, 'sid'))
    const [one, two] = [await loadedSession(store, 'sid'), await loadedSession(store, 'sid')]
    await store.set('sid', Object.assign(one, { one: 'x'.repeat(200) }))

    const error = await failureOf(store.set('sid', Object.assign(two, { two: 'y'.repeat(200) })))

    expect(error).toBeInstanceOf(SessionTooLargeError)
    expect(await storedContent(store, 'sid')).toEqual({ one: 'x'.repeat(200) })
  })

  test('is large and comes back whole at the default limit', async () => {
    const store = kind.place().open({ encrypt: true })
    const x = 'x'.repeat(65_000)

    await store.set('sid', generateSession(store, 'sid', { content: { x } }))

    expect(await storedContent(store, 'sid')).toEqual({ x })
  })

  describe('with MessagePack', () => {
    const serializer: SessionSerializer = {
      stringify: pack,
      parse: (bytes) => unpack(Buffer.from(bytes)) as unknown,
    }

    test('comes back with its buffers and dates', async () => {
      const store = kind.place().open({ serializer })
      const content = { raw: Buffer.from([0, 255, 128]), at: new Date(5), n: 1.5, text: 'é\ud83d\ude00' }

      await store.set('sid', generateSession(store, 'sid', { content }))

      expect(await storedContent(store, 'sid')).toEqual(content)
    })

    test('is merged by key, and an unchanged date or buffer is not a change', async () => {
      const store = kind.place().open({ serializer, concurrency: 'merge' })
      await store.set(
        'sid',
        generateSession(store, 'sid', { content: { at: new Date(5), raw: Buffer.from('a') } }),
      )
      const [one, two] = [await loadedSession(store, 'sid'), await loadedSession(store, 'sid')]

      await store.set('sid', Object.assign(one, { at: new Date(6), raw: Buffer.from('b') }))
      await store.set('sid', Object.assign(two, { added: true }))

      expect(await storedContent(store, 'sid')).toEqual({
        at: new Date(6),
        raw: Buffer.from('b'),
        added: true,
      })
    })

    test('keeps its cookie', async () => {
      const store = kind.place().open({ serializer })

      await store.set(
        'sid',
        generateSession(store, 'sid', {
          cookie: { maxAge: 60_000, originalMaxAge: 60_000, sameSite: 'lax' },
        }),
      )

      expect((await store.get('sid'))?.cookie).toMatchObject({
        originalMaxAge: 60_000,
        sameSite: 'lax',
        expires: expect.any(Date),
      })
    })
  })

  test('passes through a serializer that takes its time', async () => {
    const pause = () => new Promise((resolve) => setImmediate(resolve))
    const serializer: SessionSerializer = {
      stringify: async (session) => {
        const text = JSON.stringify(session)
        await pause()
        return text
      },
      parse: async (stored) => {
        await pause()
        return JSON.parse(String(stored)) as unknown
      },
    }
    const store = kind.place().open({ serializer })
    await store.set('sid', generateSession(store, 'sid', { content: { a: 1 } }))
    const [one, two] = [await loadedSession(store, 'sid'), await loadedSession(store, 'sid')]

    await Promise.all([
      store.set('sid', Object.assign(one, { b: 1 })),
      store.set('sid', Object.assign(two, { c: 1 })),
    ])

    expect(await storedContent(store, 'sid')).toEqual({ a: 1, b: 1, c: 1 })
    expect(await store.all()).toEqual([
      { id: store.handle('sid'), cookie: expect.anything(), a: 1, b: 1, c: 1 },
    ])
  })

  test.each([
    ['throws', () => JSON.parse('hunter2')],
    ['rejects', () => Promise.reject(new Error('hunter2'))],
    ['returns undefined', () => undefined],
    ['returns an object', () => ({ hunter2: 1 })],
    ['returns a promise of a number', async () => 5],
  ])('rejects set with the typed error when stringify %s', async (_, stringify) => {
    const store = kind
      .place()
      .open({ serializer: { stringify: stringify as never, parse: JSON.parse as never } })

    const error = await failureOf(store.set('sid', generateSession(store, 'sid')))

    expect(error).toBeInstanceOf(SessionNotSerializableError)
    expect(String(error)).not.toContain('hunter2')
  })

  test.each([
    ['throws', () => JSON.parse('hunter2')],
    [
      'throws as if a file were missing',
      () => {
        throw Object.assign(new Error('no file'), { code: 'ENOENT' })
      },
    ],
    ['rejects', () => Promise.reject(new Error('hunter2'))],
    ['returns null', () => null],
    ['returns a list', () => []],
    ['returns a text', () => 'text'],
    ['returns an object without a cookie', () => ({ user: 'alice' })],
    ['returns a promise of junk', async () => 5],
  ])('is no session, with an event, when parse %s', async (_, parse) => {
    const place = kind.place()
    await place.share().set('sid', generateSession(place.share(), 'sid'))
    const store = place.share({ serializer: { stringify: JSON.stringify, parse } })
    const events: unknown[] = []
    store.on('session-invalid', (facts) => events.push(facts))

    expect(await store.get('sid')).toBeNull()

    await vi.waitFor(() => expect(events).toEqual([{ handle: store.handle('sid') }]))
  })
})
