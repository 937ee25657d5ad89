import { afterAll, afterEach, beforeAll, describe, expect, inject, test } from 'vitest'
import { SessionConflictError } from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { createApp, listen, type Running } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { forkApp } from './forked-app.ts'
import { generateSession, type LiveSession, loadedSession, storedContent } from './live-session.ts'
import { freshPrefix, storeKinds, ValkeyKind } from './stores.ts'

const ROUNDS = inject('suite') === 'long' ? 50 : 10
const WIDTH = 64

/** Sets 64 keys of one session at once, in that many rounds, and counts those that are there afterwards. */
async function countKept(origins: readonly string[]): Promise<number> {
  let kept = 0
  for (let round = 0; round < ROUNDS; round += 1) {
    const browser = new Browser(...origins)
    await browser.post(`/sign-in/user${round}`)
    const keys = Array.from({ length: WIDTH }, (_, at) => `k${at}`)
    await Promise.all(keys.map((key) => browser.post(`/set/${key}/${round}`)))
    const { body } = await browser.get('/content')
    kept += keys.filter((key) => (body as Record<string, unknown>)[key] === String(round)).length
  }
  return kept
}

/** Two loaded copies of one session, as two requests at once have them. */
async function twoCopies(
  store: SessionStore,
  content: object,
  other = store,
): Promise<readonly [LiveSession, LiveSession]> {
  await store.set('sid', generateSession(store, 'sid', { content: { ...content } }))
  return [await loadedSession(store, 'sid'), await loadedSession(other, 'sid')]
}

const contentOfLive = ({ cookie: _, ...content }: LiveSession) => content

describe.each(storeKinds())('no update is lost $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const running: Running[] = []
  afterEach(async () => {
    await Promise.all(running.splice(0).map((app) => app.close()))
  })

  test(`when ${WIDTH} requests at once set ${WIDTH} keys of one session, ${ROUNDS} times: ${ROUNDS * WIDTH} of ${ROUNDS * WIDTH}`, async () => {
    const app = await listen(createApp({ store: kind.place().open() }))
    running.push(app)

    expect(await countKept([app.origin])).toBe(ROUNDS * WIDTH)
  })

  describe('with merge', () => {
    test('changes of different keys are all kept, deletions included, and the live session gets what is stored', async () => {
      const store = kind.place().open()
      const [one, two] = await twoCopies(store, {
        kept: 0,
        oneChanges: 0,
        twoChanges: 0,
        oneDeletes: 0,
        twoDeletes: 0,
      })

      Object.assign(one, { oneChanges: 1, oneAdds: 1 })
      delete one['oneDeletes']
      await store.set('sid', one)
      Object.assign(two, { twoChanges: 2, twoAdds: 2 })
      delete two['twoDeletes']
      await store.set('sid', two)

      const merged = { kept: 0, oneChanges: 1, oneAdds: 1, twoChanges: 2, twoAdds: 2 }
      expect(await storedContent(store, 'sid')).toEqual(merged)
      expect(contentOfLive(two)).toEqual(merged)
    })

    test('of the same key the later save wins, a deletion against a change included', async () => {
      const store = kind.place().open()
      const [one, two] = await twoCopies(store, { both: 0, oneDeletes: 0, twoDeletes: 0 })

      Object.assign(one, { both: 1, twoDeletes: 1 })
      delete one['oneDeletes']
      await store.set('sid', one)
      Object.assign(two, { both: 2, oneDeletes: 2 })
      delete two['twoDeletes']
      await store.set('sid', two)

      expect(await storedContent(store, 'sid')).toEqual({ both: 2, oneDeletes: 2 })
    })

    test('tells of a merge by an event, once, and of no other save', async () => {
      const store = kind.place().open()
      const events: unknown[] = []
      store.on('session-merged', (facts) => events.push(facts))
      const [one, two] = await twoCopies(store, {})

      await store.set('sid', Object.assign(one, { one: 1 }))
      await store.set('sid', Object.assign(two, { two: 2 }))
      await new Promise((resolve) => setImmediate(resolve))

      expect(events).toEqual([{ handle: store.handle('sid'), attempts: 2 }])
    })

    test('a live session that is changed while it is saved keeps its change, and saves it next', async () => {
      const store = kind.place().open()
      const [one, two] = await twoCopies(store, { a: 0, b: 0 })
      await store.set('sid', Object.assign(one, { a: 1, b: 1 }))

      const saving = store.set('sid', Object.assign(two, { c: 2 }))
      two['a'] = 'meanwhile'
      await saving
      expect(contentOfLive(two)).toEqual({ a: 'meanwhile', b: 1, c: 2 })
      await store.set('sid', two)

      expect(await storedContent(store, 'sid')).toEqual({ a: 'meanwhile', b: 1, c: 2 })
    })

    test('a merged session that is saved again undoes nothing that came meanwhile', async () => {
      const store = kind.place().open()
      const [one, two] = await twoCopies(store, { a: 0 })
      await store.set('sid', Object.assign(one, { a: 1 }))
      await store.set('sid', Object.assign(two, { b: 1 }))
      await store.set('sid', Object.assign(one, { a: 2 }))

      await store.set('sid', Object.assign(two, { b: 2 }))

      expect(await storedContent(store, 'sid')).toEqual({ a: 2, b: 2 })
    })

    test('the cookie of the later save is stored', async () => {
      const store = kind.place().open()
      const [one, two] = await twoCopies(store, {})
      one.cookie.maxAge = 1_000_000
      await store.set('sid', Object.assign(one, { one: 1 }))
      two.cookie.maxAge = 2_000_000

      await store.set('sid', Object.assign(two, { two: 2 }))

      const data = await store.get('sid')
      expect(data).toMatchObject({ one: 1, two: 2 })
      expect(Math.abs(Number(data?.cookie.originalMaxAge) - 2_000_000)).toBeLessThan(1000)
    })
  })

  describe('with reject', () => {
    test('the later save fails, nothing of it is stored, and a reload may repeat it', async () => {
      const store = kind.place().open({ concurrency: 'reject' })
      const [one, two] = await twoCopies(store, { a: 0 })
      await store.set('sid', Object.assign(one, { a: 1 }))

      const error = await failureOf(store.set('sid', Object.assign(two, { b: 2 })))

      expect(error).toBeInstanceOf(SessionConflictError)
      expect(error).toMatchObject({ code: 'ERR_SESSION_CONFLICT', status: 409 })
      expect(await storedContent(store, 'sid')).toEqual({ a: 1 })
      await store.set('sid', Object.assign(await loadedSession(store, 'sid'), { b: 2 }))
      expect(await storedContent(store, 'sid')).toEqual({ a: 1, b: 2 })
    })

    test('saves of one session object one after the other never conflict', async () => {
      const store = kind.place().open({ concurrency: 'reject' })
      const live = generateSession(store, 'sid')

      for (let n = 0; n < 5; n += 1) {
        await store.set('sid', Object.assign(live, { n }))
        await store.touch('sid', live)
      }

      expect(await storedContent(store, 'sid')).toEqual({ n: 4 })
    })
  })

  test('with overwrite, the later save stores exactly what it has', async () => {
    const store = kind.place().open({ concurrency: 'overwrite' })
    const events: unknown[] = []
    store.on('session-merged', (facts) => events.push(facts))
    const [one, two] = await twoCopies(store, { a: 0 })
    await store.set('sid', Object.assign(one, { a: 1, one: 1 }))

    await store.set('sid', Object.assign(two, { two: 2 }))

    expect(await storedContent(store, 'sid')).toEqual({ a: 0, two: 2 })
    expect(contentOfLive(two)).toEqual({ a: 0, two: 2 })
    await new Promise((resolve) => setImmediate(resolve))
    expect(events).toEqual([])
  })

  test('of 500 pairs that create one session at once, exactly one of each wins', async () => {
    const place = kind.place()
    const [left, right] = [place.share(), place.share()]
    const outcomes = await Promise.all(
      Array.from({ length: 500 }, async (_, at) => {
        const sid = `sid${at}`
        const create = (store: SessionStore, by: string) =>
          failureOf(store.set(sid, generateSession(store, sid, { content: { by } })))
        const failures = await Promise.all([create(left, 'left'), create(right, 'right')])
        const winner = failures[0] === undefined ? 'left' : 'right'
        const isKept = JSON.stringify(await storedContent(left, sid)) === JSON.stringify({ by: winner })
        return failures.filter((failure) => failure instanceof SessionConflictError).length === 1 && isKept
      }),
    )

    expect(outcomes.filter(Boolean)).toHaveLength(500)
  })

  test('an update of a session that is gone is not written, and is told by an event, once', async () => {
    const place = kind.place()
    const store = place.share()
    const events: unknown[] = []
    store.on('write-refused', (facts) => events.push(facts))
    const [one] = await twoCopies(store, {})
    const ended = Object.assign(generateSession(store, 'other'), { a: 1 })
    await store.set('other', ended)
    await store.destroy('other')
    await store.destroy('sid')

    const errors = [
      await failureOf(store.set('sid', Object.assign(one, { a: 1 }))),
      await failureOf(store.set('other', Object.assign(ended, { a: 2 }))),
      await failureOf(store.set('sid', { cookie: {} } as never)),
      await failureOf(store.set('sid', generateSession(store, 'sid'))),
    ]
    await new Promise((resolve) => setImmediate(resolve))

    expect(errors).toMatchObject(
      Array.from({ length: 4 }, () => ({ code: 'ERR_SESSION_ENDED', status: 401, ending: 'ended' })),
    )
    expect(await store.ids()).toEqual([])
    expect(events).toEqual(
      ['sid', 'other', 'sid', 'sid'].map((sid) => ({ handle: store.handle(sid), ending: 'ended' })),
    )
  })
})

describe('on Valkey no update is lost', () => {
  const kind = new ValkeyKind()
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  test(`between two processes: ${ROUNDS * WIDTH} of ${ROUNDS * WIDTH}`, async () => {
    const setting = { store: { connection: { url: kind.server.url }, prefix: freshPrefix() } }
    const apps = await Promise.all([forkApp(setting), forkApp(setting)])

    const kept = await countKept(apps.flatMap(({ origins }) => origins))
    await Promise.all(apps.map((app) => app.close()))

    expect(kept).toBe(ROUNDS * WIDTH)
  })
})
