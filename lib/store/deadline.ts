import { OutcomeUnknownError, StoreUnavailableError } from '../errors.ts'
import { Patience } from '../patience.ts'

/** What a call that took too long has come to. */
export const late = {
  read: () => new StoreUnavailableError('timeout'),
  write: () => new OutcomeUnknownError('timeout'),
}

/**
 * Settles as `work` does, or rejects with `late()` once `ms` have passed, in which this process was not busy itself;
 * the work is not cancelled.
 */
export async function withDeadline<Value>(
  work: Promise<Value>,
  ms: number,
  late: () => Error,
): Promise<Value> {
  let patience: Patience | undefined
  const deadline = new Promise<never>((_, reject) => {
    patience = new Patience(ms, () => reject(late()))
  })
  try {
    return await Promise.race([work, deadline])
  } finally {
    patience?.end()
  }
}
