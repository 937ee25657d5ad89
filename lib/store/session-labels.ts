import type { SessionData } from 'express-session'
import { SessionEndedError } from '../errors.ts'
import { isBlank } from './session-commit.ts'
import type { Sessions } from './sessions.ts'
import type { TrackedSession } from './tracked-session.ts'

export interface SessionLabelsParts {
  readonly life: Sessions
  readonly copyOf: (session: object) => TrackedSession | undefined
}

/** A session as it is stored now. */
export interface StoredSession {
  /** The labels it is sealed with. */
  readonly labels: readonly string[]
  /** None if it is not stored yet. */
  readonly data: SessionData | undefined
}

/** The labels that sessions are sealed with: live ones in this process, and the same as they are stored. */
export class SessionLabels {
  readonly #parts: SessionLabelsParts
  readonly #made = new WeakSet<object>()

  constructor(parts: SessionLabelsParts) {
    this.#parts = parts
  }

  /** Takes note of a session that was made, not loaded. */
  noteMade(session: object): void {
    this.#made.add(session)
  }

  sealed(session: object): readonly string[] {
    return this.#copyOf(session).labels
  }

  add(session: object, labels: readonly string[]): void {
    this.#copyOf(session).addLabels(labels)
  }

  async stored(session: object): Promise<StoredSession> {
    const copy = this.#copyOf(session)
    copy.checkUsable()
    if (copy.record === undefined && !copy.mayBeStored) return { labels: copy.labels, data: undefined }
    const loaded = await this.#parts.life.load(copy.handle)
    if (loaded === undefined && copy.record) throw new SessionEndedError('gone')
    return { labels: loaded?.record.meta.labels ?? [], data: loaded?.data }
  }

  isPristine(session: object): boolean {
    const copy = this.#made.has(session) && isBlank(session) ? this.#parts.copyOf(session) : undefined
    return copy !== undefined && copy.record === undefined && !copy.mayBeStored && copy.labels.length === 0
  }

  // Of a session that was made out of a copy of loaded data nobody knows what it is sealed with.
  #copyOf(session: object): TrackedSession {
    const copy = this.#parts.copyOf(session)
    if (copy && (copy.record || this.#made.has(session))) return copy
    throw new TypeError(
      'The session was neither made nor loaded by this store: give session() this store, and createSession the very object that get answers',
    )
  }
}
