import { pack, unpack } from 'msgpackr'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { SessionUserIdError } from '../../lib/errors.ts'
import { sessionGuard } from '../../lib/http/guard/session-guard.ts'
import type { UserId } from '../../lib/session/names.ts'
import { contentOf, createApp, listen, type Running } from './app.ts'
import { failureOf } from './failure-of.ts'
import { generateSession, loadedSession, storedContent } from './live-session.ts'
import { internalsOf } from './parts-store.ts'
import { storeKinds } from './stores.ts'

class ObjectId {
  readonly #hex: string
  constructor(hex: string) {
    this.#hex = hex
  }
  toJSON() {
    return this.#hex
  }
}

const msgpack = { stringify: pack, parse: (bytes: Buffer | string): unknown => unpack(Buffer.from(bytes)) }

describe.each(storeKinds())('the user of a session $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    Reflect.deleteProperty(BigInt.prototype, 'toJSON')
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  function writeBigIntAsText(): void {
    Reflect.set(BigInt.prototype, 'toJSON', function toJSON(this: bigint) {
      return this.toString()
    })
  }

  const signIns: readonly (readonly [string, UserId, () => Record<string, unknown>])[] = [
    ['a text', 'ann', () => ({ userId: 'ann' })],
    ['a number', '42', () => ({ userId: 42 })],
    ['zero', 0, () => ({ userId: -0 })],
    ['an ObjectId', '64b0c0ffee', () => ({ userId: new ObjectId('64b0c0ffee') })],
    ['a BigInt that JSON can write', 42n, () => ({ userId: 42n })],
    ['an ObjectId that Passport keeps', '64b0', () => ({ passport: { user: new ObjectId('64b0') } })],
  ]

  test.each(signIns)('is %s: listed, capped, and ended', async (_, userId, content) => {
    writeBigIntAsText()
    const store = kind.place().open({ maxSessionsPerUser: 1 })

    await store.set('first', generateSession(store, 'first', { content: content() }))
    await store.set('second', generateSession(store, 'second', { content: content() }))
    const listed = (await store.registry.list(userId)).map(({ handle }) => handle)

    expect(listed).toEqual([store.handle('second')])
    expect(await store.get('first')).toBeNull()
    expect((await store.registry.endAll(userId)).ended).toEqual(listed)
    expect(await store.get('second')).toBeNull()
  })

  test('is who a custom serializer says it is', async () => {
    const store = kind.place().open({ serializer: msgpack, userId: (s) => Reflect.get(s, 'account')?.id })

    await store.set('sid', generateSession(store, 'sid', { content: { account: { id: 2n ** 60n } } }))

    expect(await store.registry.count(2n ** 60n)).toBe(1)
    expect(await store.registry.count(`${2n ** 60n}`)).toBe(1)
  })

  test('is who the stored session names, whatever the live one says', async () => {
    const account = { name: 'live', toJSON: () => ({ name: 'stored' }) }
    const store = kind.place().open({ userId: (s) => Reflect.get(s, 'account')?.name })

    await store.set('sid', generateSession(store, 'sid', { content: { account } }))
    const reloaded = Object.assign(await loadedSession(store, 'sid'), { step: 2 })
    await store.set('sid', reloaded)

    expect(await store.registry.count('live')).toBe(0)
    expect(await store.registry.count('stored')).toBe(1)
    expect(internalsOf(store).userIdOf(reloaded)).toBe('stored')
  })

  test.each([
    ['nothing', {}],
    ['undefined', { userId: undefined }],
    ['null', { userId: null }],
    ['a passport without user', { passport: {} }],
    ['a passport of null', { passport: null }],
  ])('is nobody with %s', async (_, content) => {
    const store = kind.place().open()

    await store.set('sid', generateSession(store, 'sid', { content }))

    expect(internalsOf(store).userIdOf(await loadedSession(store, 'sid'))).toBeUndefined()
  })

  const unfit = (name: string, value: unknown) => [name, { userId: value }] as const
  const unfits = [
    unfit('an empty text', ''),
    unfit('a boolean', true),
    unfit('false', false),
    unfit('an object', { id: 'ann' }),
    unfit('a list', ['ann']),
    // JSON makes null of these, which is nobody.
    unfit('NaN', Number.NaN),
    unfit('Infinity', Number.POSITIVE_INFINITY),
    unfit('an invalid date', new Date(Number.NaN)),
    unfit('a lone surrogate', 'a\ud800'),
    unfit('another lone surrogate', 'a\udfff'),
    unfit('a Map', new Map([['id', 'ann']])),
    unfit('a Buffer', Buffer.from('ann')),
    ['the object that Passport keeps', { passport: { user: { id: 'ann', username: 'Ann' } } }] as const,
  ]

  test.each(unfits)('is an error with %s: nothing is stored', async (_, content) => {
    const store = kind.place().open()
    await store.set('old', generateSession(store, 'old', { content: { step: 1 } }))
    const loaded = Object.assign(await loadedSession(store, 'old'), content)

    const failures = [
      await failureOf(store.set('sid', generateSession(store, 'sid', { content }))),
      await failureOf(store.set('sid', { cookie: {}, ...content } as never)),
      await failureOf(store.set('old', loaded)),
    ]

    expect(failures.map((failure) => failure instanceof SessionUserIdError)).toEqual([true, true, true])
    expect(failures[0]).toMatchObject({ code: 'ERR_SESSION_USER_ID', status: 500, statusCode: 500 })
    expect(String(failures[0])).toContain('userId: (s) => s.passport?.user?.id')
    expect(String(failures[0])).not.toMatch(/ann/i)
    expect(await store.get('sid')).toBeNull()
    expect(await storedContent(store, 'old')).toEqual({ step: 1 })
  })

  test.each([
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['a symbol', Symbol('ann')],
    ['a function', () => 'ann'],
    ['a promise', Promise.resolve('ann')],
    ['an empty text', ''],
  ])('is an error when the option returns %s', async (_, value) => {
    const store = kind.place().open({ userId: () => value as never })

    const failure = await failureOf(store.set('sid', generateSession(store, 'sid')))

    expect(failure).toBeInstanceOf(SessionUserIdError)
    expect(await store.get('sid')).toBeNull()
  })

  test('is what an object that the option returns serializes to', async () => {
    const store = kind.place().open({ userId: () => new ObjectId('64b0') as never })

    await store.set('sid', generateSession(store, 'sid'))

    expect(await store.registry.count('64b0')).toBe(1)
  })

  test('is an error for a save whose change of user fails, and the change is not lost to a later one', async () => {
    const store = kind.place().open()
    await store.set('sid', generateSession(store, 'sid', { content: { step: 1 } }))
    const live = Object.assign(await loadedSession(store, 'sid'), { userId: { id: 'ann' }, step: 2 })

    expect(await failureOf(store.set('sid', live))).toBeInstanceOf(SessionUserIdError)
    Reflect.set(live, 'userId', 'ann')
    await store.set('sid', live)

    expect(await storedContent(store, 'sid')).toEqual({ userId: 'ann', step: 2 })
    expect(await store.registry.count('ann')).toBe(1)
  })

  test.each([undefined, null, '', Number.NaN, 'a\ud800', {}, [], true, Symbol('ann')])(
    'cannot be asked for as %s',
    async (userId) => {
      const { registry } = kind.place().open()
      const ask = (call: (id: never) => unknown) =>
        failureOf(Promise.resolve().then(() => call(userId as never)))

      const failures = [
        await ask((id) => registry.list(id)),
        await ask((id) => registry.count(id)),
        await ask((id) => registry.endAll(id)),
        await ask((id) => registry.watch({ userId: id })),
      ]

      expect(failures.map((failure) => failure instanceof TypeError)).toEqual([true, true, true, true])
    },
  )

  test('a watch of a bigint hears of the session that JSON wrote as text', async () => {
    const store = kind.place().open()
    await store.set('sid', generateSession(store, 'sid', { content: { userId: '42' } }))
    const stop = new AbortController()
    const heard = store.registry
      .watch({ userId: 42n }, { signal: stop.signal })
      [Symbol.asyncIterator]()
      .next()

    await store.destroy('sid')

    expect((await heard).value).toMatchObject({ handle: store.handle('sid') })
    stop.abort()
  })

  describe.each([true, false])('over HTTP, with a guard: %s', (isGuarded) => {
    test('a sign-in as an object is refused, one as an ObjectId can be ended', async () => {
      const store = kind.place().open()
      const users: Record<string, unknown> = { object: { id: 'ann' }, objectId: new ObjectId('64b0') }
      const app = createApp({
        store,
        routes: (routes) => {
          if (isGuarded) routes.use(sessionGuard({ store, onError: () => {} }))
          routes.get('/in/:how', (req, res, next) => {
            contentOf(req)['userId'] = users[req.params.how]
            if (isGuarded) res.json('in')
            else req.session.save((failure) => (failure ? next(failure) : res.json('in')))
          })
        },
      })
      const served = await listen(app)
      running.push(served)
      const ask = async (path: string, cookie = '') =>
        fetch(`${served.origin}${path}`, { headers: { cookie } })

      expect((await ask('/in/object')).status).toBe(500)
      expect(await store.length()).toBe(0)
      const signedIn = await ask('/in/objectId')
      expect(signedIn.status).toBe(200)
      const [cookie] = signedIn.headers.getSetCookie()[0]?.split(';') ?? []
      expect(await (await ask('/content', cookie)).json()).toEqual({ userId: '64b0' })
      expect((await store.registry.endAll('64b0')).ended).toHaveLength(1)
      expect(await (await ask('/content', cookie)).json()).toEqual({})
    })
  })
})
