import { SessionWatchBehindError } from '../errors.ts'
import type { SessionEnding } from '../session/ending.ts'

export interface WatchOptions {
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
const MAX_UNREAD = 1000
// More than a registry remembers of those that have ended: whatever a look may find again is among them.
const MAX_TOLD = 1000

/** What a watch tells, kept by the registry; the app has the {@link SessionWatch} on it. */
export class WatchFeed {
  readonly #stop: () => void
  readonly #told = new Set<string>()
  readonly #unread: WatchedEnding[] = []
  readonly #waiting: Waiting[] = []
  readonly ended: Promise<WatchedEnding>
  #resolveFirst: (ending: WatchedEnding) => void = () => {}
  #rejectFirst: (reason: unknown) => void = () => {}
  #failure: SessionWatchBehindError | undefined
  #isLeft = false
  #isOver = false

  constructor(stop: () => void) {
    this.#stop = stop
    this.ended = new Promise((resolve, reject) => {
      this.#resolveFirst = resolve
      this.#rejectFirst = reject
    })
    // Who only iterates never looks at it.
    this.ended.catch(() => {})
  }

  /** Tells an ending, once for each session. */
  tell(ending: WatchedEnding): void {
    if (this.#isOver || !this.#isNews(ending.handle)) return
    this.#resolveFirst(ending)
    const next = this.#waiting.shift()
    if (next) next.resolve({ done: false, value: ending })
    else if (this.#unread.length < MAX_UNREAD) this.#unread.push(ending)
    else this.#failure = new SessionWatchBehindError(MAX_UNREAD)
    if (this.#failure || this.#isLeft) this.finish(this.#failure)
  }

  finish(reason: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#rejectFirst(reason)
    for (const { resolve } of this.#waiting.splice(0)) resolve(DONE)
    this.#stop()
  }

  /** Nobody has the watch any more: only `ended` may still be awaited. */
  leave(): void {
    this.#isLeft = true
    if (this.#told.size > 0) this.finish(undefined)
  }

  async next(): Promise<IteratorResult<WatchedEnding, undefined>> {
    const value = this.#unread.shift()
    if (value) return { done: false, value }
    const failure = this.#failure
    this.#failure = undefined
    if (failure) throw failure
    if (this.#isOver) return DONE
    return new Promise((resolve) => this.#waiting.push({ resolve }))
  }

  // Found again, it is the last to be forgotten.
  #isNews(handle: string): boolean {
    const isNews = !this.#told.delete(handle)
    this.#told.add(handle)
    const [oldest] = this.#told
    if (this.#told.size > MAX_TOLD && oldest !== undefined) this.#told.delete(oldest)
    return isNews
  }
}

/**
 * A watch on endings: `ended` resolves to the first one; iterating gives each, and stops when the watch does: with its
 * signal, with the store, and a watch on one session with that session. A watch that is dropped is freed once it has
 * resolved `ended`. Iterating rejects with `SessionWatchBehindError` after 1,000 endings that wait to be read.
 */
export interface SessionWatch extends AsyncIterable<WatchedEnding> {
  /** Resolves to the first ending; rejects with the signal's reason, or `StoreClosedError`, if the watch stops before. */
  readonly ended: Promise<WatchedEnding>
}

/** What the app holds of a feed: dropping it frees the feed. */
export class FeedWatch implements SessionWatch {
  readonly #feed: WatchFeed
  readonly ended: Promise<WatchedEnding>

  constructor(feed: WatchFeed) {
    this.#feed = feed
    this.ended = feed.ended
  }

  // The iterator holds on to the watch, by `this`: as long as somebody may read on, it is not dropped.
  [Symbol.asyncIterator](): AsyncIterator<WatchedEnding, undefined> {
    return {
      next: () => this.#feed.next(),
      return: async () => {
        this.#feed.finish(new Error('The watch was left'))
        return DONE
      },
    }
  }
}
