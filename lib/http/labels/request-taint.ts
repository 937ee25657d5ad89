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

// Sign-in, sign-out and regenerate change the holder: a request hardly ever does more than one of them.
const MAX_MOVES = 8

/**
 * The labels of one request: which ones it has seen, with which holder they are stored, and what its response waits for.
 *
 * A sign-in or a regenerate moves labels from one holder (a session or a subject) to another, while other requests may still add
 * labels to the old one. No label is lost, because both sides write before they read: a move first shows in the stored session,
 * then reads the labels of the old holder; an add first stores the label, then reads the stored session. So either the move
 * carries the label, or the request that added it finds the session ended or changed before its response leaves.
 */
export class RequestTaint implements Taint, ResponseHolder {
  readonly #req: Request
  readonly #res: Response
  readonly #parts: RequestTaintParts
  readonly #hold: ResponseHold
  readonly #labels = new Set<string>()
  readonly #declassified = new Set<string>()
  /** The stored labels of each holder this request has had. */
  readonly #stored = new Map<string, ReadonlySet<string>>()
  /** Labels that a later read found sealed with the stored session. */
  readonly #foundSealed = new Set<string>()
  readonly #pending = new Set<Promise<void>>()
  readonly #policies: TaintPolicy[] = []
  #lastHolder: LabelHolder | undefined
  #lastSid: string | undefined
  /** Whether other requests may have added labels to the last holder. */
  #lastIsKnown = false
  /** Former holders, to which other requests may have added labels since they were read. */
  readonly #left = new Map<string, LabelHolder>()
  /** A subject that this request signed in and whose labels are not loaded yet. */
  #arrival: LabelHolder | undefined
  /** Whether the holder has changed but the stored session does not show it yet. */
  #isMoveHidden = false
  /** The number of adds, and how many of them precede the last read of the stored session. */
  #adds = 0
  #addsLookedAfter = 0
  #isLost = false
  /** The error of the load, until one succeeds. */
  #unknown: { readonly error: unknown } | undefined
  /** The error that refuses the response. */
  #failure: { readonly error: unknown } | undefined

  constructor(req: Request, res: Response, parts: RequestTaintParts) {
    this.#req = req
    this.#res = res
    this.#parts = parts
    this.#hold = holdResponse(res, this)
  }

  /** Returns whether the labels are in this store. */
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

  /** Loads the labels; returns `undefined` if the session or subject cannot have any. */
  begin(): Promise<void> | undefined {
    const holder = this.#holder()
    return this.#mayHaveLabels(holder) ? this.#load(holder) : undefined
  }

  /** Lets the request run although its labels could not be loaded: reading them throws the error. */
  goOnWithout(error: unknown): void {
    this.#unknown = { error }
  }

  /** Passes a gate, or rejects. The end of the body and the response have to pass it again. */
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
    if (distinct.length > 0) await this.#storeLabels(this.#holder(), distinct)
  }

  async #storeLabels(
    holder: LabelHolder,
    labels: readonly string[],
    declassified: readonly string[] = [],
  ): Promise<void> {
    // Before they are stored: the request counts as labelled even if storing fails.
    this.#note(labels)
    const answer: unknown = await this.#parts.store.add(holder, labels, {
      atLeastMs: this.#lifeMs(),
      declassified,
    })
    const stored = answer === undefined && labels.length === 0 ? new Set<string>() : answer
    if (!isLabelSet(stored) || !labels.every((label) => stored.has(label))) throw new LabelsUnreadableError()
    this.#adds += 1
    this.#note(stored)
    this.#stored.set(nameOf(holder), new Set([...this.#storedWith(holder), ...stored]))
  }

  async #load(holder: LabelHolder, memory = this.#sealed()): Promise<void> {
    const remembered = [...new Set([...memory, ...this.#storedWith(holder)])]
    const { state, labels, declassified } = checkedAnswer(
      await this.#parts.store.load(holder, { atLeastMs: this.#lifeMs(), remembered }),
    )
    this.#unknown = undefined
    const missing = remembered.filter((label) => !labels.has(label) && !declassified.has(label))
    if (state === 'lost' || missing.length > 0) this.#isLost = true
    for (const label of declassified) this.#declassified.add(label)
    this.#note([...labels, ...missing])
    this.#stored.set(nameOf(holder), labels)
  }

  /** Decides by the labels stored now. Denies if they are lost or cannot be loaded. */
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
      // Only `false` passes: a policy that forgets to return must not let data out.
      if ((await policy(labels, this.#req)) !== false) throw new TaintDeniedError('labels')
    }
  }

  /** Whether every label is stored with the current holder, and sealed into its session. */
  #isRecorded(): boolean {
    if (this.#lastHolder === undefined) return true
    const holder = this.#holder()
    return !this.#isMoveDue(holder) && !this.#isLookDue() && !this.#isSealDue(holder)
  }

  async #record(): Promise<void> {
    for (let moves = 0; !this.#isRecorded(); moves += 1) {
      if (moves === MAX_MOVES) throw new SessionConflictError()
      await this.#move()
      // The save merges with other requests' saves, and is refused if the session was ended.
      if (this.#isSealDue(this.#holder())) await this.#seal()
      else if (this.#isLookDue()) await this.#look()
    }
  }

  /** Carries the labels of former holders to the new one after a sign-in, a sign-out or a regenerate. */
  async #move(): Promise<void> {
    for (let holder = this.#holder(); this.#isMoveDue(holder); holder = this.#holder()) {
      if (this.#isMoveHidden) await this.#showMove()
      for (const [name, left] of this.#left) {
        await this.#load(left)
        this.#left.delete(name)
      }
      if (this.#isCarryDue(holder))
        await this.#storeLabels(
          holder,
          [...this.#labels],
          this.#isNewHolder(holder) ? [...this.#declassified] : [],
        )
      // The labels sealed in the session are those of the former holder.
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
    return this.#missingFrom(this.#storedWith(holder)).length > 0
  }

  #isNewHolder(holder: LabelHolder): boolean {
    return this.#stored.size > 0 && !this.#stored.has(nameOf(holder))
  }

  // A client that sends its own credentials and no cookie would get a new session with every request.
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
   * Reads the stored session. Returns whether other requests sealed labels that were not known; rejects if the session was ended,
   * or if another request signed it in or out and its sealed labels cannot show what the new holder has seen.
   */
  async #look(): Promise<boolean> {
    const adds = this.#adds
    const { session } = this.#req
    const isStored = hasSession(this.#req) && !this.#parts.sessions.isPristine(session)
    const known = new Set(this.#sealed())
    const subject = this.#parts.subject(this.#req)
    const stored = isStored ? await this.#parts.sessions.storedSession(session) : undefined
    // A declassified label that is added again is sealed already, so only a change of the subject shows the move.
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
      this.#storedWith(holder).size > 0 ||
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
        // A regenerate shows: it has ended the old session.
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

  /** Returns the current holder: the subject, else the session, else, after a sign-out, the last holder. */
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

  #storedWith(holder: LabelHolder): ReadonlySet<string> {
    return this.#stored.get(nameOf(holder)) ?? new Set()
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

  // Before the response's head is made: express-session sends no cookie of an empty session.
  #mark(): void {
    if (this.#labels.size > 0 && hasSession(this.#req) && this.#isSealable(this.#holder()))
      this.#req.session.tainted = true
  }

  // With a margin, as the touch at the end of the request extends the session once more.
  #lifeMs(): number {
    const { cookie } = this.#req.session ?? {}
    const leftMs = Math.max(
      cookie?.originalMaxAge ?? 0,
      cookie?.expires ? cookie.expires.getTime() - Date.now() : 0,
    )
    return (leftMs > 0 ? leftMs : this.#parts.sessionTtlMs) * 1.05 + 60_000
  }

  /** Refuses the response: at once if it has begun or must not wait for the handler, else when it is about to leave. */
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
