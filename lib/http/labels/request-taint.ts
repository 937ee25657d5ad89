import type { Request, Response } from 'express'
import { LabelsUnreadableError, SessionConflictError, TaintDeniedError } from '../../errors.ts'
import { distinctLabels, type LabelHolder } from '../../labels/label.ts'
import { checkedAnswer, isLabelSet, type LabelStore } from '../../labels/label-store.ts'
import { optionError } from '../../option.ts'
import { holdBodyEnd } from '../guard/body-end.ts'
import { forbidCaching } from '../guard/node-response.ts'
import { holdResponse, type ResponseHold, type ResponseHolder, type Stage } from '../guard/response-hold.ts'
import type { SealingStore, Taint, TaintPolicy } from './taint.ts'

export interface RequestTaintParts {
  readonly store: LabelStore
  readonly sessions: SealingStore
  readonly subject: (req: Request) => string | undefined
  readonly sessionTtlMs: number
}

// The holder changes by what the app or another request does to the session, so hardly ever twice in one request.
const MAX_MOVES = 8

/**
 * The labels of one request: what it has seen of them, where they stand, and what its response waits for.
 *
 * A sign-in or a regenerate moves them from one holder to another, while other requests may still add some to the old one.
 * None is lost, as both sides write before they look: who moves makes the move visible in the stored session, then
 * reads what the old holder holds; who adds adds, then looks at the stored session. So either the move carries the
 * label, or the request that added it finds the session ended, or changed, before its response leaves.
 */
export class RequestTaint implements Taint, ResponseHolder {
  readonly #req: Request
  readonly #res: Response
  readonly #parts: RequestTaintParts
  readonly #hold: ResponseHold
  readonly #labels = new Set<string>()
  readonly #declassified = new Set<string>()
  /** What stands with each holder this request has had; sign-in and regenerate change the holder. */
  readonly #standing = new Map<string, ReadonlySet<string>>()
  /** Labels that were found sealed with the session as it is stored, beside those that it was loaded with. */
  readonly #foundSealed = new Set<string>()
  readonly #pending = new Set<Promise<void>>()
  readonly #policies: TaintPolicy[] = []
  #lastHolder: LabelHolder | undefined
  #lastSid: string | undefined
  /** Whether others may have given labels to the last holder. */
  #lastIsKnown = false
  /** Holders that this request has left, and that others may have given labels since they were read. */
  readonly #left = new Map<string, LabelHolder>()
  /** A subject that this request has signed in, until its labels are known. */
  #arrival: LabelHolder | undefined
  /** Whether the holder has changed, and the stored session does not show it yet. */
  #isMoveHidden = false
  /** How many times something was added, and how many of them before the stored session was last looked at. */
  #adds = 0
  #addsLookedAfter = 0
  #isLost = false
  /** Why the labels are not known, while they are not. */
  #unknown: { readonly error: unknown } | undefined
  /** Why nothing of the response may leave any more. */
  #failure: { readonly error: unknown } | undefined

  constructor(req: Request, res: Response, parts: RequestTaintParts) {
    this.#req = req
    this.#res = res
    this.#parts = parts
    this.#hold = holdResponse(res, this)
  }

  /** Whether it keeps the labels in this store. */
  uses(store: LabelStore): boolean {
    return this.#parts.store === store
  }

  get labels(): ReadonlySet<string> {
    if (this.#unknown) throw this.#unknown.error
    return new Set(this.#labels)
  }

  has(label: string): boolean {
    return this.labels.has(label)
  }

  add(...labels: readonly string[]): Promise<void> {
    const adding = this.#add(labels)
    this.#pending.add(adding)
    const settle = () => void this.#pending.delete(adding)
    adding.then(settle, (error: unknown) => {
      settle()
      this.#refuse(error)
    })
    return adding
  }

  async check(): Promise<ReadonlySet<string>> {
    await this.#judge(this.#policies)
    return this.labels
  }

  /** Loads the labels of a session or subject that may have some; `undefined` if it cannot have any. */
  begin(): Promise<void> | undefined {
    const holder = this.#holder()
    return this.#mayHaveLabels(holder) ? this.#load(holder) : undefined
  }

  /** The labels could not be loaded, and the app wants to go on: whatever asks for them gets the error. */
  goOnWithout(error: unknown): void {
    this.#unknown = { error }
  }

  /** Passes a gate, or rejects; the response will have to pass it too, and the handler sees no end of a body before it is. */
  async pass(policy: TaintPolicy): Promise<void> {
    const check = () => this.#judge([policy])
    holdBodyEnd(this.#req, this.#res, { check, onDenied: (error) => this.#refuse(error, 'now') })
    await check()
    this.#policies.push(policy)
  }

  onEnd(): void {
    this.#mark()
  }

  release(stage: Stage): Promise<void> | undefined {
    const isGated = this.#policies.length > 0 && stage !== 'body'
    if (!this.#failure && this.#pending.size === 0 && !isGated && this.#isRecorded()) return undefined
    return this.#settle(isGated)
  }

  async #settle(isGated: boolean): Promise<void> {
    await this.#settlePending()
    await this.#record()
    if (!isGated) return
    await this.check()
    await this.#record()
  }

  async #settlePending(): Promise<void> {
    while (this.#pending.size > 0) await Promise.allSettled(this.#pending)
    if (this.#failure) throw this.#failure.error
  }

  async #add(labels: readonly string[]): Promise<void> {
    const distinct = distinctLabels(labels)
    if (distinct.length > 0) await this.#stand(this.#holder(), distinct)
  }

  async #stand(
    holder: LabelHolder,
    labels: readonly string[],
    declassified: readonly string[] = [],
  ): Promise<void> {
    // Before they stand: what this request is about to see counts already.
    this.#note(labels)
    const answer: unknown = await this.#parts.store.add(holder, labels, {
      atLeastMs: this.#lifeMs(),
      declassified,
    })
    const standing = answer === undefined && labels.length === 0 ? new Set<string>() : answer
    if (!isLabelSet(standing) || !labels.every((label) => standing.has(label)))
      throw new LabelsUnreadableError()
    this.#adds += 1
    this.#note(standing)
    this.#standing.set(nameOf(holder), new Set([...this.#standingWith(holder), ...standing]))
  }

  async #load(holder: LabelHolder, memory = this.#sealed()): Promise<void> {
    const remembered = [...new Set([...memory, ...this.#standingWith(holder)])]
    const { state, labels, declassified } = checkedAnswer(
      await this.#parts.store.load(holder, { atLeastMs: this.#lifeMs(), remembered }),
    )
    this.#unknown = undefined
    const missing = remembered.filter((label) => !labels.has(label) && !declassified.has(label))
    if (state === 'lost' || missing.length > 0) this.#isLost = true
    for (const label of declassified) this.#declassified.add(label)
    this.#note([...labels, ...missing])
    this.#standing.set(nameOf(holder), labels)
  }

  /** Decides by what is stored now. What could not be found out, or is lost, is denied. */
  async #judge(policies: readonly TaintPolicy[]): Promise<void> {
    await this.#settlePending()
    await this.#move()
    const holder = this.#holder()
    if (this.#mayHaveLabels(holder)) {
      const [hasFound] = await Promise.all([this.#look(), this.#load(holder)])
      if (hasFound) await this.#load(holder)
    }
    const { labels } = this
    if (this.#isLost && policies.length > 0) throw new TaintDeniedError('lost')
    for (const policy of policies) {
      // Anything but a clear no is a yes: a policy that forgets to answer must not let data out.
      if ((await policy(labels, this.#req)) !== false) throw new TaintDeniedError('labels')
    }
  }

  /** Whether every label stands with the holder that the request has now, and is sealed into its session. */
  #isRecorded(): boolean {
    if (this.#lastHolder === undefined) return true
    const holder = this.#holder()
    return !this.#isMoveDue(holder) && !this.#isLookDue() && !this.#isSealDue(holder)
  }

  async #record(): Promise<void> {
    for (let moves = 0; !this.#isRecorded(); moves += 1) {
      if (moves === MAX_MOVES) throw new SessionConflictError()
      await this.#move()
      // Sealing meets what others stored in the session meanwhile: it is refused if that ended, and else merged.
      if (this.#isSealDue(this.#holder())) await this.#seal()
      else if (this.#isLookDue()) await this.#look()
    }
  }

  /** After a sign-in, a sign-out or a regenerate: the new holder has seen what the old one has, up to now. */
  async #move(): Promise<void> {
    for (let holder = this.#holder(); this.#isMoveDue(holder); holder = this.#holder()) {
      if (this.#isMoveHidden) await this.#showMove()
      for (const [name, left] of this.#left) {
        await this.#load(left)
        this.#left.delete(name)
      }
      if (this.#isCarryDue(holder))
        await this.#stand(holder, [...this.#labels], this.#isNewHolder(holder) ? [...this.#declassified] : [])
      // What the session remembers is of the holder before.
      else if (this.#arrival) await this.#load(this.#arrival, [])
      this.#arrival = undefined
    }
  }

  async #showMove(): Promise<void> {
    const { session } = this.#req
    if (hasSession(this.#req) && !this.#parts.sessions.isPristine(session))
      await this.#parts.sessions.commit(this.#req)
    this.#isMoveHidden = false
  }

  #isMoveDue(holder: LabelHolder): boolean {
    return this.#left.size > 0 || this.#arrival !== undefined || this.#isCarryDue(holder)
  }

  #isCarryDue(holder: LabelHolder): boolean {
    if (this.#isNewHolder(holder) && this.#declassified.size > 0) return true
    return this.#missingFrom(this.#standingWith(holder)).length > 0
  }

  #isNewHolder(holder: LabelHolder): boolean {
    return this.#standing.size > 0 && !this.#standing.has(nameOf(holder))
  }

  // A client that sends credentials of its own and no cookie would get a new session with every request.
  #isSealable(holder: LabelHolder): boolean {
    return 'sid' in holder || !this.#parts.sessions.isPristine(this.#req.session)
  }

  #isSealDue(holder: LabelHolder): boolean {
    if (this.#labels.size === 0 || !hasSession(this.#req) || !this.#isSealable(holder)) return false
    if (this.#missingFrom(this.#foundSealed).length === 0) return false
    return this.#req.session.tainted !== true || this.#missingFrom(new Set(this.#sealed())).length > 0
  }

  async #seal(): Promise<void> {
    const { session } = this.#req
    const adds = this.#adds
    this.#parts.sessions.sealLabels(session, [...this.#labels])
    session.tainted = true
    await this.#parts.sessions.commit(this.#req)
    this.#addsLookedAfter = adds
  }

  #isLookDue(): boolean {
    return this.#addsLookedAfter < this.#adds
  }

  /**
   * Looks at the session as it is stored. Answers whether others sealed labels that were not known; rejects if it was
   * ended, or if what it is sealed with does not tell what its new holder has seen.
   */
  async #look(): Promise<boolean> {
    const adds = this.#adds
    const { session } = this.#req
    const isStored = hasSession(this.#req) && !this.#parts.sessions.isPristine(session)
    const known = new Set(this.#sealed())
    const subject = this.#parts.subject(this.#req)
    const stored = isStored ? await this.#parts.sessions.storedSession(session) : undefined
    // A label that was declassified and seen again is sealed already: that the session has moved is all there is to find.
    if (stored?.data && this.#declassified.size > 0) {
      const seen = Object.create(this.#req, { session: { value: stored.data } }) as Request
      if (this.#parts.subject(seen) !== subject) throw new SessionConflictError()
    }
    for (const label of stored?.labels ?? []) this.#foundSealed.add(label)
    this.#addsLookedAfter = adds
    return stored?.labels.some((label) => !known.has(label)) ?? false
  }

  #sealed(): readonly string[] {
    const own = hasSession(this.#req) ? this.#parts.sessions.sealedLabels(this.#req.session) : []
    return [...own, ...this.#foundSealed]
  }

  #mayHaveLabels(holder: LabelHolder): boolean {
    return (
      'subject' in holder ||
      this.#standingWith(holder).size > 0 ||
      !hasSession(this.#req) ||
      !this.#parts.sessions.isPristine(this.#req.session)
    )
  }

  #holder(): LabelHolder {
    const holder = this.#holderNow()
    const last = this.#lastHolder
    if (last === undefined || nameOf(last) !== nameOf(holder)) {
      if (last && this.#lastIsKnown) {
        this.#left.set(nameOf(last), last)
        // Regenerate has ended the old session, which shows.
        if (this.#req.sessionID === this.#lastSid) this.#isMoveHidden = true
      }
      this.#arrival = last && 'subject' in holder ? holder : undefined
      this.#left.delete(nameOf(holder))
      this.#lastHolder = holder
    }
    this.#lastSid = this.#req.sessionID
    this.#lastIsKnown = this.#mayHaveLabels(holder)
    return holder
  }

  /** Whose labels they are now: the subject's, else the session's, else, after a sign-out, whose they were last. */
  #holderNow(): LabelHolder {
    if (this.#lastHolder && this.#lastSid !== undefined && !hasSession(this.#req)) return this.#lastHolder
    const subject: unknown = this.#parts.subject(this.#req)
    if (typeof subject === 'string' && subject !== '') return { subject }
    if (subject !== undefined)
      throw optionError('subject', 'a function that returns a string that is not empty, or undefined')
    if (hasSession(this.#req)) return { sid: this.#req.sessionID }
    if (this.#lastHolder) return this.#lastHolder
    throw new TypeError(
      'taintLabels found no session on the request; mount it after session(), on paths inside of cookie.path',
    )
  }

  #standingWith(holder: LabelHolder): ReadonlySet<string> {
    return this.#standing.get(nameOf(holder)) ?? new Set()
  }

  #missingFrom(labels: ReadonlySet<string>): readonly string[] {
    return [...this.#labels].filter((label) => !labels.has(label))
  }

  #note(labels: Iterable<string>): void {
    for (const label of labels) this.#labels.add(label)
    if (this.#labels.size === 0) return
    forbidCaching(this.#res)
    this.#mark()
  }

  // Before the response's head is made: express-session sends the cookie of a session only if there is something in it.
  #mark(): void {
    if (this.#labels.size > 0 && hasSession(this.#req) && this.#isSealable(this.#holder()))
      this.#req.session.tainted = true
  }

  // The touch at the end of the request lengthens the session's life once more, hence the margin.
  #lifeMs(): number {
    const { cookie } = this.#req.session ?? {}
    const leftMs = Math.max(
      cookie?.originalMaxAge ?? 0,
      cookie?.expires ? cookie.expires.getTime() - Date.now() : 0,
    )
    return (leftMs > 0 ? leftMs : this.#parts.sessionTtlMs) * 1.05 + 60_000
  }

  /** Lets nothing more leave. A response that has begun, or that must not wait for the handler, is refused at once. */
  #refuse(error: unknown, when: 'now' | 'then' = 'then'): void {
    this.#failure ??= { error }
    if (when === 'now' || this.#res.headersSent) this.#hold.refuse(error)
  }
}

function hasSession({ session, sessionID }: Partial<Request>): boolean {
  return typeof session === 'object' && session !== null && typeof sessionID === 'string'
}

function nameOf(holder: LabelHolder): string {
  return 'subject' in holder ? `u:${holder.subject}` : `s:${holder.sid}`
}
