/**
 * The session ids that were generated in this process and under which nothing has ever been stored. Nobody else knows
 * them, so they end here, and leave nothing behind in the backend.
 */
export class UnstoredSessions {
  readonly #states = new Map<string, 'new' | 'ended'>()
  // As long as the live session, through which alone a late save could still come.
  readonly #collected = new FinalizationRegistry<string>((sid) => this.#states.delete(sid))

  add(sid: string, session: object): void {
    this.#states.set(sid, 'new')
    this.#collected.register(session, sid)
  }

  /** Ends a session if it is one of these; returns whether it is. */
  end(sid: string): boolean {
    const isOne = this.#states.has(sid)
    if (isOne) this.#states.set(sid, 'ended')
    return isOne
  }

  isEnded(sid: string): boolean {
    return this.#states.get(sid) === 'ended'
  }

  /** Forgets one that is about to be stored. */
  delete(sid: string): void {
    this.#states.delete(sid)
  }
}
