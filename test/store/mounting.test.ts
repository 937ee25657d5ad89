import session from 'express-session'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { OutcomeUnknownError } from '../../lib/errors.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { COOKIE_SECRET } from './app.ts'
import { failureOf } from './failure-of.ts'
import { createGate } from './gate.ts'
import { generateSession, storedContent } from './live-session.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

const mount = (store: SessionStore) =>
  session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false })

describe('a store that session() is given', () => {
  afterEach(() => vi.restoreAllMocks())

  // First: it is said once in a process.
  test('again warns once, and of no id', () => {
    const warned = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const stores = [new InProcessStore(), new InProcessStore()]

    for (const store of stores) mount(store)
    expect(warned).not.toHaveBeenCalled()
    for (const store of [...stores, ...stores]) mount(store)

    expect(warned.mock.calls).toEqual([
      [expect.stringContaining('more than once'), { code: 'ESV_STORE_MOUNTED_TWICE' }],
    ])
  })

  test('with every request keeps no listener', () => {
    vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
    const store = new InProcessStore()

    for (let requests = 0; requests < 100; requests += 1) mount(store)

    expect(store.eventNames()).toEqual([])
    const listener = () => {}
    store.on('session-ended', listener).addListener('connect', listener).once('disconnect', listener)
    expect(store.eventNames()).toEqual(['session-ended'])
  })
})

describe.each(storeKinds())('a store $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  test('waits with its closing for what goes through all sessions', async () => {
    const place = kind.place()
    const inner = place.backend()
    const [ending, end] = [createGate(), createGate()]
    const store = place.over(
      wrapBackend(inner, {
        end: async (handle, terms) => {
          ending.open()
          await end.opened
          return inner.end(handle, terms)
        },
        // The backend is looked into afterwards.
        close: async () => {},
      }),
    )
    await Promise.all(['one', 'two'].map((sid) => store.set(sid, generateSession(store, sid))))

    const clearing = store.clear()
    await ending.opened
    let isClosed = false
    const closing = store.close().then(() => {
      isClosed = true
    })
    await new Promise((resolve) => setImmediate(resolve))
    expect(isClosed).toBe(false)
    end.open()
    await Promise.all([clearing, closing])

    expect(await place.share().ids()).toEqual([])
  })

  test('never lets a write by hand that was given up land over a newer one', async () => {
    const place = kind.place()
    const inner = place.backend()
    const late: (() => Promise<{ answer: string }>)[] = []
    const impatient = place.over(
      wrapBackend(inner, {
        put: async (handle, write) => {
          late.push(() => inner.put(handle, write))
          throw new OutcomeUnknownError('timeout')
        },
      }),
    )
    const store = place.share()

    const given = await failureOf(impatient.set('sid', { cookie: {}, from: 'long ago' } as never))
    await store.set('sid', { cookie: {}, from: 'now' } as never)
    const answers = await Promise.all(late.map((land) => land()))

    expect(given).toMatchObject({ code: 'ERR_STORE_OUTCOME_UNKNOWN' })
    expect(answers).toMatchObject([{ answer: 'conflict' }])
    expect(await storedContent(store, 'sid')).toEqual({ from: 'now' })
  })
})
