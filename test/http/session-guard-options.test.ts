import session from 'express-session'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { SessionEndedError, SessionTooLargeError, StoreUnavailableError } from '../../lib/errors.ts'
import { type SessionGuardOptions, sessionGuard } from '../../lib/http/guard/session-guard.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { COOKIE_SECRET, frameworks } from '../store/app.ts'
import { until } from '../support/until.ts'
import { http1, type Listener, type Site } from './protocols.ts'

const store = new InProcessStore()

afterEach(() => {
  vi.restoreAllMocks()
})

describe('the options of sessionGuard', () => {
  test.each([
    ['nothing', undefined, 'Option "options" must be an object'],
    ['a word', 'store', 'Option "options" must be an object'],
    ['no store', {}, 'Option "store" must be the store that session() was given, one of this package'],
    [
      'a store of another kind',
      { store: new session.MemoryStore() },
      'Option "store" must be the store that session() was given',
    ],
    [
      'a name that is not known',
      { store, secret: 'x' },
      'Unknown option "secret" of sessionGuard; known are store, saveUninitialized, unset, onError',
    ],
    ['a store without its name', store, 'Option "store" must be passed by its name: sessionGuard({ store })'],
    [
      'a word for saveUninitialized',
      { store, saveUninitialized: 'no' },
      'Option "saveUninitialized" must be true or false, got "no"',
    ],
    [
      'an unknown word for unset',
      { store, unset: 'drop' },
      `Option "unset" must be one of 'keep', 'destroy', got "drop"`,
    ],
    ['no function for onError', { store, onError: true }, 'Option "onError" must be a function, got true'],
  ])('are refused at once: %s', (_what, options, message) => {
    expect(() => sessionGuard(options as unknown as SessionGuardOptions)).toThrow(TypeError)
    expect(() => sessionGuard(options as unknown as SessionGuardOptions)).toThrow(message)
  })

  test('may be left out, or undefined, but the store', () => {
    const guard = sessionGuard({ store, saveUninitialized: undefined, unset: undefined, onError: undefined })

    expect(guard.name).toBe('sessionGuardMiddleware')
    expect(guard.length).toBe(3)
  })

  test.each(frameworks)(
    'are missed, and asked for, when $framework gets the middleware uncalled',
    async ({ express }) => {
      const app = express()
      app.use(sessionGuard as never)
      app.use((error: Error, _req: unknown, res: { send(text: string): void }, _next: unknown) =>
        res.send(`${error.name}: ${error.message}`),
      )

      const site = await http1.serve(app as unknown as Listener)
      const { body } = await site.ask('/')
      await site.close()

      expect(body).toBe(
        'TypeError: sessionGuard must be called to make the middleware: app.use(sessionGuard({ store }))',
      )
    },
  )
})

describe('what sessionGuard tells of requests it refuses', () => {
  const CONTENT = 'what a session holds'

  /** A store that is none: it only commits, and always fails. No real one fails with errors that are not ours. */
  class FailingStore extends session.MemoryStore {
    readonly #error: unknown

    constructor(error: unknown) {
      super()
      this.#error = error
    }

    override destroy(): Promise<void> {
      return Promise.resolve()
    }

    commit(): Promise<void> {
      return Promise.reject(this.#error)
    }
  }

  async function visit(error: unknown, onError?: SessionGuardOptions['onError']): Promise<number> {
    const app = frameworks[0].express()
    const failing = new FailingStore(error)
    app.use(session({ store: failing, secret: COOKIE_SECRET, resave: false, saveUninitialized: false }))
    app.use(sessionGuard({ store: failing as never, onError }))
    app.get('/', (_req, res) => void res.send('page'))
    const site: Site = await http1.serve(app as unknown as Listener)
    const { status } = await site.ask('/')
    await site.close()
    return status
  }

  test('goes to onError, whole, with the request', async () => {
    const onError = vi.fn()
    const error = new TypeError(CONTENT)

    const status = await visit(error, onError)

    expect(status).toBe(500)
    expect(onError.mock.calls).toEqual([[error, expect.objectContaining({ url: '/' })]])
  })

  test.each([
    [
      new StoreUnavailableError('timeout'),
      'StoreUnavailableError: The session backend is unavailable (timeout)',
    ],
    [new SessionTooLargeError(9, 8), 'SessionTooLargeError: The session has 9 bytes'],
  ])('goes to the console by default: %s', async (error, text) => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {})

    await visit(error)

    await until(() => log.mock.calls.length > 0)
    expect(log.mock.calls).toEqual([[expect.stringContaining(text)]])
  })

  test('is only its kind, by default, if the error is not ours', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {})

    await visit(new RangeError(CONTENT))

    await until(() => log.mock.calls.length > 0)
    expect(log.mock.calls).toEqual([[expect.stringContaining('unexpected RangeError')]])
    expect(String(log.mock.calls)).not.toContain(CONTENT)
  })

  test('is nothing, by default, if the request was merely too late', async () => {
    const log = vi.spyOn(console, 'error').mockImplementation(() => {})

    const status = await visit(new SessionEndedError('ended'))
    await new Promise(setImmediate)

    expect(status).toBe(401)
    expect(log).not.toHaveBeenCalled()
  })

  test('does not disturb the answer when the hook throws: it is an uncaught exception of the app', async () => {
    const uncaught: unknown[] = []
    const listeners = process.rawListeners('uncaughtException') as NodeJS.UncaughtExceptionListener[]
    process.removeAllListeners('uncaughtException')
    process.on('uncaughtException', (error) => uncaught.push(error))

    const status = await visit(new StoreUnavailableError('timeout'), () => {
      throw new Error('a hook that throws')
    })
    await until(() => uncaught.length > 0)
    process.removeAllListeners('uncaughtException')
    for (const listener of listeners) process.on('uncaughtException', listener)

    expect(status).toBe(503)
    expect(uncaught).toMatchObject([{ message: 'a hook that throws' }])
  })
})
