import type { Backend } from '../../lib/backend/backend.ts'

type Verb = 'get' | 'put' | 'touch' | 'end'

/** Verbs of a real backend that count their calls, and wait or fail before they do anything if a test says so. */
export class WatchedBackend {
  readonly calls: Verb[] = []
  readonly #before = new Map<Verb, () => Promise<void>>()

  /** What is awaited before a verb is done; what it rejects with, the verb rejects with, and nothing is done. */
  before(verb: Verb, action: () => Promise<void>): void {
    this.#before.set(verb, action)
  }

  fail(verb: Verb, error: Error): void {
    this.before(verb, () => Promise.reject(error))
  }

  heal(): void {
    this.#before.clear()
  }

  verbs(backend: Backend): Partial<Backend> {
    const watch = <Args extends unknown[], Value>(verb: Verb, inner: (...args: Args) => Promise<Value>) => {
      return async (...args: Args): Promise<Value> => {
        this.calls.push(verb)
        await this.#before.get(verb)?.()
        return inner(...args)
      }
    }
    return {
      get: watch('get', backend.get.bind(backend)),
      put: watch('put', backend.put.bind(backend)),
      touch: watch('touch', backend.touch.bind(backend)),
      end: watch('end', backend.end.bind(backend)),
    }
  }
}
