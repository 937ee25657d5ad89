import { AsyncLocalStorage } from 'node:async_hooks'
import { subscribe, tracingChannel, unsubscribe } from 'node:diagnostics_channel'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { type Decision, type OperationTrace, type TracedOperation, traced } from '../../lib/diagnostics.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { startValkey } from '../support/valkey.ts'
import { failureOf } from './failure-of.ts'
import { generateSession } from './live-session.ts'
import { SECRET } from './parts-store.ts'

const OPERATIONS: readonly TracedOperation[] = [
  'all',
  'check',
  'clear',
  'destroy',
  'end',
  'end-all',
  'ending',
  'get',
  'ids',
  'length',
  'list',
  'set',
  'touch',
]
// What a busy machine takes at most.
const BUSY = { timeout: 10_000 }
const CANARY = 'canary-of-the-diagnostics'

let stops: (() => void)[] = []

afterEach(() => {
  for (const stop of stops) stop()
  stops = []
})

/** Everything that every channel tells, as it is told. */
function listen() {
  const told: string[] = []
  const messages: unknown[] = []
  for (const operation of OPERATIONS) {
    const channel = tracingChannel<string, OperationTrace>(`express-session-valkey:${operation}`)
    const note = (step: string) => (message: unknown) => {
      told.push(`${operation} ${step}`)
      messages.push({ ...(message as object) })
    }
    const [onStart, onEnd, onError] = [note('start'), note('end'), note('error')]
    channel.start.subscribe(onStart)
    channel.asyncEnd.subscribe(onEnd)
    channel.error.subscribe(onError)
    stops.push(
      () => channel.start.unsubscribe(onStart),
      () => channel.asyncEnd.unsubscribe(onEnd),
      () => channel.error.unsubscribe(onError),
    )
  }
  return { told, messages }
}

function listenToDecisions(): Decision[] {
  const decisions: Decision[] = []
  const note = (message: unknown) => void decisions.push(message as Decision)
  subscribe('express-session-valkey:decision', note)
  stops.push(() => unsubscribe('express-session-valkey:decision', note))
  return decisions
}

function open(): InProcessStore {
  const store = new InProcessStore({ maxSessionsPerUser: 1 })
  onTestFinished(() => store.close())
  return store
}

describe('the channels of operations', () => {
  test('tell when each operation begins and ends', async () => {
    const store = open()
    const session = generateSession(store, CANARY, { content: { userId: CANARY, note: CANARY } })
    const { told } = listen()

    await store.set(CANARY, session)
    await store.get(CANARY)
    await store.touch(CANARY, session)
    await store.registry.list(CANARY)
    await store.registry.end({ sid: CANARY })
    await store.registry.ending({ sid: CANARY })
    await store.registry.endAll(CANARY)
    await store.destroy(CANARY)
    await store.all()
    await store.ids()
    await store.length()
    await store.clear()
    await store.check()

    const operations = [
      ...'set get touch list end ending end-all destroy all ids length clear check'.split(' '),
    ]
    expect(told).toEqual(operations.flatMap((operation) => [`${operation} start`, `${operation} end`]))
  })

  test('carry no id, handle, user or content, also when they tell of a failure', async () => {
    const store = open()
    const { messages, told } = listen()
    await store.set(CANARY, generateSession(store, CANARY, { content: { userId: CANARY, note: CANARY } }))
    await store.get(CANARY)
    await store.registry.list(CANARY)
    await store.close()
    await failureOf(store.get(CANARY))

    const text = JSON.stringify(
      messages.map((message) => ({ ...(message as object), stack: String(message) })),
    )
    expect(told).toContain('get error')
    expect(text).not.toContain(CANARY)
    expect(text).not.toContain(store.handle(CANARY))
    expect(messages).toContainEqual(
      expect.objectContaining({
        operation: 'get',
        error: expect.objectContaining({ code: 'ERR_STORE_CLOSED' }),
      }),
    )
  })

  test('cost no promise where nobody listens', async () => {
    const work = Promise.resolve('done')
    expect(traced('get', () => work)).toBe(work)

    const { told } = listen()
    const outcome = traced('get', () => work)

    expect(outcome).not.toBe(work)
    expect(await outcome).toBe('done')
    expect(told).toEqual(['get start', 'get end'])
  })

  test('bind a context to an operation, as tracers do', async () => {
    const spans = new AsyncLocalStorage<string>()
    const { start } = tracingChannel('express-session-valkey:get')
    start.bindStore(spans, () => 'the span')
    stops.push(() => start.unbindStore(spans))
    const seen: (string | undefined)[] = []
    const parse = (text: string | Buffer) => {
      seen.push(spans.getStore())
      return JSON.parse(String(text)) as object
    }
    const store = new InProcessStore({ serializer: { stringify: JSON.stringify, parse } })
    onTestFinished(() => store.close())
    await store.set('sid', generateSession(store, 'sid'))

    await store.get('sid')

    expect(seen.at(-1)).toBe('the span')
  })

  test('change nothing about answers and failures', async () => {
    const store = open()
    listen()
    await store.set('sid', generateSession(store, 'sid', { content: { count: 5 } }))

    expect(await store.get('sid')).toMatchObject({ count: 5 })
    await store.close()
    await expect(store.get('sid')).rejects.toMatchObject({ code: 'ERR_STORE_CLOSED' })
  })
})

describe('the channel of decisions', () => {
  test('tells of evictions, endings and refused writes, without a handle', async () => {
    const store = open()
    const decisions = listenToDecisions()
    const older = generateSession(store, 'older', { content: { userId: 'alice' } })
    await store.set('older', older)
    await store.set('newer', generateSession(store, 'newer', { content: { userId: 'alice' } }))
    await failureOf(store.set('older', Object.assign(older, { note: 1 })))
    await store.destroy('newer')

    expect(decisions).toEqual([
      { decision: 'session-ended', reason: 'evicted' },
      { decision: 'write-refused', ending: 'ended' },
      { decision: 'session-ended', reason: 'logout' },
    ])
  })

  test('tells of attempts that fail and of the breaker', async () => {
    const server = await startValkey()
    onTestFinished(() => server.stop())
    const proxy = await startFaultProxy(server)
    onTestFinished(() => proxy.stop())
    const store = new ValkeyStore({
      connection: { url: `valkey://127.0.0.1:${proxy.port}` },
      secrets: [SECRET],
      retries: 0,
      connectTimeoutMs: 50,
      breaker: { failures: 2, halfOpenAfterMs: 100 },
    })
    onTestFinished(() => store.close())
    await vi.waitFor(async () => expect(await failureOf(store.get('sid'))).toBeUndefined(), BUSY)
    const decisions = listenToDecisions()

    await server.kill()
    await vi.waitFor(
      async () => expect(await failureOf(store.get('sid'))).toMatchObject({ reason: 'breaker-open' }),
      BUSY,
    )

    const [first] = decisions
    expect(first).toMatchObject({ decision: 'attempt-failed', reason: 'connection' })
    expect(decisions).toContainEqual({ decision: 'breaker', state: 'open' })
    expect(decisions.at(-1)).toEqual({ decision: 'attempt-failed', kind: 'refused', reason: 'breaker-open' })
    await server.restart()
    await vi.waitFor(async () => expect(await failureOf(store.get('sid'))).toBeUndefined(), {
      timeout: 10_000,
    })
    expect(decisions).toContainEqual({ decision: 'breaker', state: 'half-open' })
    expect(decisions.at(-1)).toEqual({ decision: 'breaker', state: 'closed' })
  })
})
