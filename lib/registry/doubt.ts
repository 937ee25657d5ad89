import { OutcomeUnknownError, SessionConflictError, StoreUnavailableError } from '../errors.ts'

/** What a failure means once a part of the work may have been done, which an error that says "nothing was applied" would deny. */
export function inDoubt(error: unknown): unknown {
  if (error instanceof StoreUnavailableError) return new OutcomeUnknownError(error.reason)
  return error instanceof SessionConflictError ? new OutcomeUnknownError('conflict') : error
}

/** Rejects with what a failure means {@link inDoubt}. */
export function failInDoubt(error: unknown): never {
  throw inDoubt(error)
}
