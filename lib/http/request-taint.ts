import { promisify } from 'node:util'
import type { Request, Response } from 'express'
import { distinctLabels } from '../labels/label.ts'
import { TaintDeniedError } from '../labels/label-errors.ts'
import type { LabelHolder } from '../labels/label-holder.ts'
import type { LabelStore } from '../labels/label-store.ts'
import { holdBodyEnd } from './body-end.ts'
import { isEstablished } from './established-session.ts'
import { forbidCaching, isHeadSent } from './head-sent.ts'
import type { Departure, ResponseHolder } from './response-hold.ts'
import type { SealingStore, Taint, TaintPolicy } from './taint.ts'

export interface RequestTaintParts {
  readonly store: LabelStore
  readonly sessions: SealingStore
  readonly subject: (req: Request) => string | undefined
  readonly sessionTtlMs: number
}

/** The labels of one request: what it has seen of them, where they stand, and what its response waits for. */
export class RequestTaint implements Taint, ResponseHolder {
  readonly #req: Request
  readonly #res: Response
  readonly #parts: RequestTaintParts
  readonly #labels = new Set<string>()
  readonly #declassified = new Set<string>()
  /** What stands with each holder this request has had; sign-in and regenerate change the holder. */
  readonly #standing = new Map<string, ReadonlySet<string>>()
  readonly #pending = new Set<Promise<void>>()
  readonly #policies: TaintPolicy[] = []
  #lastHolder: LabelHolder | undefined
  #isLost = false
  /** Why the labels are not known, while they are not. */
  #unknown: { readonly error: unknown } | undefined
  /** Why nothing of the response may leave any more. */
  #failure: { readonly error: unknown } | undefined

  constructor(req: Request, res: Response, parts: RequestTaintParts) {
    this.#req = req
    this.#res = res
    this.#parts = parts
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

  release(departure: Departure): Promise<void> | undefined {
    const isGated = this.#policies.length > 0 && departure !== 'body'
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
    const standing =
      (await this.#parts.store.add(holder, labels, { atLeastMs: this.#lifeMs(), declassified })) ?? new Set()
    this.#note(standing)
    this.#standing.set(nameOf(holder), new Set([...this.#standingWith(holder), ...standing]))
  }

  async #load(holder: LabelHolder): Promise<void> {
    const remembered = [...new Set([...this.#sealed(), ...this.#standingWith(holder)])]
    const {
      state,
      labels,
      declassified = [],
    } = await this.#parts.store.load(holder, { atLeastMs: this.#lifeMs(), remembered })
    this.#unknown = undefined
    if (state === 'lost') this.#isLost = true
    for (const label of declassified) this.#declassified.add(label)
    this.#note(labels)
    this.#standing.set(nameOf(holder), labels)
  }

  /** Decides by what is stored now. What could not be found out, or is lost, is denied. */
  async #judge(policies: readonly TaintPolicy[]): Promise<void> {
    await this.#settlePending()
    const holder = this.#holder()
    await this.#carryTo(holder)
    if (this.#mayHaveLabels(holder)) await this.#load(holder)
    const { labels } = this
    if (this.#isLost && policies.length > 0) throw new TaintDeniedError('lost')
    for (const policy of policies) {
      // Anything but a clear no is a yes: a policy that forgets to answer must not let data out.
      if ((await policy(labels, this.#req)) !== false) throw new TaintDeniedError('labels')
    }
  }

  /** Whether every label stands with the holder that the request has now, and is sealed into its session. */
  #isRecorded(): boolean {
    if (this.#hasNothing()) return true
    const holder = this.#holder()
    return !this.#isCarryDue(holder) && !this.#isSealDue(holder)
  }

  async #record(): Promise<void> {
    if (this.#hasNothing()) return
    const holder = this.#holder()
    await this.#carryTo(holder)
    if (this.#isSealDue(holder)) await this.#seal()
  }

  #hasNothing(): boolean {
    return this.#labels.size === 0 && this.#declassified.size === 0
  }

  /** After a sign-in, a sign-out or a regenerate: the new holder has seen what the old one has. */
  async #carryTo(holder: LabelHolder): Promise<void> {
    if (!this.#isCarryDue(holder)) return
    await this.#stand(holder, [...this.#labels], this.#isNewHolder(holder) ? [...this.#declassified] : [])
  }

  #isCarryDue(holder: LabelHolder): boolean {
    if (this.#isNewHolder(holder) && this.#declassified.size > 0) return true
    return this.#missingFrom(this.#standingWith(holder)).length > 0
  }

  #isNewHolder(holder: LabelHolder): boolean {
    return this.#standing.size > 0 && !this.#standing.has(nameOf(holder))
  }

  // A client that sends credentials of its own and no cookie would get a new session with every request.
  #isSealDue(holder: LabelHolder): boolean {
    if (this.#labels.size === 0 || !hasSession(this.#req)) return false
    if (!('sid' in holder || isEstablished(this.#req))) return false
    return this.#req.session.tainted !== true || this.#missingFrom(new Set(this.#sealed())).length > 0
  }

  async #seal(): Promise<void> {
    const { session } = this.#req
    this.#parts.sessions.sealLabels(session, [...this.#labels])
    session.tainted = true
    await promisify(session.save.bind(session))()
  }

  #sealed(): readonly string[] {
    return hasSession(this.#req) ? this.#parts.sessions.sealedLabels(this.#req.session) : []
  }

  // The id of a session that no client has sent and under which nothing was put is known to nobody.
  #mayHaveLabels(holder: LabelHolder): boolean {
    return (
      'subject' in holder ||
      this.#standingWith(holder).size > 0 ||
      isEstablished(this.#req) ||
      this.#sealed().length > 0
    )
  }

  /** Whose labels they are now: the subject's, else the session's, else, after a sign-out, whose they were last. */
  #holder(): LabelHolder {
    const subject = this.#parts.subject(this.#req)
    if (subject !== undefined) this.#lastHolder = { subject }
    else if (hasSession(this.#req)) this.#lastHolder = { sid: this.#req.sessionID }
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
    if (this.#labels.size > 0) forbidCaching(this.#res)
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

  /** Lets nothing more leave. A response that has begun, or that must not wait for the handler, is ended at once. */
  #refuse(error: unknown, when: 'now' | 'then' = 'then'): void {
    this.#failure ??= { error }
    if (when === 'now' || isHeadSent(this.#res)) this.#res.end()
  }
}

function hasSession({ session, sessionID }: Partial<Request>): boolean {
  return typeof session === 'object' && session !== null && typeof sessionID === 'string'
}

function nameOf(holder: LabelHolder): string {
  return 'subject' in holder ? `u:${holder.subject}` : `s:${holder.sid}`
}
