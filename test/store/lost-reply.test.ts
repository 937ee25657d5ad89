import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { OutcomeUnknownError } from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'
import { failureOf } from './failure-of.ts'
import { generateSession, type LiveSession, loadedSession, storedContent } from './live-session.ts'
import { SECRET } from './parts-store.ts'
import { type Place, storeKinds, ValkeyKind } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

describe.each(storeKinds())('a save whose reply is lost $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

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
    'is not laid over what another request made of it before the repeat. That changed %s',
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
})

describe('on Valkey an operation is applied once', () => {
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
