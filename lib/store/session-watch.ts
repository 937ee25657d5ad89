import type { SessionEnding } from './session-ending.ts'

export interface WatchOptions {
  /** Stops the watch. */
  readonly signal?: AbortSignal | undefined
}

/** One ended session, as a watch tells it. */
export interface WatchedEnding extends SessionEnding {
  readonly handle: string
}

interface Waiting {
  readonly resolve: (result: IteratorResult<WatchedEnding, undefined>) => void
}

const DONE = { done: true, value: undefined } as const

/**
 * A watch on endings: `ended` resolves to the first one; iterating gives each, and stops when the watch does: with its
 * signal, with the store, and a watch on one session with that session.
 */
export class SessionWatch implements AsyncIterable<WatchedEnding> {
  readonly #stop: () => void
  readonly #seen = new Set<string>()
  readonly #queue: WatchedEnding[] = []
  readonly #waiting: Waiting[] = []
  /** The first ending; rejects with the signal's reason, or `StoreClosedError`, if the watch stops before. */
  readonly ended: Promise<WatchedEnding>
  #resolveFirst: (ending: WatchedEnding) => void = () => {}
  #rejectFirst: (reason: unknown) => void = () => {}
  #isOver = false

  /** Made by `registry.watch`. */
  constructor(stop: () => void) {
    this.#stop = stop
    this.ended = new Promise((resolve, reject) => {
      this.#resolveFirst = resolve
      this.#rejectFirst = reject
    })
    // Who only iterates never looks at it.
    this.ended.catch(() => {})
  }

  [Symbol.asyncIterator](): AsyncIterator<WatchedEnding, undefined> {
    return {
      next: () => this.#next(),
      return: async () => {
        this.finish(new Error('The watch was left'))
        return DONE
      },
    }
  }

  /** Tells an ending, once for each session. */
  tell(ending: WatchedEnding): void {
    if (this.#isOver || this.#seen.has(ending.handle)) return
    this.#seen.add(ending.handle)
    this.#resolveFirst(ending)
    const next = this.#waiting.shift()
    if (next) next.resolve({ done: false, value: ending })
    else this.#queue.push(ending)
  }

  finish(reason: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#rejectFirst(reason)
    for (const { resolve } of this.#waiting.splice(0)) resolve(DONE)
    this.#stop()
  }

  #next(): Promise<IteratorResult<WatchedEnding, undefined>> {
    const value = this.#queue.shift()
    if (value) return Promise.resolve({ done: false, value })
    if (this.#isOver) return Promise.resolve(DONE)
    return new Promise((resolve) => this.#waiting.push({ resolve }))
  }
}
