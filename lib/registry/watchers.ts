import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Backend, EndNotice, Lookout } from '../backend/backend.ts'
import { StoreClosedError } from '../errors.ts'
import type { SessionEnding } from '../session/ending.ts'
import { FeedWatch, type SessionWatch, type WatchedEnding, WatchFeed, type WatchOptions } from './watch.ts'

/** Whose endings a watch is for. */
export type Watched = { readonly handle: string } | { readonly owner: string }

/** What a look at a handle finds. */
export type Finding =
  | { readonly state: 'living'; readonly leftMs: number }
  | { readonly state: 'ended'; readonly ending: SessionEnding; readonly owner: string | undefined }
  /** It has expired, or is not stored yet. */
  | { readonly state: 'absent'; readonly ending: SessionEnding }

export interface SessionWatchersParts {
  readonly backend: Pick<Backend, 'subscribe' | 'now'>
  readonly registry: Lookout['registry']
  /**
   * Looks at sessions themselves: a notice only says where to look, as whoever can publish can make one up. No finding
   * where it cannot be found out. Never rejects.
   */
  readonly look: (handles: readonly string[]) => Promise<readonly (Finding | undefined)[]>
  /** How long a session is not looked at, at most. */
  readonly intervalMs: number
}

const RETRY_MS = 1000
/** How many pages of a user's registry are looked at: as many sessions as a cap can allow. */
const MAX_PAGES = 100
const MAX_TICK_MS = 1000
// An ending tells when it was asked for, by a clock that may be a little off; it takes effect later, on a slow link seconds.
const LEEWAY_MS = 5000
// Small enough that neither this process nor a server is busy with one for more than a few ms.
const SESSIONS_AT_ONCE = 200
const USERS_AT_ONCE = 20
const LANES = 4

/** What is watched, by however many. */
interface Subject {
  readonly watched: Watched
  /** With when each began: endings of before are none of its business. */
  readonly feeds: Map<WatchFeed, Promise<number>>
  /** The sessions that were seen active, or were announced to have ended and could not be looked at. */
  readonly known: Set<string>
  dueAtMs: number
  /** For a session that expires before it is due. */
  expiry?: NodeJS.Timeout
}

/**
 * All watches of a store. They share one subscription. As notices are sent at most once, each watched session is looked
 * at again within the interval; and at once whenever the subscription may have missed something.
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

  watch(watched: Watched, { signal }: WatchOptions): SessionWatch {
    const feed = new WatchFeed(() => {
      this.#remove(watched, feed)
      if (signal) this.#release(signal, feed)
    })
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
    // The subscription reports a gap as soon as it is in force, and everything is then looked at.
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
    subject.feeds.set(
      feed,
      this.#parts.backend.now().catch(() => Date.now()),
    )
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

  // One listener for all watches of a signal: more than ten make Node warn of a leak.
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
    // A store in this process that is dropped with its watches ends no more sessions; the ticker must not keep it.
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
    // With jitter, so that those who were looked at together are not for ever.
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
    const findings = await this.#parts.look(handles)
    asked.forEach(([handle, subjects], at) => {
      for (const subject of subjects) this.#found(subject, handle, findings[at])
    })
  }

  #found(subject: Subject, handle: string, finding: Finding | undefined): void {
    if (finding === undefined) this.#lookSoon(subject)
    const wasKnown = subject.known.has(handle)
    if (finding === undefined || finding.state === 'living') subject.known.add(handle)
    else subject.known.delete(handle)
    if (finding === undefined) return
    if ('owner' in subject.watched) this.#tellOfUser(subject, subject.watched.owner, { handle, finding })
    else if (finding.state === 'living') this.#awaitExpiry(subject, finding.leftMs)
    else if (finding.state === 'ended' || wasKnown) this.#tellAll(subject, { handle, ...finding.ending })
    // Whether it ever was there nobody knows.
    else this.#tellAll(subject, { handle, ...finding.ending, reason: 'unknown' })
  }

  #tellAll({ feeds }: Subject, ending: WatchedEnding): void {
    for (const feed of [...feeds.keys()]) {
      feed.tell(ending)
      feed.finish(undefined)
    }
  }

  #tellOfUser(
    { feeds }: Subject,
    user: string,
    { handle, finding }: { readonly handle: string; readonly finding: Finding },
  ): void {
    // Who can publish can name any owner.
    if (finding.state !== 'ended' || finding.owner !== user) return
    const { ending } = finding
    for (const [feed, since] of feeds)
      void since.then((sinceMs) => {
        if (ending.at.getTime() >= sinceMs - LEEWAY_MS) feed.tell({ handle, ...ending })
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
  /** How many keys go together at most. */
  readonly size: number
  /** How many batches are under way at most. */
  readonly lanes: number
  /** Must not reject. */
  readonly work: (keys: readonly Key[]) => Promise<void>
}

/** Works through keys in batches, so that any number of them burdens a server no more than a few. */
class Batches<Key> {
  readonly #terms: BatchTerms<Key>
  readonly #waiting = new Set<Key>()
  #underWay = 0

  constructor(terms: BatchTerms<Key>) {
    this.#terms = terms
  }

  /** Does nothing for a key that waits already. */
  add(key: Key): void {
    this.#waiting.add(key)
    if (this.#underWay < this.#terms.lanes) void this.#run()
  }

  /** Forgets those that wait. */
  clear(): void {
    this.#waiting.clear()
  }

  async #run(): Promise<void> {
    this.#underWay += 1
    // What is added in one turn of the event loop goes together.
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
