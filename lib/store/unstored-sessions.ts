import type { Backend } from '../backend/backend.ts'
import { handleOf } from '../session/names.ts'

interface Unstored {
  isEnded: boolean
}

/**
 * Tracks the session ids that this process has generated and stored nothing under yet. Unless `genid` repeats itself nobody
 * else knows them, so they end here, and leave no tombstone in the backend.
 */
export class UnstoredSessions {
  readonly #backend: Backend
  readonly #known = new Map<string, Unstored>()
  // As long as the live session, through which alone a late save could still come.
  readonly #collected = new FinalizationRegistry<{ sid: string; unstored: Unstored }>(({ sid, unstored }) => {
    if (this.#known.get(sid) === unstored) this.#known.delete(sid)
  })

  constructor(backend: Backend) {
    this.#backend = backend
  }

  add(sid: string, session: object): void {
    const unstored = { isEnded: false }
    this.#known.set(sid, unstored)
    this.#collected.register(session, { sid, unstored })
  }

  /** Ends a session if it is one of these and the backend has no record of it. Returns whether there is nothing else to end. */
  async end(sid: string): Promise<boolean> {
    const unstored = this.#known.get(sid)
    const handle = handleOf(sid)
    if (handle === undefined) return true
    if (unstored === undefined) return false
    unstored.isEnded = true
    return (await this.#backend.get(handle, 0)) === undefined
  }

  isEnded(sid: string): boolean {
    return this.#known.get(sid)?.isEnded ?? false
  }

  /** Forgets one that is about to be stored. */
  delete(sid: string): void {
    this.#known.delete(sid)
  }
}
