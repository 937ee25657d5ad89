import type { SessionData } from 'express-session'
import { generateSession, type LiveSession, loadSession } from '../store/live-session.ts'
import type { Call, History, Outcome } from './history.ts'
import type { PlantedSecret } from './planted-secret.ts'
import type { NamedStore, StoreUnderTest } from './store-under-test.ts'
import { type Pool, Subject, type User } from './subject.ts'

export interface WorkloadParts {
  readonly stores: readonly NamedStore[]
  readonly users: readonly User[]
  readonly history: History
  readonly planted: PlantedSecret
  /** Takes a session's record away behind the store's back; answers whether it is known to be gone. */
  readonly removeRecord: (handle: string) => Promise<boolean>
}

/** Something a read or a list showed that must never show. */
export interface Oddity {
  readonly what: string
  readonly subject: Subject | undefined
  readonly atMs: number
  readonly call: Call
}

/** The workload of a run: stores, users, the sessions it made, and what it saw of them (the model). */
export class Workload {
  readonly stores: readonly NamedStore[]
  readonly users: readonly User[]
  readonly history: History
  readonly planted: PlantedSecret
  readonly removeRecord: (handle: string) => Promise<boolean>
  readonly subjects: Subject[] = []
  readonly oddities: Oddity[] = []
  readonly #byHandle = new Map<string, Subject>()
  #marks = 0

  constructor(parts: WorkloadParts) {
    this.stores = parts.stores
    this.users = parts.users
    this.history = parts.history
    this.planted = parts.planted
    this.removeRecord = parts.removeRecord
  }

  pool(pool: Pool): readonly Subject[] {
    return this.subjects.filter((subject) => subject.pool === pool)
  }

  subjectOf(handle: string): Subject | undefined {
    return this.#byHandle.get(handle)
  }

  /** A mark that no other write of the run has. */
  mark(): string {
    this.#marks += 1
    return this.#marks.toString(36)
  }

  /** A session that is not stored yet. */
  begin(pool: Pool, user?: User): Subject {
    const index = this.subjects.length
    const subject = new Subject({ index, sid: `${this.planted.word}.${index}`, pool, user })
    this.subjects.push(subject)
    this.#byHandle.set(this.stores[0]?.store.handle(subject.sid) ?? '', subject)
    return subject
  }

  /** The live session of a subject that is not stored yet. */
  generate(store: StoreUnderTest, subject: Subject): LiveSession {
    return generateSession(store, subject.sid, { content: this.contentOf(subject) })
  }

  contentOf(subject: Subject): Record<string, unknown> {
    const userId = subject.user?.name
    return { index: subject.index, secret: this.planted.word, ...(userId !== undefined && { userId }) }
  }

  /** Loads as express-session does, and notes what was seen. */
  async load(store: StoreUnderTest, subject: Subject): Promise<LiveSession | undefined> {
    const outcome = await this.history.call('load', () => loadSession(store, subject.sid))
    this.sighted(subject, outcome)
    return outcome.value
  }

  /** Reads only, and notes what was seen. */
  async read(store: StoreUnderTest, subject: Subject): Promise<Outcome<SessionData | null>> {
    const outcome = await this.history.call('load', () => store.get(subject.sid))
    this.sighted(subject, outcome)
    return outcome
  }

  odd(what: string, call: Call, subject?: Subject): void {
    this.oddities.push({ what, call, subject, atMs: call.endMs })
  }

  private sighted(subject: Subject, { call, value }: Outcome<SessionData | null | undefined>): void {
    if (call.verdict !== 'acked') return
    const isThere = value !== undefined && value !== null
    subject.sighted(call, isThere)
    if (isThere && Reflect.get(value, 'index') !== subject.index)
      this.odd('another session was returned', call, subject)
  }
}

/** The marks under a session's key; empty if there are none. */
export function marksIn(content: object, key: string): readonly string[] {
  const marks: unknown = Reflect.get(content, key)
  return Array.isArray(marks) ? marks.map(String) : []
}
