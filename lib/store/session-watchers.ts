import type { Backend, EndNotice } from '../backend/backend.ts'
import { StoreClosedError } from '../errors.ts'
import type { SessionEnding } from './session-ending.ts'
import { SessionWatch, type WatchOptions } from './session-watch.ts'

/** Whose endings a watch is for. */
export type Watched = { readonly handle: string } | { readonly owner: string }

/** What a look at a handle finds. */
export type Finding =
  | { readonly state: 'living'; readonly leftMs: number }
  | { readonly state: 'ended'; readonly ending: SessionEnding }
  /** It has expired, or is not stored yet. */
  | { readonly state: 'absent'; readonly ending: SessionEnding }

export interface SessionWatchersParts {
  readonly backend: Backend
  /** Looks at the session itself: a notice only says where to look, as whoever can publish can make one up. */
  readonly look: (handle: string) => Promise<Finding>
}

const RETRY_MS = 1000
// An ending tells when it was asked for, by a clock that may be a little off; it takes effect later, on a slow link seconds.
const LEEWAY_MS = 5000
const MAX_TIMER_MS = 2 ** 31 - 1

interface Entry {
  readonly watched: Watched
  /** When the watch began: endings of before are none of its business. */
  readonly since: Promise<number>
  timer?: NodeJS.Timeout
}

/** All watches of this process. They share one subscription, and look for themselves whenever it may have missed something. */
export class SessionWatchers {
  readonly #parts: SessionWatchersParts
  readonly #entries = new Map<SessionWatch, Entry>()
  readonly #byName = new Map<string, Set<SessionWatch>>()
  #unsubscribe: (() => void) | undefined

  constructor(parts: SessionWatchersParts) {
    this.#parts = parts
  }

  watch(watched: Watched, { signal }: WatchOptions): SessionWatch {
    const abort = () => watch.finish(signal?.reason)
    const watch = new SessionWatch(() => {
      signal?.removeEventListener('abort', abort)
      this.#remove(watch)
    })
    this.#add(watch, watched)
    if (signal?.aborted) abort()
    else signal?.addEventListener('abort', abort)
    return watch
  }

  close(): void {
    for (const watch of [...this.#entries.keys()]) watch.finish(new StoreClosedError())
  }

  #add(watch: SessionWatch, watched: Watched): void {
    const isListening = this.#unsubscribe !== undefined
    // The subscription reports a gap as soon as it is in force, and each watch then looks for itself.
    this.#unsubscribe ??= this.#parts.backend.subscribe({
      notice: (notice) => this.#notice(notice),
      gap: () => this.#gap(),
    })
    const since = this.#parts.backend.now().catch(() => Date.now())
    this.#entries.set(watch, { watched, since })
    const name = nameOf(watched)
    this.#byName.set(name, (this.#byName.get(name) ?? new Set()).add(watch))
    if (isListening) this.#catchUp(watch)
  }

  #remove(watch: SessionWatch): void {
    const entry = this.#entries.get(watch)
    if (entry === undefined) return
    clearTimeout(entry.timer)
    this.#entries.delete(watch)
    const name = nameOf(entry.watched)
    const others = this.#byName.get(name)
    others?.delete(watch)
    if (others?.size === 0) this.#byName.delete(name)
    if (this.#entries.size > 0) return
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
  }

  #notice({ handle, owner }: EndNotice): void {
    for (const watch of this.#byName.get(nameOf({ handle })) ?? []) this.#look(watch, handle)
    if (owner === undefined) return
    for (const watch of this.#byName.get(nameOf({ owner })) ?? []) this.#look(watch, handle)
  }

  #gap(): void {
    for (const watch of this.#entries.keys()) this.#catchUp(watch)
  }

  #catchUp(watch: SessionWatch): void {
    const watched = this.#entries.get(watch)?.watched
    if (watched === undefined) return
    if ('handle' in watched) this.#look(watch, watched.handle)
    else this.#lookAtAll(watch, watched.owner).catch(() => this.#catchUpLater(watch, RETRY_MS))
  }

  async #lookAtAll(watch: SessionWatch, owner: string): Promise<void> {
    const { members, pending, departed } = await this.#parts.backend.registry.roster(owner)
    const handles = [
      ...members.map((member) => member.handle),
      ...pending,
      ...departed.map((one) => one.handle),
    ]
    for (const handle of handles) this.#look(watch, handle)
  }

  #look(watch: SessionWatch, handle: string): void {
    Promise.all([this.#parts.look(handle), this.#entries.get(watch)?.since]).then(
      ([finding, sinceMs = 0]) => this.#found(watch, { handle, finding, sinceMs }),
      () => this.#catchUpLater(watch, RETRY_MS),
    )
  }

  #found(watch: SessionWatch, found: { handle: string; finding: Finding; sinceMs: number }): void {
    const entry = this.#entries.get(watch)
    if (entry === undefined) return
    const { handle, finding, sinceMs } = found
    const isOfOne = 'handle' in entry.watched
    // Nothing announces that a session expires.
    if (finding.state === 'living' && isOfOne) this.#catchUpLater(watch, finding.leftMs + 1)
    if (finding.state === 'living') return
    const isNews = finding.state === 'ended' && finding.ending.at.getTime() >= sinceMs - LEEWAY_MS
    if (isOfOne || isNews) watch.tell({ handle, ...finding.ending })
    if (isOfOne) watch.finish(undefined)
  }

  #catchUpLater(watch: SessionWatch, ms: number): void {
    const entry = this.#entries.get(watch)
    if (entry === undefined) return
    clearTimeout(entry.timer)
    entry.timer = setTimeout(() => this.#catchUp(watch), Math.min(ms, MAX_TIMER_MS)).unref()
  }
}

function nameOf(watched: Watched): string {
  return 'handle' in watched ? `handle ${watched.handle}` : `owner ${watched.owner}`
}
