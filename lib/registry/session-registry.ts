import { setTimeout as delay } from 'node:timers/promises'
import type { Backend, EndedHandles, Fate } from '../backend/backend.ts'
import { PAGE_SIZE } from '../backend/registry.ts'
import { failInDoubt, late, type Operations, type Step } from '../operations.ts'
import { optionError, readOptions } from '../option.ts'
import type { Sealer } from '../seal/sealer.ts'
import { decodeEnding, type EndingTerms, endingOf, type SessionEnding } from '../session/ending.ts'
import type { UserId } from '../session/names.ts'
import type { RecordKind, SessionRecords } from '../session/records.ts'
import {
  COUNT_OPTIONS,
  EACH_OPTIONS,
  END_ALL_OPTIONS,
  END_OPTIONS,
  LIST_OPTIONS,
  MAX_LISTED,
  type ReplicaTerms,
  replicaTermsOf,
  WATCH_OPTIONS,
} from './call-options.ts'
import type { EndedRecord, EndSessions } from './end-sessions.ts'
import type { Membership } from './membership.ts'
import type {
  ActiveSession,
  Durability,
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
import type { SessionWatch, WatchOptions } from './watch.ts'
import { type Observation, SessionWatchers, timeOf } from './watchers.ts'

interface OwnersEnding {
  readonly owner: string
  readonly kind: RecordKind | undefined
  /** The handle of the session to keep. */
  readonly except: string | undefined
  readonly terms: EndingTerms
}

interface EndedOnes {
  /** The sessions that this call ended. */
  readonly ended: string[]
  /** These, and those that had ended before. */
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

// The cursor of a page without members, to read its pending handles only.
const PAST_MEMBERS = '0'
const LONGEST_LIST_MS = 10_000
// A registry learns how a session ended a moment after the session has.
const HISTORY_WAITS_MS = [0, 20, 100, 500, 2000]
// Longer than it takes to end 100,000 sessions on an idle server.
const LONGEST_END_MS = 60_000

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
    const kindOf = (owner: string, handle: string) => this.#endedKind(owner, handle)
    const { registry } = backend.lookout
    this.#watchers = new SessionWatchers({ backend, registry, look, kindOf, intervalMs })
  }

  list(userId: UserId, options: ListOptions = {}): Promise<RegisteredSession[]> {
    const terms = readOptions(options, LIST_OPTIONS, 'list')
    const owner = ownerOf(userId)
    return this.#parts.operations.runSteps('list', (step) => this.#listed({ owner, ...terms }, step), {
      tooLate: late.read,
      longestMs: LONGEST_LIST_MS,
    })
  }

  each(userId: UserId, options: Pick<ListOptions, 'current'> = {}): AsyncIterableIterator<ActiveSession> {
    const { current } = readOptions(options, EACH_OPTIONS, 'each')
    return this.#each({ owner: ownerOf(userId), current, limit: MAX_LISTED })
  }

  count(userId: UserId, options: Pick<ListOptions, 'kind'> = {}): Promise<number> {
    const { kind } = readOptions(options, COUNT_OPTIONS, 'count')
    if (kind !== undefined) return this.#countOf(userId, kind)
    const owner = ownerOf(userId)
    return this.#parts.operations.run('count', () => this.#parts.backend.registry.count(owner), late.read)
  }

  has(userId: UserId, target: SessionTarget): Promise<boolean> {
    const owner = ownerOf(userId)
    const handle = handleOfTarget('target', target)
    return this.#parts.operations.run('list', () => this.#list.has(owner, handle), late.read)
  }

  async end(target: SessionTarget, options: EndOptions = {}): Promise<EndResult> {
    const { reason, actor, ...terms } = readOptions(options, END_OPTIONS, 'end')
    const handle = handleOfTarget('target', target)
    const durably = replicaTermsOf(terms)
    const outcome = await this.#parts.operations.run(
      'end',
      () => this.#end(handle, { reason, actor }),
      late.write,
    )
    return { outcome, durability: durably && (await this.#confirm({ handles: [handle] }, durably)) }
  }

  async endAll(userId: UserId, options: EndAllOptions = {}): Promise<EndAllResult> {
    const { except, kind, reason, actor, ...terms } = readOptions(options, END_ALL_OPTIONS, 'endAll')
    const owner = ownerOf(userId)
    const durably = replicaTermsOf(terms)
    const { ended, handles } = await this.#parts.operations.runSteps(
      'end-all',
      (step) => this.#endAll({ owner, except, kind, terms: { reason, actor } }, step),
      { tooLate: late.write, longestMs: LONGEST_END_MS },
    )
    return { ended, durability: durably && (await this.#confirm({ handles, owner }, durably)) }
  }

  ending(target: SessionTarget): Promise<SessionEnding | undefined> {
    const handle = handleOfTarget('target', target)
    return this.#parts.operations.run('ending', () => this.#ending(handle), late.read)
  }

  watch(target: WatchTarget, options: WatchOptions = {}): SessionWatch {
    const terms = readOptions(options, WATCH_OPTIONS, 'watch')
    const watched = watchedOf(target)
    if (terms.kind !== undefined && 'handle' in watched)
      throw optionError('kind', 'left out where the target is one session')
    return this.#watchers.watch(watched, terms)
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
    // A new epoch would end the sessions of every kind.
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

  // The epoch has changed by now, so a failure here is not "nothing was applied".
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

  async #confirm(ended: EndedHandles, terms: ReplicaTerms): Promise<Durability> {
    const acknowledgedBy = await this.#parts.backend.confirm(ended, terms)
    return { acknowledgedBy, isDurable: acknowledgedBy >= terms.replicas }
  }

  async #look(handles: readonly string[]): Promise<readonly (Observation | undefined)[]> {
    const { backend } = this.#parts
    const fates = await backend.lookout.fates(handles)
    const untold = async (reason: string) => {
      return endingOf({ reason, actor: { type: 'system' } }, await timeOf(backend))
    }
    const judge = async (fate: Fate | undefined, at: number): Promise<Observation | undefined> => {
      if (fate === undefined || fate.state === 'active') return fate
      if (fate.state === 'absent') return { state: 'absent', ending: await untold('expired') }
      // The secrets may be unavailable.
      const ending = await this.#opened(handles[at] ?? '', fate.blob).catch(() => undefined)
      return { state: 'ended', ending: ending ?? (await untold('unknown')), owner: fate.owner }
    }
    return Promise.all(fates.map(judge))
  }

  async #endedKind(owner: string, handle: string): Promise<RecordKind | undefined> {
    const { lookout } = this.#parts.backend
    for (const ms of HISTORY_WAITS_MS) {
      await delay(ms, undefined, { ref: false })
      const roster = await lookout.registry.roster(owner).catch(() => undefined)
      const history = roster?.departed.filter((one) => one.handle === handle) ?? []
      const [ended] = await this.#list.ended(history).catch(() => [])
      if (ended !== undefined) return ended.kind
    }
    return undefined
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
