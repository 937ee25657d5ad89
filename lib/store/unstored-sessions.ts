interface Unstored {
  isEnded: boolean
}

/**
 * The session ids that were generated in this process and under which it has stored nothing yet. Unless `genid` repeats
 * itself nobody else knows them, so they end here, and leave nothing behind in the backend.
 */
export class UnstoredSessions {
  readonly #known = new Map<string, Unstored>()
  // As long as the live session, through which alone a late save could still come.
  readonly #collected = new FinalizationRegistry<{ sid: string; unstored: Unstored }>(({ sid, unstored }) => {
    if (this.#known.get(sid) === unstored) this.#known.delete(sid)
  })

  add(sid: string, session: object): void {
    const unstored = { isEnded: false }
    this.#known.set(sid, unstored)
    this.#collected.register(session, { sid, unstored })
  }

  /** Ends a session if it is one of these; returns whether it is. */
  end(sid: string): boolean {
    const unstored = this.#known.get(sid)
    if (unstored) unstored.isEnded = true
    return unstored !== undefined
  }

  isEnded(sid: string): boolean {
    return this.#known.get(sid)?.isEnded ?? false
  }

  /** Forgets one that is about to be stored, or was after all. */
  delete(sid: string): void {
    this.#known.delete(sid)
  }
}
