import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Backend, EndNotice, Lookout } from '../backend/backend.ts'
import { StoreClosedError } from '../errors.ts'
import type { SessionEnding } from '../session/ending.ts'
import type { RecordKind } from '../session/records.ts'
import { FeedWatch, type SessionWatch, type WatchedEnding, WatchFeed, type WatchOptions } from './watch.ts'

/** The session, or owner of sessions, that a watch is on. */
export type Watched = { readonly handle: string } | { readonly owner: string }

/** The state of a session, as a check finds it. */
export type Observation =
  | { readonly state: 'active'; readonly leftMs: number }
  | { readonly state: 'ended'; readonly ending: SessionEnding; readonly owner: string | undefined }
  /** The session has expired, or is not stored yet. */
  | { readonly state: 'absent'; readonly ending: SessionEnding }

export interface SessionWatchersParts {
  readonly backend: Pick<Backend, 'subscribe' | 'now'>
  readonly registry: Lookout['registry']
  /**
   * Reads the sessions themselves: a notice only names a session to check, since anyone who can publish can forge one. Returns
   * `undefined` where the state is unknown. Never rejects.
   */
  readonly look: (handles: readonly string[]) => Promise<readonly (Observation | undefined)[]>
  /** Returns the kind of a session of the owner that has ended; `undefined` where it cannot be found out. Never rejects. */
  readonly kindOf: (owner: string, handle: string) => Promise<RecordKind | undefined>
  /** Longest time between two checks of a session. */
  readonly intervalMs: number
}

const RETRY_MS = 1000
/** How many pages of a user's registry are read: as many sessions as a cap can allow. */
const MAX_PAGES = 100
const MAX_TICK_MS = 1000
// An ending has the time of its request, by a clock that may be off; on a slow link it takes effect seconds later.
const LEEWAY_MS = 5000
// Small enough to keep neither this process nor a server busy for more than a few ms.
const SESSIONS_AT_ONCE = 200
const USERS_AT_ONCE = 20
const LANES = 4

/** One session or owner, with all watches on it. */
interface Subject {
  readonly watched: Watched
  /** Each watch with the time it began: it ignores sessions that ended before. */
  readonly feeds: Map<WatchFeed, Promise<number>>
  /** Sessions that were found active, or whose announced ending could not be verified yet. */
  readonly known: Set<string>
  dueAtMs: number
  /** Set if the session expires before its next check. */
  expiry?: NodeJS.Timeout
}

/**
 * All watches of a store, on one subscription. A notice is sent at most once and may be lost, so each watched session is also
 * checked within the interval, and at once whenever the subscription may have missed notices.
 */
export class SessionWatchers {
  readonly #parts: SessionWatchersParts
  readonly #subjects = new Map<string, Subject>()
  readonly #signals = new Map<AbortSignal, Set<WatchFeed>>()
  readonly #dropped = new FinalizationRegistry<WatchFeed>((feed) => feed.leave())
  readonly #askers = new Map<string, Set<Subject>>()
  readonly #sessions: Batches<string>
  readonly #users: Batches<Subject>
  #unsubscribe: (() => void) | undefined
  #ticker: NodeJS.Timeout | undefined

  constructor(parts: SessionWatchersParts) {
    this.#parts = parts
    this.#sessions = new Batches({
      size: SESSIONS_AT_ONCE,
      lanes: LANES,
      work: (handles) => this.#lookAt(handles),
    })
    this.#users = new Batches({
      size: USERS_AT_ONCE,
      lanes: LANES,
      work: async (users) => void (await Promise.all(users.map((user) => this.#lookAtUser(user)))),
    })
  }

  watch(watched: Watched, { signal, kind }: WatchOptions): SessionWatch {
    const feed = new WatchFeed(() => {
      this.#remove(watched, feed)
      if (signal) this.#release(signal, feed)
    }, kind)
    this.#add(watched, feed)
    const watch = new FeedWatch(feed)
    this.#dropped.register(watch, feed)
    if (signal?.aborted) feed.finish(signal.reason)
    else if (signal) this.#obey(signal, feed)
    return watch
  }

  close(): void {
    const feeds = [...this.#subjects.values()].flatMap((subject) => [...subject.feeds.keys()])
    for (const feed of feeds) feed.finish(new StoreClosedError())
  }

  #add(watched: Watched, feed: WatchFeed): void {
    const isListening = this.#unsubscribe !== undefined
    // The subscription reports a gap as soon as it is in force, which checks every subject.
    this.#unsubscribe ??= this.#parts.backend.subscribe({
      notice: (notice) => this.#notice(notice),
      gap: () => this.#gap(),
    })
    this.#ticker ??= this.#tick()
    const name = nameOf(watched)
    const subject = this.#subjects.get(name) ?? {
      watched,
      feeds: new Map(),
      known: new Set(),
      dueAtMs: performance.now() + RETRY_MS,
    }
    subject.feeds.set(feed, timeOf(this.#parts.backend))
    this.#subjects.set(name, subject)
    if (isListening) this.#look(subject)
  }

  #remove(watched: Watched, feed: WatchFeed): void {
    const name = nameOf(watched)
    const subject = this.#subjects.get(name)
    subject?.feeds.delete(feed)
    if (subject === undefined || subject.feeds.size > 0) return
    clearTimeout(subject.expiry)
    this.#subjects.delete(name)
    if (this.#subjects.size > 0) return
    this.#unsubscribe?.()
    this.#unsubscribe = undefined
    clearInterval(this.#ticker)
    this.#ticker = undefined
    this.#sessions.clear()
    this.#users.clear()
    this.#askers.clear()
  }

  // One listener for all watches of a signal: Node warns of a leak at more than ten.
  #obey(signal: AbortSignal, feed: WatchFeed): void {
    const feeds = this.#signals.get(signal)
    if (feeds) {
      feeds.add(feed)
      return
    }
    this.#signals.set(signal, new Set([feed]))
    signal.addEventListener('abort', this.#abort)
  }

  #release(signal: AbortSignal, feed: WatchFeed): void {
    const feeds = this.#signals.get(signal)
    feeds?.delete(feed)
    if (feeds?.size !== 0) return
    this.#signals.delete(signal)
    signal.removeEventListener('abort', this.#abort)
  }

  readonly #abort = ({ target }: Event): void => {
    const signal = target as AbortSignal
    for (const feed of this.#signals.get(signal) ?? []) feed.finish(signal.reason)
  }

  #notice({ handle, owner }: EndNotice): void {
    const session = this.#subjects.get(nameOf({ handle }))
    if (session) this.#look(session)
    const user = owner === undefined ? undefined : this.#subjects.get(nameOf({ owner }))
    if (user) this.#ask(handle, user)
  }

  #gap(): void {
    for (const subject of this.#subjects.values()) this.#look(subject)
  }

  #tick(): NodeJS.Timeout {
    // An in-process store that the app drops ends no more sessions; the ticker must not keep it alive.
    const watchers = new WeakRef(this)
    const ticker = setInterval(
      () => {
        const alive = watchers.deref()
        if (alive) alive.#lookAtDue()
        else clearInterval(ticker)
      },
      Math.min(MAX_TICK_MS, this.#parts.intervalMs / 20),
    )
    return ticker.unref()
  }

  #lookAtDue(): void {
    const nowMs = performance.now()
    for (const subject of this.#subjects.values()) if (subject.dueAtMs <= nowMs) this.#look(subject)
  }

  #look(subject: Subject): void {
    // With jitter, so that subjects checked together do not stay together.
    subject.dueAtMs = performance.now() + this.#parts.intervalMs * (0.85 + 0.1 * Math.random())
    if ('handle' in subject.watched) this.#ask(subject.watched.handle, subject)
    else this.#users.add(subject)
  }

  #ask(handle: string, subject: Subject): void {
    this.#askers.set(handle, (this.#askers.get(handle) ?? new Set()).add(subject))
    this.#sessions.add(handle)
  }

  async #lookAtUser(subject: Subject): Promise<void> {
    if (!('owner' in subject.watched)) return
    try {
      const named = new Set(subject.known)
      let cursor: string | undefined
      for (let page = 1; page <= MAX_PAGES; page += 1) {
        const roster = await this.#parts.registry.roster(subject.watched.owner, cursor)
        for (const handle of roster.pending) named.add(handle)
        for (const { handle } of [...roster.members, ...roster.departed.toReversed()]) named.add(handle)
        cursor = roster.next
        if (cursor === undefined) break
      }
      for (const handle of named) this.#ask(handle, subject)
    } catch {
      this.#lookSoon(subject)
    }
  }

  async #lookAt(handles: readonly string[]): Promise<void> {
    const asked = handles.map((handle) => [handle, this.#askers.get(handle) ?? []] as const)
    for (const handle of handles) this.#askers.delete(handle)
    const observations = await this.#parts.look(handles)
    asked.forEach(([handle, subjects], at) => {
      for (const subject of subjects) this.#observed(subject, handle, observations[at])
    })
  }

  #observed(subject: Subject, handle: string, observation: Observation | undefined): void {
    if (observation === undefined) this.#lookSoon(subject)
    const wasKnown = subject.known.has(handle)
    if (observation === undefined || observation.state === 'active') subject.known.add(handle)
    else subject.known.delete(handle)
    if (observation === undefined) return
    if ('owner' in subject.watched)
      this.#reportToUser(subject, subject.watched.owner, { handle, observation })
    else if (observation.state === 'active') this.#awaitExpiry(subject, observation.leftMs)
    else if (observation.state === 'ended' || wasKnown)
      this.#report(subject, { handle, ...observation.ending })
    // This watch never saw it active: it may have expired, or never existed.
    else this.#report(subject, { handle, ...observation.ending, reason: 'unknown' })
  }

  #report({ feeds }: Subject, ending: WatchedEnding): void {
    for (const feed of [...feeds.keys()]) {
      feed.report(ending)
      feed.finish(undefined)
    }
  }

  #reportToUser(
    { feeds }: Subject,
    user: string,
    { handle, observation }: { readonly handle: string; readonly observation: Observation },
  ): void {
    // Anyone who can publish can name any owner.
    if (observation.state !== 'ended' || observation.owner !== user) return
    const { ending } = observation
    for (const [feed, since] of feeds)
      void since.then(async (sinceMs) => {
        if (ending.at.getTime() < sinceMs - LEEWAY_MS || !feed.asksFor(handle)) return
        const kind = feed.kind && (await this.#parts.kindOf(user, handle))
        // Rather one too many than one missed.
        if (kind === undefined || kind === feed.kind) feed.report({ handle, ...ending })
        else feed.skip(handle)
      })
  }

  #lookSoon(subject: Subject): void {
    subject.dueAtMs = performance.now() + RETRY_MS * (0.5 + 0.5 * Math.random())
  }

  // Nothing announces that a session expires.
  #awaitExpiry(subject: Subject, leftMs: number): void {
    clearTimeout(subject.expiry)
    if (subject.feeds.size === 0 || performance.now() + leftMs >= subject.dueAtMs) return
    subject.expiry = setTimeout(() => this.#look(subject), leftMs + 1).unref()
  }
}

function nameOf(watched: Watched): string {
  return 'handle' in watched ? `handle ${watched.handle}` : `owner ${watched.owner}`
}

interface BatchTerms<Key> {
  /** The most keys of one batch. */
  readonly size: number
  /** The most batches at a time. */
  readonly lanes: number
  /** Must not reject. */
  readonly work: (keys: readonly Key[]) => Promise<void>
}

/** Processes keys in batches, so that the load on a server does not grow with their number. */
class Batches<Key> {
  readonly #terms: BatchTerms<Key>
  readonly #waiting = new Set<Key>()
  #underWay = 0

  constructor(terms: BatchTerms<Key>) {
    this.#terms = terms
  }

  /** Adds a key, unless it waits already. */
  add(key: Key): void {
    this.#waiting.add(key)
    if (this.#underWay < this.#terms.lanes) void this.#run()
  }

  /** Drops the waiting keys. */
  clear(): void {
    this.#waiting.clear()
  }

  async #run(): Promise<void> {
    this.#underWay += 1
    // Collects the keys that are added in one turn of the event loop.
    await nextTurn()
    while (this.#waiting.size > 0) await this.#terms.work(this.#take())
    this.#underWay -= 1
  }

  #take(): readonly Key[] {
    const keys: Key[] = []
    for (const key of this.#waiting) {
      if (keys.length === this.#terms.size) break
      keys.push(key)
      this.#waiting.delete(key)
    }
    return keys
  }
}

/** Returns the backend's time in ms, or this process's where that cannot be found out. */
export async function timeOf(backend: Pick<Backend, 'now'>): Promise<number> {
  try {
    return await backend.now()
  } catch {
    return Date.now()
  }
}
