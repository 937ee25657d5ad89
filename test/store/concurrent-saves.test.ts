import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { OutcomeUnknownError, StoreUnavailableError } from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { failureOf } from './failure-of.ts'
import { createGate } from './gate.ts'
import { generateSession, type LiveSession, loadedSession, storedContent } from './live-session.ts'
import type { PartsStoreOptions } from './parts-store.ts'
import { type Place, storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const contentOfLive = ({ cookie: _, ...content }: LiveSession) => content

describe.each(storeKinds())('saves of one session object in flight at once $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

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
