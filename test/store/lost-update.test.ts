import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { OutcomeUnknownError, SessionConflictError, StoreUnavailableError } from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/session-store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'
import { createApp, listen, type Running } from './app.ts'
import { Browser } from './browser.ts'
import { failureOf } from './failure-of.ts'
import { forkApp } from './forked-app.ts'
import { createGate } from './gate.ts'
import { generateSession, type LiveSession, loadedSession, storedContent } from './live-session.ts'
import { type PartsStoreOptions, SECRET } from './parts-store.ts'
import { freshPrefix, type Place, storeKinds, ValkeyKind } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const ROUNDS = 50
const WIDTH = 64

/** Sets 64 keys of one session at once, in 50 rounds, and counts those that are there afterwards. */
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

  describe('saves of one session object in flight at once', () => {
    interface Held {
      readonly store: SessionStore
      /** Lets the next write that waits go on to the backend, or fail. */
      next(outcome?: 'pass' | 'refuse' | 'lose'): Promise<void>
    }

    // Fakes only the network: writes wait until told to go on, are refused, or lose their reply.
    function hold(place: Place, options: PartsStoreOptions = {}): Held {
      const inner = place.backend()
      const waiting: ((outcome: 'pass' | 'refuse' | 'lose') => void)[] = []
      let arrival = createGate()
      const backend = wrapBackend(inner, {
        put: async (handle, write) => {
          const outcome = await new Promise<string>((resolve) => {
            waiting.push(resolve)
            arrival.open()
          })
          if (outcome === 'refuse') throw new StoreUnavailableError('fake')
          const reply = await inner.put(handle, write)
          if (outcome === 'lose') throw new OutcomeUnknownError('fake')
          return reply
        },
      })
      return {
        store: place.over(backend, options),
        async next(outcome = 'pass') {
          if (waiting.length === 0) await arrival.opened
          arrival = createGate()
          waiting.shift()?.(outcome)
        },
      }
    }

    test.each(['merge', 'reject', 'overwrite'] as const)(
      'are put in order and do not conflict, with %s',
      async (concurrency) => {
        const place = kind.place()
        const { store, next } = hold(place, { concurrency })
        const live = generateSession(store, 'sid')

        const saves = Array.from({ length: 5 }, (_, n) =>
          store.set('sid', Object.assign(live, { n, [`k${n}`]: n })),
        )
        for (let n = 0; n < 5; n += 1) await next()
        await Promise.all(saves)

        expect(await storedContent(store, 'sid')).toEqual({ n: 4, k0: 0, k1: 1, k2: 2, k3: 3, k4: 4 })
      },
    )

    test('keep everything when the first is refused', async () => {
      const place = kind.place()
      const writer = place.share()
      await writer.set('sid', generateSession(writer, 'sid', { content: { a: 0, gone: 0 } }))
      const { store, next } = hold(place)
      const live = await loadedSession(store, 'sid')

      Object.assign(live, { a: 1 })
      delete live['gone']
      const first = failureOf(store.set('sid', live))
      const second = store.set('sid', Object.assign(live, { b: 2 }))
      await next('refuse')
      await next()
      await second

      expect(await first).toBeInstanceOf(StoreUnavailableError)
      expect(await storedContent(store, 'sid')).toEqual({ a: 1, b: 2 })
    })

    test('keep everything when the first is refused and another request saved meanwhile', async () => {
      const place = kind.place()
      const other = place.share()
      await other.set('sid', generateSession(other, 'sid', { content: { a: 0, gone: 0 } }))
      const { store, next } = hold(place)
      const live = await loadedSession(store, 'sid')

      Object.assign(live, { a: 1 })
      delete live['gone']
      const first = failureOf(store.set('sid', live))
      const second = store.set('sid', Object.assign(live, { b: 2 }))
      await next('refuse')
      await other.set('sid', Object.assign(await loadedSession(other, 'sid'), { theirs: 3 }))
      await next()
      await next()
      await second

      expect(await first).toBeInstanceOf(StoreUnavailableError)
      expect(await storedContent(store, 'sid')).toEqual({ a: 1, b: 2, theirs: 3 })
      expect(contentOfLive(live)).toEqual({ a: 1, b: 2, theirs: 3 })
    })

    test('keep everything when the reply to the first is lost', async () => {
      const place = kind.place()
      const { store, next } = hold(place)
      const live = generateSession(store, 'sid', { content: { a: 1 } })

      const first = failureOf(store.set('sid', live))
      const second = store.set('sid', Object.assign(live, { b: 2 }))
      await next('lose')
      await next()
      await next()
      await second

      expect(await first).toBeInstanceOf(OutcomeUnknownError)
      expect(await storedContent(store, 'sid')).toEqual({ a: 1, b: 2 })
    })

    // A fake of what the Valkey backend does by itself: the first reply is lost, another write comes, the repeat answers.
    function losingFirstReply(place: Place, between: () => Promise<void>): SessionStore {
      const inner = place.backend()
      let isFirst = true
      return place.over(
        wrapBackend(inner, {
          put: async (handle, write) => {
            if (!isFirst) return inner.put(handle, write)
            isFirst = false
            await inner.put(handle, write)
            await between()
            const { answer, ...reply } = await inner.put(handle, write)
            return { answer: answer === 'conflict' ? 'unsure' : answer, ...reply }
          },
        }),
      )
    }

    test.each([
      [
        'the same key: unknown, and what was built upon it stays',
        { log: ['op1', 'op2'] },
        'ERR_STORE_OUTCOME_UNKNOWN',
        { log: ['op1', 'op2'] },
      ],
      ['another key: both are kept', { log: ['op1'], other: 1 }, undefined, { log: ['op1'], other: 1 }],
    ])(
      'are not laid over what another request made of them before the repeat. It changed %s',
      async (_, theirs, code, expected) => {
        const place = kind.place()
        const other = place.share()
        await other.set('sid', generateSession(other, 'sid', { content: { log: [] } }))
        const store = losingFirstReply(place, async () => {
          await other.set('sid', Object.assign(await loadedSession(other, 'sid'), theirs))
        })

        const error = await failureOf(
          store.set('sid', Object.assign(await loadedSession(store, 'sid'), { log: ['op1'] })),
        )

        expect((error as { code?: string } | undefined)?.code).toBe(code)
        expect(await storedContent(other, 'sid')).toEqual(expected)
      },
    )

    test('never apply an operation twice: one that was reported unknown is not laid over what was built upon it', async () => {
      const place = kind.place()
      const other = place.share()
      await other.set('sid', generateSession(other, 'sid', { content: { log: ['base'] } }))
      const { store, next } = hold(place)
      const live = await loadedSession(store, 'sid')

      live['log'] = ['base', 'op1']
      const first = failureOf(store.set('sid', live))
      await next('lose')
      expect(await first).toBeInstanceOf(OutcomeUnknownError)
      const theirs = await loadedSession(other, 'sid')
      theirs['log'] = [...(theirs['log'] as string[]), 'op2']
      await other.set('sid', theirs)

      expect(await storedContent(other, 'sid')).toEqual({ log: ['base', 'op1', 'op2'] })
    })
  })
})

describe('on Valkey no update is lost', () => {
  const kind = new ValkeyKind()
  let proxy: FaultProxy
  beforeAll(async () => {
    await kind.start()
    proxy = await startFaultProxy(kind.server)
  })
  afterAll(async () => {
    await proxy.stop()
    await kind.stop()
  })
  afterEach(() => proxy.set({ kind: 'pass' }))

  test(`between two processes: ${ROUNDS * WIDTH} of ${ROUNDS * WIDTH}`, async () => {
    const setting = { store: { connection: { url: kind.server.url }, prefix: freshPrefix() } }
    const apps = await Promise.all([forkApp(setting), forkApp(setting)])

    const kept = await countKept(apps.flatMap(({ origins }) => origins))
    await Promise.all(apps.map((app) => app.close()))

    expect(kept).toBe(ROUNDS * WIDTH)
  })

  // The reply to each script that writes is lost, once.
  const dropNextWrite = () =>
    proxy.set({ kind: 'drop-reply', when: (request) => request.includes('version') })

  function throughProxy(prefix: string, retries: number): SessionStore {
    const connection = { url: proxy.url }
    return new ValkeyStore({
      connection,
      prefix,
      secrets: [SECRET],
      connectTimeoutMs: 5000,
      commandTimeoutMs: 5000,
      retries,
    })
  }

  async function appended(live: LiveSession, operation: string): Promise<LiveSession> {
    return Object.assign(live, { log: [...(live['log'] as string[]), operation] })
  }

  test('when replies are lost and the store repeats by itself: 20 of 20 operations applied, each once', async () => {
    const place = kind.place()
    const store = throughProxy(place.prefix, 1)
    const events: unknown[] = []
    store.on('session-merged', (facts) => events.push(facts))
    await store.set('sid', generateSession(store, 'sid', { content: { log: [] } }))
    const operations = Array.from({ length: 20 }, (_, at) => `op${at}`)
    const dropped = proxy.counts.droppedReplies

    for (const operation of operations) {
      await dropNextWrite()
      await store.set('sid', await appended(await loadedSession(store, 'sid'), operation))
    }
    await store.close()

    expect(proxy.counts.droppedReplies - dropped).toBe(20)
    expect(await storedContent(place.open(), 'sid')).toEqual({ log: operations })
    expect(events).toEqual([])
  })

  test('when a reply is lost and the app repeats the save: it was reported unknown, and is applied once', async () => {
    const place = kind.place()
    const store = throughProxy(place.prefix, 0)
    await store.set('sid', generateSession(store, 'sid', { content: { log: [] } }))
    const live = await appended(await loadedSession(store, 'sid'), 'op')

    await dropNextWrite()
    const first = await failureOf(store.set('sid', live))
    const stored = await storedContent(place.open(), 'sid')
    await until(async () => (await failureOf(store.set('sid', live))) === undefined)
    await store.close()

    expect(first).toBeInstanceOf(OutcomeUnknownError)
    expect(stored).toEqual({ log: ['op'] })
    expect(await storedContent(place.open(), 'sid')).toEqual({ log: ['op'] })
  })
})
