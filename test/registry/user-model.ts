/** A session as its model knows it. */
interface Modelled {
  readonly sid: string
  user: string | undefined
  /** Grows with each time that a session comes to a user. */
  order: number
  ttlMs: number
  expiresAtMs: number
}

/** What the sessions of some users must be, in a plain list and with a clock of its own. */
export class UserModel {
  readonly #cap: number | undefined
  readonly #beyondCap: 'evict-oldest' | 'reject'
  readonly endings = new Map<string, string>()
  #sessions: Modelled[] = []
  #nowMs = 0
  #orders = 0

  constructor(cap: number | undefined, beyondCap: 'evict-oldest' | 'reject') {
    this.#cap = cap
    this.#beyondCap = beyondCap
  }

  elapse(ms: number): void {
    this.#nowMs += ms
    this.#sessions = this.#sessions.filter(({ expiresAtMs }) => expiresAtMs >= this.#nowMs)
  }

  /** The user's session ids, newest first. */
  of(user: string): string[] {
    return this.#of(user).map(({ sid }) => sid)
  }

  living(): string[] {
    return this.#sessions.map(({ sid }) => sid)
  }

  /** Whether the user may have one more. */
  hasRoom(user: string): boolean {
    return this.#beyondCap === 'evict-oldest' || this.#cap === undefined || this.#of(user).length < this.#cap
  }

  begin(sid: string, user: string, ttlMs: number): void {
    this.#sessions.push({ sid, user, order: 0, ttlMs, expiresAtMs: this.#nowMs + ttlMs })
    this.#admit(sid, user)
  }

  /** A request of the session, whose user may be another one after it. */
  use(sid: string, user = this.#find(sid)?.user): void {
    const session = this.#find(sid)
    if (session === undefined) return
    session.expiresAtMs = this.#nowMs + session.ttlMs
    if (user !== session.user) this.#admit(sid, user)
  }

  /** A plain object stored under the id, whatever was there. */
  replace(sid: string, user: string, ttlMs: number): void {
    const session = this.#find(sid)
    if (session === undefined) this.begin(sid, user, ttlMs)
    else Object.assign(session, { ttlMs })
    if (session !== undefined) this.use(sid, user)
  }

  signOut(sid: string): void {
    this.use(sid)
    this.#admit(sid, undefined)
  }

  end(sid: string, reason: string): boolean {
    if (this.#find(sid) === undefined) return false
    this.#sessions = this.#sessions.filter((session) => session.sid !== sid)
    this.endings.set(sid, reason)
    return true
  }

  endAll(user: string, reason: string, except?: string): string[] {
    return this.of(user).filter((sid) => sid !== except && this.end(sid, reason))
  }

  userOf(sid: string): string | undefined {
    return this.#find(sid)?.user
  }

  #admit(sid: string, user: string | undefined): void {
    const session = this.#find(sid)
    if (session === undefined) return
    session.user = user
    session.order = ++this.#orders
    const surplus =
      user === undefined || this.#beyondCap === 'reject'
        ? []
        : this.of(user).slice(this.#cap ?? Number.POSITIVE_INFINITY)
    for (const displaced of surplus) this.end(displaced, 'evicted')
  }

  #of(user: string): Modelled[] {
    return this.#sessions.filter((session) => session.user === user).sort((a, b) => b.order - a.order)
  }

  #find(sid: string): Modelled | undefined {
    return this.#sessions.find((session) => session.sid === sid)
  }
}
