import { SessionWatchBehindError } from '../errors.ts'
import type { SessionEnding } from '../session/ending.ts'
import type { RecordKind } from '../session/records.ts'

export interface WatchOptions {
  readonly signal?: AbortSignal | undefined
  readonly kind?: RecordKind | undefined
}

/** A session that ended, and how. */
export interface WatchedEnding extends SessionEnding {
  readonly handle: string
}

interface Waiting {
  readonly resolve: (result: IteratorResult<WatchedEnding, undefined>) => void
}

const DONE = { done: true, value: undefined } as const
const MAX_UNREAD = 1000
// More than the ended sessions that a registry keeps, so a repeated check finds none that was forgotten here.
const MAX_REPORTED = 1000

/** The endings of one watch. The registry holds it, the app holds the {@link SessionWatch} that reads it. */
export class WatchFeed {
  readonly #stop: () => void
  /** The kind of sessions that it is for; `undefined` for both. */
  readonly kind: RecordKind | undefined
  readonly #reported = new Set<string>()
  /** Sessions of another kind that have ended. */
  readonly #skipped = new Set<string>()
  readonly #unread: WatchedEnding[] = []
  readonly #waiting: Waiting[] = []
  readonly ended: Promise<WatchedEnding>
  #resolveFirst: (ending: WatchedEnding) => void = () => {}
  #rejectFirst: (reason: unknown) => void = () => {}
  #failure: SessionWatchBehindError | undefined
  #isLeft = false
  #isOver = false

  constructor(stop: () => void, kind?: RecordKind) {
    this.#stop = stop
    this.kind = kind
    this.ended = new Promise((resolve, reject) => {
      this.#resolveFirst = resolve
      this.#rejectFirst = reject
    })
    // Avoids an unhandled rejection when the caller only iterates.
    this.ended.catch(() => {})
  }

  /** Reports an ending, once for each session. */
  report(ending: WatchedEnding): void {
    if (this.#isOver || !isNew(ending.handle, this.#reported)) return
    this.#resolveFirst(ending)
    const next = this.#waiting.shift()
    if (next) next.resolve({ done: false, value: ending })
    else if (this.#unread.length < MAX_UNREAD) this.#unread.push(ending)
    else this.#failure = new SessionWatchBehindError(MAX_UNREAD)
    if (this.#failure || this.#isLeft) this.finish(this.#failure)
  }

  /** Returns whether the kind of this ended session is still to be found out. */
  asksFor(handle: string): boolean {
    return !this.#isOver && !this.#reported.has(handle) && !this.#skipped.has(handle)
  }

  /** Notes an ended session of another kind. */
  skip(handle: string): void {
    isNew(handle, this.#skipped)
  }

  finish(reason: unknown): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#rejectFirst(reason)
    for (const { resolve } of this.#waiting.splice(0)) resolve(DONE)
    this.#stop()
  }

  /** The app dropped the watch: only `ended` may still be awaited. */
  leave(): void {
    this.#isLeft = true
    if (this.#reported.size > 0) this.finish(undefined)
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
}

/** Adds a handle, and returns whether it was new. One that is found again is the last to be forgotten. */
function isNew(handle: string, known: Set<string>): boolean {
  const wasNew = !known.delete(handle)
  known.add(handle)
  const [oldest] = known
  if (known.size > MAX_REPORTED && oldest !== undefined) known.delete(oldest)
  return wasNew
}

/**
 * A watch on endings. `ended` resolves to the first one; iterating yields each. The watch stops with its signal and when the store
 * closes; a watch on one session stops when that session ends. A watch that the app drops is freed once `ended` has resolved.
 * Iterating rejects with `SessionWatchBehindError` once 1,000 endings wait to be read.
 */
export interface SessionWatch extends AsyncIterable<WatchedEnding> {
  /** Resolves to the first ending. Rejects with the signal's reason, or with `StoreClosedError`, if the watch stops before. */
  readonly ended: Promise<WatchedEnding>
}

/** The app's end of a feed: dropping it frees the feed. */
export class FeedWatch implements SessionWatch {
  readonly #feed: WatchFeed
  readonly ended: Promise<WatchedEnding>

  constructor(feed: WatchFeed) {
    this.#feed = feed
    this.ended = feed.ended
  }

  // The iterator keeps the watch alive through `this`, as long as it can be read.
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
