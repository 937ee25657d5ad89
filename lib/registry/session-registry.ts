import type { Backend, EndedHandles, Fate } from '../backend/backend.ts'
import { PAGE_SIZE } from '../backend/registry.ts'
import { failInDoubt, late, type Operations, type Step } from '../operations.ts'
import { checkInteger, checkKnown, checkObject, checkOneOf } from '../option.ts'
import type { Sealer } from '../seal/sealer.ts'
import {
  checkEndingTerms,
  decodeEnding,
  type EndingTerms,
  endingOf,
  type SessionEnding,
} from '../session/ending.ts'
import type { UserId } from '../session/names.ts'
import type { RecordKind, SessionRecords } from '../session/records.ts'
import { type Durability, type ResolvedReplicaTerms, resolveReplicaTerms } from './durability.ts'
import type { EndedRecord, EndSessions } from './end-sessions.ts'
import type { Membership } from './membership.ts'
import type {
  ActiveSession,
  EndAllOptions,
  EndAllResult,
  EndOptions,
  EndResult,
  ListOptions,
  RegisteredSession,
  SessionRegistry,
} from './registry.ts'
import { SessionList, type SessionPageTerms } from './session-list.ts'
import { handleOfTarget, ownerOf, type SessionTarget, type WatchTarget, watchedOf } from './targets.ts'
import { checkWatchOptions, type SessionWatch, type WatchOptions } from './watch.ts'
import { type Finding, SessionWatchers } from './watchers.ts'

interface OwnersEnding {
  readonly owner: string
  readonly kind: RecordKind | undefined
  /** The handle of the one to keep. */
  readonly except: string | undefined
  readonly terms: EndingTerms
}

interface EndedOnes {
  /** Those that were active. */
  readonly ended: string[]
  /** All that have ended by now. */
  readonly handles: string[]
}

export interface SessionRegistryParts {
  readonly backend: Backend
  readonly sealer: Sealer
  readonly records: SessionRecords
  readonly endSessions: EndSessions
  readonly membership: Membership
  readonly prefix: string
  readonly watchIntervalMs: number
  readonly operations: Operations
}

const KINDS = ['session', 'token'] as const
const LIST_TERMS = ['includeEnded', 'limit', 'current', 'kind'] as const
// The cursor of a page without members, whose pending handles are all there is to ask for.
const PAST_MEMBERS = '0'
const LONGEST_LIST_MS = 10_000
// Longer than the ending of 100,000 sessions takes on a quiet server.
const LONGEST_END_MS = 60_000
const MAX_LISTED = 10_000
const END_TERMS = ['reason', 'actor', 'replicas', 'timeoutMs'] as const
const END_ALL_TERMS = ['except', 'kind', ...END_TERMS] as const

/** The registry of a store, over its backend. */
export class SealedSessionRegistry implements SessionRegistry {
  readonly #parts: SessionRegistryParts
  readonly #list: SessionList
  readonly #watchers: SessionWatchers

  /** Made by the store. */
  constructor(parts: SessionRegistryParts) {
    this.#parts = parts
    this.#list = new SessionList(parts)
    const { backend, watchIntervalMs: intervalMs } = parts
    const look = (handles: readonly string[]) => this.#look(handles)
    this.#watchers = new SessionWatchers({ backend, registry: backend.lookout.registry, look, intervalMs })
  }

  /**
   * Lists the user's active sessions, newest first and at most `limit`, then with `includeEnded` those that ended
   * lately. Reads a page at a time.
   */
  list(userId: UserId, options: ListOptions = {}): Promise<RegisteredSession[]> {
    checkObject('options', options)
    checkKnown(options, LIST_TERMS, 'list')
    const { includeEnded = false, limit = 1000, kind } = options
    checkInteger('limit', limit, { min: 1, max: MAX_LISTED })
    checkKind(kind)
    const current = options.current === undefined ? undefined : handleOfTarget('current', options.current)
    const owner = ownerOf(userId)
    return this.#parts.operations.runSteps(
      'list',
      (step) => this.#listed({ owner, current, limit, includeEnded, kind }, step),
      { tooLate: late.read, longestMs: LONGEST_LIST_MS },
    )
  }

  /**
   * Iterates all active sessions of the user, newest first, for a user who may have more than a list should hold. Reads
   * a page at a time, when it is asked for; each page has a deadline of its own.
   *
   * @example
   * ```ts
   * import { InProcessStore } from 'express-session-valkey'
   *
   * const { registry } = new InProcessStore({ maxSessionsPerUser: false })
   * for await (const { handle, lastSeenAt } of registry.each('kiosk')) console.log(handle, lastSeenAt)
   * ```
   */
  each(userId: UserId, options: Pick<ListOptions, 'current'> = {}): AsyncIterableIterator<ActiveSession> {
    checkObject('options', options)
    checkKnown(options, ['current'], 'each')
    const current = options.current === undefined ? undefined : handleOfTarget('current', options.current)
    return this.#each({ owner: ownerOf(userId), current, limit: MAX_LISTED })
  }

  /**
   * Counts the user's sessions as `maxSessionsPerUser` does: those registered, and sign-ins that began within a minute
   * and may still be stored. Reads no session; with a `kind` it reads all of them.
   */
  count(userId: UserId, options: Pick<ListOptions, 'kind'> = {}): Promise<number> {
    checkObject('options', options)
    checkKnown(options, ['kind'], 'count')
    const { kind } = options
    checkKind(kind)
    if (kind !== undefined) return this.#countOf(userId, kind)
    const owner = ownerOf(userId)
    return this.#parts.operations.run('count', () => this.#parts.backend.registry.count(owner), late.read)
  }

  /** Whether it is an active session of the user. */
  has(userId: UserId, target: SessionTarget): Promise<boolean> {
    const owner = ownerOf(userId)
    const handle = handleOfTarget('target', target)
    return this.#parts.operations.run('list', () => this.#list.has(owner, handle), late.read)
  }

  /**
   * Ends one session, by its id or handle. With `replicas` it also tells how many of them have it by then.
   *
   * Rejects with a `TypeError` if the target or a term is wrong, with `SessionIdError` if the id cannot be one.
   */
  async end(target: SessionTarget, options: EndOptions = {}): Promise<EndResult> {
    checkObject('terms', options)
    checkKnown(options, END_TERMS, 'end')
    const { replicas, timeoutMs, ...terms } = options
    const handle = handleOfTarget('target', target)
    const durably = resolveReplicaTerms(replicas, timeoutMs)
    const outcome = await this.#parts.operations.run('end', () => this.#end(handle, terms), late.write)
    return { outcome, durability: durably && (await this.#confirm({ handles: [handle] }, durably)) }
  }

  /**
   * Ends all sessions of a user, but for the one `except` names, and answers the handles of those it ended. Once
   * it resolves, no session of the user that began before the call can be used. Ends them page by page, each with a
   * deadline of its own. If it rejects, as it does after a minute at the latest, repeat it: a repeat goes on with those
   * that are left. With `replicas` it also tells how many of them have all of it by then.
   */
  async endAll(userId: UserId, options: EndAllOptions = {}): Promise<EndAllResult> {
    checkObject('terms', options)
    checkKnown(options, END_ALL_TERMS, 'endAll')
    const { replicas, timeoutMs, except, kind, ...terms } = options
    // Before the epoch is bumped, which ends the user's sessions whatever follows.
    checkEndingTerms(terms)
    checkKind(kind)
    const owner = ownerOf(userId)
    const spared = except === undefined ? undefined : handleOfTarget('except', except)
    const durably = resolveReplicaTerms(replicas, timeoutMs)
    const { ended, handles } = await this.#parts.operations.runSteps(
      'end-all',
      (step) => this.#endAll({ owner, except: spared, kind, terms }, step),
      { tooLate: late.write, longestMs: LONGEST_END_MS },
    )
    return { ended, durability: durably && (await this.#confirm({ handles, owner }, durably)) }
  }

  /** How a session ended, as long as its tombstone stands; `undefined` if it has not. */
  ending(target: SessionTarget): Promise<SessionEnding | undefined> {
    const handle = handleOfTarget('target', target)
    return this.#parts.operations.run('ending', () => this.#ending(handle), late.read)
  }

  /**
   * Reports when a session ends, or each time one of a user's does, on whatever node: await its `ended`, or iterate it.
   * At once as a rule, and within `watchIntervalMs` always, as long as the backend answers.
   *
   * @throws TypeError if the target is not exactly one of `{ sid }`, `{ handle }` and `{ userId }`.
   * @throws SessionIdError if the session id cannot be one.
   * @throws StoreClosedError after `close`.
   *
   * @example
   * ```ts
   * import { InProcessStore } from 'express-session-valkey'
   *
   * const { registry } = new InProcessStore()
   * const stop = new AbortController()
   * for await (const { handle, reason } of registry.watch({ userId: 'alice' }, { signal: stop.signal })) {
   *   console.log(handle, reason)
   * }
   * ```
   */
  watch(target: WatchTarget, options: WatchOptions = {}): SessionWatch {
    checkWatchOptions(options)
    return this.#watchers.watch(watchedOf(target), options)
  }

  /** Ends all watches. Called by the store's `close`. */
  close(): void {
    this.#watchers.close()
  }

  async #listed(
    { includeEnded, ...terms }: SessionPageTerms & { readonly includeEnded: boolean },
    step: Step,
  ): Promise<RegisteredSession[]> {
    const sessions: RegisteredSession[] = []
    const first = await step(() => this.#list.page(terms))
    const ended = includeEnded ? await step(() => this.#list.ended(first.history, terms.kind)) : []
    for (let page = first; ; ) {
      sessions.push(...page.sessions)
      const { next: cursor } = page
      const limit = terms.limit - sessions.length
      if (cursor === undefined || limit <= 0) return [...sessions, ...ended]
      page = await step(() => this.#list.page({ ...terms, cursor, limit }))
    }
  }

  async *#each(terms: SessionPageTerms): AsyncIterableIterator<ActiveSession> {
    let cursor: string | undefined
    do {
      const page = await this.#parts.operations.run(
        'list',
        () => this.#list.page({ ...terms, cursor }),
        late.read,
      )
      yield* page.sessions
      cursor = page.next
    } while (cursor !== undefined)
  }

  async #countOf(userId: UserId, kind: RecordKind): Promise<number> {
    let count = 0
    for await (const session of this.each(userId)) if (session.kind === kind) count += 1
    return count
  }

  async #end(handle: string, terms: EndingTerms): Promise<EndResult['outcome']> {
    const answer = await this.#parts.endSessions.end(handle, terms)
    return answer === 'missing' ? 'not-found' : answer
  }

  async #endAll({ owner, except, kind, terms }: OwnersEnding, step: Step): Promise<EndedOnes> {
    const { backend, membership } = this.#parts
    const done: EndedOnes = { ended: [], handles: [] }
    // A new epoch would end sessions of every kind.
    const begin = () =>
      kind === undefined ? membership.bumpEpoch(owner, except) : backend.registry.roster(owner)
    for (let page = await step(begin); ; ) {
      const { members, pending, next } = page
      const handles = members.map(({ handle }) => handle)
      const named = [...(await step(() => this.#list.ofKind(handles, kind))), ...pending].filter(
        (handle) => handle !== except,
      )
      for (const { handle, answer } of await step(() => this.#endEach(owner, named, terms))) {
        done.handles.push(handle)
        if (answer === 'ended') done.ended.push(handle)
      }
      if (next === undefined && pending.length < PAGE_SIZE) return done
      page = await step(() => backend.registry.roster(owner, next ?? PAST_MEMBERS)).catch(failInDoubt)
    }
  }

  // The epoch was bumped before, so that whatever fails here, something was done.
  async #endEach(
    owner: string,
    handles: readonly string[],
    terms: EndingTerms,
  ): Promise<readonly EndedRecord[]> {
    const { endSessions } = this.#parts
    const { ended, failure } = await endSessions.endRecords(handles, terms)
    await endSessions.remove(owner, ended).catch(failInDoubt)
    return failure ? failInDoubt(failure) : ended
  }

  async #confirm(ended: EndedHandles, terms: ResolvedReplicaTerms): Promise<Durability> {
    const acknowledgedBy = await this.#parts.backend.confirm(ended, terms)
    return { acknowledgedBy, isDurable: acknowledgedBy >= terms.replicas }
  }

  async #look(handles: readonly string[]): Promise<readonly (Finding | undefined)[]> {
    const { backend } = this.#parts
    const fates = await backend.lookout.fates(handles)
    const untold = async (reason: string) => {
      const nowMs = await backend.now().catch(() => Date.now())
      return endingOf({ reason, actor: { type: 'system' } }, nowMs)
    }
    const judge = async (fate: Fate | undefined, at: number): Promise<Finding | undefined> => {
      if (fate === undefined || fate.state === 'living') return fate
      if (fate.state === 'absent') return { state: 'absent', ending: await untold('expired') }
      // The secrets may be what cannot be had just now.
      const ending = await this.#opened(handles[at] ?? '', fate.blob).catch(() => undefined)
      return { state: 'ended', ending: ending ?? (await untold('unknown')), owner: fate.owner }
    }
    return Promise.all(fates.map(judge))
  }

  async #ending(handle: string): Promise<SessionEnding | undefined> {
    const blob = await this.#parts.backend.ending(handle)
    return blob && this.#opened(handle, blob)
  }

  async #opened(handle: string, blob: Buffer): Promise<SessionEnding | undefined> {
    const { sealer, prefix } = this.#parts
    const opened = await sealer.open(blob, { purpose: 'ending', prefix, name: handle })
    return opened.state === 'open' ? decodeEnding(opened.plaintext) : undefined
  }
}

function checkKind(kind: unknown): void {
  if (kind !== undefined) checkOneOf('kind', kind, KINDS)
}
