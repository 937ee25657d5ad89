/**
 * - `acked`: the store said that it is done.
 * - `refused`: the store said that it is definitely not done.
 * - `unknown`: the store said that it may be done.
 */
export type Verdict = 'acked' | 'refused' | 'unknown'

export type CallKind =
  | 'load'
  | 'save'
  | 'overwrite'
  | 'touch'
  | 'destroy'
  | 'regenerate'
  | 'end'
  | 'end-all'
  | 'list'

/** One call of the store, from when it was made to when it settled. */
export interface Call {
  readonly kind: CallKind
  readonly startMs: number
  /** `Infinity` until it settles. */
  endMs: number
  /** None until it settles. */
  verdict: Verdict | undefined
  /** The code and the reason of a failure. */
  failure: string | undefined
}

export interface Outcome<Value> {
  readonly call: Call
  /** What an acked call answered. */
  readonly value: Value | undefined
}

const VERDICTS: ReadonlyMap<unknown, Verdict> = new Map<unknown, Verdict>([
  ['ERR_STORE_OUTCOME_UNKNOWN', 'unknown'],
  ['ERR_STORE_UNAVAILABLE', 'refused'],
  ['ERR_STORE_CLOSED', 'refused'],
  ['ERR_SESSION_CONFLICT', 'refused'],
  ['ERR_SESSION_ENDED', 'refused'],
  ['ERR_SESSION_LIMIT', 'refused'],
])

/** Every call of a run, and every error they failed with. */
export class History {
  readonly calls: Call[] = []
  readonly #onFailure: (error: unknown) => void

  constructor(onFailure: (error: unknown) => void = () => undefined) {
    this.#onFailure = onFailure
  }

  /** Makes a call and notes how it went. Never rejects. */
  call<Value>(kind: CallKind, work: () => Promise<Value>): Promise<Outcome<Value>> {
    return this.settle(this.begin(kind), work)
  }

  /** Notes a call that is about to be made, for who must know of it before it settles. */
  begin(kind: CallKind): Call {
    const startMs = performance.now()
    const call: Call = {
      kind,
      startMs,
      endMs: Number.POSITIVE_INFINITY,
      verdict: undefined,
      failure: undefined,
    }
    this.calls.push(call)
    return call
  }

  async settle<Value>(call: Call, work: () => Promise<Value>): Promise<Outcome<Value>> {
    try {
      const value = await work()
      call.endMs = performance.now()
      call.verdict = 'acked'
      return { call, value }
    } catch (error) {
      call.endMs = performance.now()
      call.verdict = verdictOf(error)
      call.failure = labelOf(error)
      this.#onFailure(error)
      return { call, value: undefined }
    }
  }

  count(verdict: Verdict): number {
    return this.calls.filter((call) => call.verdict === verdict).length
  }

  get pending(): readonly Call[] {
    return this.calls.filter((call) => call.verdict === undefined)
  }
}

/** What a failure says of its call. An error that is none of the package's says nothing, and is found fault with elsewhere. */
export function verdictOf(error: unknown): Verdict {
  return VERDICTS.get(fieldOf(error, 'code')) ?? 'unknown'
}

/** Whether an error is one that an outage or another request may cause. */
export function isExpected(error: unknown): boolean {
  return VERDICTS.has(fieldOf(error, 'code'))
}

function labelOf(error: unknown): string {
  const reason = fieldOf(error, 'reason')
  return `${String(fieldOf(error, 'code'))}${reason === undefined ? '' : ` (${String(reason)})`}`
}

function fieldOf(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined
}

/** What several attempts at the same thing came to. */
export function joint(calls: readonly Call[]): Verdict {
  const verdicts = calls.map(({ verdict }) => verdict ?? 'unknown')
  if (verdicts.includes('acked')) return 'acked'
  return verdicts.includes('unknown') ? 'unknown' : 'refused'
}
