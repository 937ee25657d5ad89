/** The `code` of every error that labels add to those of lib/errors.ts. */
export type LabelErrorCode = 'ERR_LABELS_UNREADABLE' | 'ERR_LABELS_LIMIT' | 'ERR_TAINT_DENIED'

interface LabelErrorFacts {
  readonly code: LabelErrorCode
  readonly status: number
  readonly headers?: Readonly<Record<string, string>>
}

/** The base of the errors that only labels raise. None carries a session id, a user id or a key. */
export class LabelError extends Error {
  readonly code: LabelErrorCode
  readonly status: number
  /** The same as `status`. */
  readonly statusCode: number
  /** Whether the message is for the client: true below 500. */
  readonly expose: boolean
  readonly headers: Readonly<Record<string, string>>

  constructor(message: string, facts: LabelErrorFacts) {
    super(message)
    this.name = new.target.name
    this.code = facts.code
    this.status = facts.status
    this.statusCode = facts.status
    this.expose = facts.status < 500
    this.headers = facts.headers ?? {}
  }
}

/** What is stored is not a set of labels. It counts as neither labelled nor empty; nothing was changed. */
export class LabelsUnreadableError extends LabelError {
  constructor() {
    super('What is stored is not a set of labels; find out who else writes there, or remove it', {
      code: 'ERR_LABELS_UNREADABLE',
      status: 503,
      headers: { 'Retry-After': '5' },
    })
  }
}

/** More distinct labels than a session or user may gather. Nothing was added. */
export class LabelLimitError extends LabelError {
  constructor(limit: number) {
    super(`There would be more than ${limit} distinct labels; use fewer, coarser ones`, {
      code: 'ERR_LABELS_LIMIT',
      status: 500,
    })
  }
}

/** A gate refused the request for its labels, or because labels that were there are lost. */
export class TaintDeniedError extends LabelError {
  /** `labels`: those it has are refused here. `lost`: it had labels that are no longer stored. */
  readonly reason: 'labels' | 'lost'

  constructor(reason: 'labels' | 'lost') {
    super('What this session has been exposed to may not leave here', {
      code: 'ERR_TAINT_DENIED',
      status: 403,
    })
    this.reason = reason
  }
}
