import type { Finding } from '../backend/finding.ts'
import { traced } from '../diagnostics.ts'
import {
  LabelLimitError,
  LabelsUnreadableError,
  OutcomeUnknownError,
  StoreClosedError,
  StoreUnavailableError,
} from '../errors.ts'
import { readOptions } from '../option.ts'
import { checkDeclassification, type Declassification, type LabelAudit } from './declassification.ts'
import {
  distinctLabels,
  isLabel,
  type LabelHolder,
  type LabelPlace,
  labelOfMark,
  MAX_LABELS,
  markOf,
  placeOf,
} from './label.ts'
import { causeOf, emitAlarmWarning, type LabelAlarm, type LabelAlarmCode, warnOnce } from './label-alarm.ts'
import type { Keeping, LabelSets } from './label-sets.ts'
import {
  ADD_TERMS,
  type AddTerms,
  type LabelStore,
  LOAD_TERMS,
  type LoadedLabels,
  type LoadTerms,
} from './label-store.ts'
import type { ResolvedLabelOptions } from './label-store-options.ts'

export interface KeyedLabelStoreParts {
  readonly sets: LabelSets
  readonly options: ResolvedLabelOptions
  /** The longest delay with which a declassification is applied, in ms. */
  readonly releaseWindowMs: number
}

/** A finding that also raises an alarm with the same code. */
type LabelFinding = Finding & { readonly code: LabelAlarmCode }

interface Contents {
  readonly labels: ReadonlySet<string>
  readonly declassified: ReadonlySet<string>
}

const TTL_TOO_SHORT: LabelFinding = {
  code: 'ttl-too-short',
  severity: 'warning',
  message:
    'Labels can vanish before their session: "ttl" of the label store is shorter than "longestSessionTtl"',
  action: 'Raise "ttl"',
}
const NO_KEEPING: Keeping = { leastMs: 0, targetMs: 0 }

/** Labels over sets of strings: which ones hold, which ones are missing, and which alarms to raise. */
export class KeyedLabelStore implements LabelStore {
  readonly #sets: LabelSets
  readonly #options: ResolvedLabelOptions
  readonly #releaseWindowMs: number

  constructor({ sets, options, releaseWindowMs }: KeyedLabelStoreParts) {
    this.#sets = sets
    this.#options = options
    this.#releaseWindowMs = releaseWindowMs
    this.#warnOfTtl()
    sets.onConnection(() => void this.#checkConnection().catch(() => {}))
  }

  load(holder: string | LabelHolder, terms: LoadTerms = {}): Promise<LoadedLabels> {
    return traced('labels-load', () => this.#load(holder, terms))
  }

  add(
    holder: string | LabelHolder,
    labels: readonly string[],
    terms: AddTerms = {},
  ): Promise<ReadonlySet<string> | undefined> {
    return traced('labels-add', () => this.#add(holder, labels, terms))
  }

  declassify(declassification: Declassification): Promise<ReadonlySet<string>> {
    return traced('labels-declassify', () => this.#declassify(declassification))
  }

  async #load(holder: string | LabelHolder, terms: LoadTerms): Promise<LoadedLabels> {
    const { remembered, atLeastMs } = readOptions(terms, LOAD_TERMS, 'load')
    const place = placeOf(this.#options.prefix, holder)
    const keep = this.#keeping(place, this.#options.slidingTtl ? this.#options.ttlMs : 0, atLeastMs)
    const { members, isKept, labels, declassified } = await this.#read(place, keep)
    if (!isKept)
      this.#alarm(
        'refresh-failed',
        'Labels were read but could not be kept longer; look at the rights of the server user',
        place,
      )
    const missing = remembered.filter((label) => !labels.has(label) && !declassified.has(label))
    if (missing.length === 0)
      return { state: members.length === 0 ? 'empty' : 'stored', labels, declassified }
    if (members.length > 0)
      return { state: 'stored', labels: await this.#heal(place, missing, atLeastMs), declassified }
    this.#alarm(
      'labels-lost',
      'A session remembers labels, and none are stored; look for evictions, flushes and a ttl that is too short',
      place,
      {
        labels: missing,
      },
    )
    return { state: 'lost', labels: new Set(missing) }
  }

  async #add(
    holder: string | LabelHolder,
    labels: readonly string[],
    terms: AddTerms,
  ): Promise<ReadonlySet<string> | undefined> {
    const { atLeastMs, ...read } = readOptions(terms, ADD_TERMS, 'add')
    const place = placeOf(this.#options.prefix, holder)
    const distinct = distinctLabels(labels)
    const declassified = read.declassified.filter((label) => !distinct.includes(label))
    const keep = this.#keeping(place, this.#options.ttlMs, atLeastMs)
    if (distinct.length + declassified.length === 0) return undefined
    return this.#unite(place, {
      labels: distinct,
      marks: this.#marksOf(declassified, place),
      keep,
      sparesMarked: false,
    })
  }

  async #declassify(declassification: Declassification): Promise<ReadonlySet<string>> {
    const { labels, actor, reason } = checkDeclassification(declassification)
    const place = placeOf(this.#options.prefix, declassification)
    const audit = async (outcome: LabelAudit['outcome']) => {
      const { onAudit, clock } = this.#options
      if (onAudit === undefined)
        throw new TypeError(
          'Nothing is declassified without an audit; give createLabelStore the option "onAudit"',
        )
      await onAudit({
        at: new Date(clock.now()),
        outcome,
        holder: place.digest,
        holderKind: place.kind,
        labels,
        actor,
        reason,
      })
    }
    await audit('intended')
    const outcome = this.#release(place, labels)
    const word = await outcome.then(
      () => 'done' as const,
      (error: unknown) => (error instanceof OutcomeUnknownError ? 'unknown' : 'failed'),
    )
    await audit(word).catch(() =>
      this.#alarm(
        'audit-failed',
        'A declassification was carried out, but its outcome could not be audited',
        place,
      ),
    )
    return outcome
  }

  async check(): Promise<readonly Finding[]> {
    const ofTtl = this.#ttlFindings()
    for (const finding of ofTtl) this.#alarmOf(finding)
    try {
      return [...ofTtl, ...(await this.#checkConnection())]
    } catch (error) {
      if (error instanceof StoreClosedError) throw error
      return [...ofTtl, unreachable(error)]
    }
  }

  close(): Promise<void> {
    return this.#sets.close()
  }

  async #read(place: LabelPlace, keep: Keeping) {
    return this.#watched('load-failed', place, async () => {
      const reading = await this.#sets.read(place.key, keep)
      return { ...reading, ...this.#contents(reading.members, place) }
    })
  }

  #unite(place: LabelPlace, union: Parameters<LabelSets['unite']>[1]): Promise<ReadonlySet<string>> {
    return this.#watched('append-failed', place, async () =>
      this.#answer(await this.#sets.unite(place.key, union), place),
    )
  }

  async #heal(
    place: LabelPlace,
    missing: readonly string[],
    atLeastMs: number | undefined,
  ): Promise<ReadonlySet<string>> {
    this.#alarm(
      'labels-shrunk',
      'A session remembers labels that are not stored any more; they are put back',
      place,
      { labels: missing },
    )
    const keep = this.#keeping(place, this.#options.ttlMs, atLeastMs)
    return this.#unite(place, { labels: missing, marks: [], keep, sparesMarked: true })
  }

  async #release(place: LabelPlace, labels: readonly string[]): Promise<ReadonlySet<string>> {
    const { nowMs } = await this.#read(place, NO_KEEPING)
    const marks = this.#marksOf(labels, place)
    const keep = this.#keeping(place, this.#options.ttlMs)
    const members = await this.#sets.release(place.key, {
      marks,
      keep,
      deadlineMs: nowMs + this.#releaseWindowMs,
    })
    if (members === 'late') throw new StoreUnavailableError('timeout')
    return this.#answer(members, place)
  }

  #marksOf(labels: readonly string[], place: LabelPlace): readonly string[] {
    return labels.map((label) => markOf(label, place, this.#options.declassifySecret))
  }

  #answer(members: readonly string[] | 'full', place: LabelPlace): ReadonlySet<string> {
    if (members === 'full') throw new LabelLimitError(MAX_LABELS)
    return this.#contents(members, place).labels
  }

  /** Throws if a member is neither a label nor a valid mark: the whole set then counts as unreadable. */
  #contents(members: readonly string[], place: LabelPlace): Contents {
    const labels = new Set(members.filter(isLabel))
    const marks = members.filter((member) => !labels.has(member))
    const declassified = new Set(
      marks.map((mark) => labelOfMark(mark, place, this.#options.declassifySecret)),
    )
    if (declassified.has(undefined)) throw new LabelsUnreadableError()
    return { labels, declassified: new Set([...declassified].filter((label) => label !== undefined)) }
  }

  // A little longer than asked for, so that not every load of a session in use writes.
  #keeping(place: LabelPlace, ttlMs: number, atLeastMs = 0): Keeping {
    if (place.kind === 'subject') return NO_KEEPING
    const wantedMs = Math.ceil(atLeastMs)
    return { leastMs: Math.max(wantedMs, ttlMs), targetMs: Math.max(Math.ceil(wantedMs * 1.05), ttlMs) }
  }

  async #watched<Value>(code: LabelAlarmCode, place: LabelPlace, work: () => Promise<Value>): Promise<Value> {
    try {
      return await work()
    } catch (error) {
      const verb = code === 'load-failed' ? 'read' : 'added'
      if (!(error instanceof StoreClosedError))
        this.#alarm(code, `Labels could not be ${verb}; the request is refused`, place, causeOf(error))
      throw error
    }
  }

  #alarm(code: LabelAlarmCode, message: string, place?: LabelPlace, facts: Partial<LabelAlarm> = {}): void {
    const alarm = { code, message, ...(place && { holder: place.digest }), ...facts }
    try {
      const { onAlarm = warnOnce } = this.#options
      onAlarm(alarm)
    } catch (error) {
      // An uncaught exception of the app: it must not fail the call.
      process.nextTick(() => {
        throw error
      })
    }
  }

  #alarmOf({ code, message, action, failure }: LabelFinding): void {
    this.#alarm(code, `${message}. ${action}`, undefined, { ...(failure && { failure }) })
  }

  #warnOfTtl(): void {
    for (const finding of this.#ttlFindings()) {
      emitAlarmWarning({ code: finding.code, message: `${finding.message}. ${finding.action}` })
      if (this.#options.onAlarm) this.#alarmOf(finding)
    }
  }

  #ttlFindings(): readonly LabelFinding[] {
    const { ttlMs, longestSessionTtlMs } = this.#options
    return ttlMs > 0 && ttlMs < longestSessionTtlMs ? [TTL_TOO_SHORT] : []
  }

  async #checkConnection(): Promise<readonly LabelFinding[]> {
    const findings = await this.#serverFindings()
    for (const finding of findings) this.#alarmOf(finding)
    return findings
  }

  async #serverFindings(): Promise<readonly LabelFinding[]> {
    try {
      const unsafe = new Set(
        (await this.#sets.evictionPolicies()).filter((policy) => policy !== 'noeviction'),
      )
      return [...unsafe].map((policy) => ({
        code: 'eviction-policy',
        severity: 'error',
        message: `The server evicts (${policy}) and so may lose labels`,
        action: 'Set maxmemory-policy to noeviction',
      }))
    } catch (error) {
      const { reason, failure } = causeOf(error)
      if (reason !== 'no-permission') throw error
      return [
        {
          code: 'server-unknown',
          severity: 'unknown',
          message: 'The server does not let us see its eviction policy',
          action: `Grant ${failure?.right ?? '+info'}, or make sure it is noeviction`,
          ...(failure && { failure }),
        },
      ]
    }
  }
}

function unreachable(error: unknown): Finding {
  const { failure } = causeOf(error)
  return {
    code: 'unreachable',
    severity: 'error',
    message: 'The server of the label store could not be asked',
    action: 'Look the reason up in docs/ERRORS.md',
    ...(failure && { failure }),
  }
}
