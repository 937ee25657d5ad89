import { spawnSync } from 'node:child_process'
import type { Request } from 'express'
import session from 'express-session'
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { StoreUnavailableError } from '../../lib/errors.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { COOKIE_SECRET } from './app.ts'
import { failureOf } from './failure-of.ts'
import { generateSession, type LiveSession } from './live-session.ts'
import { storeKinds } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

type Callback = (...args: unknown[]) => void

interface Method {
  readonly name: string
  call(store: SessionStore, live: LiveSession, callback: Callback): unknown
  /** Absent where express-session has only the form with a callback. */
  readonly promise?: (store: SessionStore, live: LiveSession) => Promise<unknown>
  readonly value: unknown
}

function hasPromise(method: Method): method is Method & Required<Pick<Method, 'promise'>> {
  return method.promise !== undefined
}

const methods: readonly Method[] = [
  {
    name: 'get',
    call: (store, _, callback) => store.get('sid', callback),
    promise: (store) => store.get('sid'),
    value: expect.objectContaining({ n: 1 }),
  },
  {
    name: 'set',
    call: (store, live, callback) => store.set('sid', Object.assign(live, { n: 2 }), callback),
    promise: (store, live) => store.set('sid', Object.assign(live, { n: 2 })),
    value: undefined,
  },
  {
    name: 'touch',
    call: (store, live, callback) => store.touch('sid', { ...live }, callback),
    promise: (store, live) => store.touch('sid', { ...live }),
    value: undefined,
  },
  {
    name: 'destroy',
    call: (store, _, callback) => store.destroy('sid', callback),
    promise: (store) => store.destroy('sid'),
    value: undefined,
  },
  {
    name: 'all',
    call: (store, _, callback) => store.all(callback),
    promise: (store) => store.all(),
    value: [expect.objectContaining({ n: 1, id: expect.any(String) })],
  },
  {
    name: 'ids',
    call: (store, _, callback) => store.ids(callback),
    promise: (store) => store.ids(),
    value: [expect.any(String)],
  },
  {
    name: 'length',
    call: (store, _, callback) => store.length(callback),
    promise: (store) => store.length(),
    value: 1,
  },
  {
    name: 'clear',
    call: (store, _, callback) => store.clear(callback),
    promise: (store) => store.clear(),
    value: undefined,
  },
  {
    name: 'regenerate',
    call: (store, live, callback) =>
      store.regenerate(Object.assign(Reflect.get(live, 'req') as Request, { session: live }), callback),
    value: undefined,
  },
  {
    name: 'load',
    call: (store, _, callback) => store.load('sid', callback),
    value: expect.objectContaining({ n: 1, id: 'sid' }),
  },
]

// A fake, since a real backend cannot be made to fail all its verbs at will.
function failing(inner: Backend): Backend {
  const fail = async () => {
    throw new StoreUnavailableError('fake')
  }
  async function* failScan(): AsyncIterable<readonly string[]> {
    yield []
    throw new StoreUnavailableError('fake')
  }
  return wrapBackend(inner, {
    get: fail,
    put: fail,
    touch: fail,
    end: fail,
    handles: failScan,
    now: fail,
    ping: fail,
  })
}

// Long enough for a second call, if there were one.
async function settled(): Promise<void> {
  for (let turn = 0; turn < 10; turn += 1) await new Promise((resolve) => setImmediate(resolve))
}

describe.each(storeKinds())('the methods of a store $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const emit = vi.fn()

  afterEach(() => {
    emit.mockClear()
  })

  async function prepare({ isFailing = false } = {}) {
    const place = kind.place()
    const healthy = place.share()
    const store = isFailing ? place.over(failing(place.backend())) : healthy
    // express-session gives the store its `generate`, which `regenerate` needs.
    session({ store, secret: COOKIE_SECRET, resave: false, saveUninitialized: false })
    await healthy.set('sid', generateSession(healthy, 'sid', { content: { n: 1 } }))
    const live = store.createSession(
      { sessionID: 'sid', sessionStore: store } as never,
      (await healthy.get('sid')) as never,
    )
    const original = store.emit.bind(store)
    store.emit = (name: string, ...facts: unknown[]) => {
      emit(name)
      return original(name, ...facts)
    }
    return { store, live: live as unknown as LiveSession }
  }

  describe.each(methods)('$name', ({ call, value }) => {
    test('calls back once, later, with its value', async () => {
      const { store, live } = await prepare()
      const callback = vi.fn()

      const returned = call(store, live, callback)
      expect(callback).not.toHaveBeenCalled()
      await vi.waitFor(() => expect(callback).toHaveBeenCalled())
      await settled()

      expect(callback).toHaveBeenCalledTimes(1)
      expect(callback.mock.calls[0]?.slice(0, 2)).toEqual(
        value === undefined && callback.mock.calls[0]?.length === 1 ? [null] : [null, value],
      )
      expect(returned).toBeUndefined()
    })

    test('calls back once, later, with the failure of the backend', async () => {
      const { store, live } = await prepare({ isFailing: true })
      const callback = vi.fn()

      call(store, live, callback)
      expect(callback).not.toHaveBeenCalled()
      await vi.waitFor(() => expect(callback).toHaveBeenCalled())
      await settled()

      expect(callback).toHaveBeenCalledTimes(1)
      expect(callback.mock.calls[0]?.[0]).toMatchObject({ code: 'ERR_STORE_UNAVAILABLE', status: 503 })
      expect(callback.mock.calls[0]?.[1]).toBeUndefined()
    })

    test('emits nothing at which express-session lets requests through, nor an error', async () => {
      for (const isFailing of [false, true]) {
        const { store, live } = await prepare({ isFailing })
        const called = vi.fn()
        call(store, live, called)
        await vi.waitFor(() => expect(called).toHaveBeenCalled())
        await settled()
      }

      expect(
        emit.mock.calls
          .flat()
          .filter((event) => ['connect', 'disconnect', 'error'].includes(event as string)),
      ).toEqual([])
    })
  })

  describe.each(methods.filter(hasPromise))('$name without a callback', ({ call, promise, value }) => {
    test('returns a promise of its value', async () => {
      const { store, live } = await prepare()

      expect(await promise(store, live)).toEqual(value)
    })

    test('takes null for no callback', async () => {
      const { store, live } = await prepare()
      const unhandled = vi.fn()
      process.on('unhandledRejection', unhandled)

      call(store, live, null as never)
      await settled()

      process.off('unhandledRejection', unhandled)
      expect(unhandled).not.toHaveBeenCalled()
    })

    test('rejects its promise with the failure of the backend', async () => {
      const { store, live } = await prepare({ isFailing: true })

      expect(await failureOf(promise(store, live))).toBeInstanceOf(StoreUnavailableError)
    })
  })

  test('destroy through a session without a callback lets no failure end the process', async () => {
    const { store, live } = await prepare({ isFailing: true })
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)

    Reflect.apply(live.destroy, live, [])
    const generated = generateSession(store, 'sid')
    Reflect.apply(generated.destroy, generated, [])
    await settled()

    process.off('unhandledRejection', unhandled)
    expect(unhandled).not.toHaveBeenCalled()
    expect(await failureOf(store.destroy('sid'))).toBeInstanceOf(StoreUnavailableError)
  })
})

// Processes of their own: a test runner takes every uncaught exception for a failure of its own.
describe('a callback that throws', () => {
  const calls = {
    get: "store.get('sid', callback)",
    set: "store.set('sid', { cookie: {} }, callback)",
    touch: "store.touch('sid', { cookie: {} }, callback)",
    destroy: "store.destroy('sid', callback)",
    all: 'store.all(callback)',
    ids: 'store.ids(callback)',
    length: 'store.length(callback)',
    clear: 'store.clear(callback)',
    regenerate: "store.regenerate({ sessionID: 'sid', sessionStore: store }, callback)",
  }

  test.each([
    ['a value', '() => {}'],
    ['a failure', '() => store.close()'],
  ])('is one uncaught exception for each method that delivers %s, and is called once', (_, prepare) => {
    const program = `
      import { InProcessStore } from './lib/store/in-process-store.ts'
      const store = new InProcessStore()
      store.generate = () => {}
      process.on('uncaughtException', ({ message }, origin) => console.log('uncaught', message, origin))
      process.on('unhandledRejection', () => console.log('unhandled'))
      const methods = { ${Object.entries(calls)
        .map(([name, call]) => `${name}: (callback) => ${call}`)
        .join(', ')} }
      await (${prepare})()
      for (const [name, call] of Object.entries(methods)) {
        call(() => { console.log('called', name); throw new Error(name) })
        await new Promise((resolve) => setTimeout(resolve, 10))
      }
    `

    const { stdout } = spawnSync(
      process.execPath,
      ['--import', 'tsx', '--input-type=module', '--eval', program],
      { encoding: 'utf8' },
    )

    expect(stdout.trim().split('\n')).toEqual(
      Object.keys(calls).flatMap((name) => [`called ${name}`, `uncaught ${name} uncaughtException`]),
    )
  })
})
