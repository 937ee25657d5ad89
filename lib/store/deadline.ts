import { OutcomeUnknownError, StoreUnavailableError } from '../errors.ts'

/** What a call that took too long has come to. */
export const late = {
  read: () => new StoreUnavailableError('timeout'),
  write: () => new OutcomeUnknownError('timeout'),
}

/** Settles as `work` does, or rejects with `late()` once `ms` have passed; the work itself is not cancelled. */
export async function withDeadline<Value>(
  work: Promise<Value>,
  ms: number,
  late: () => Error,
): Promise<Value> {
  let timer: NodeJS.Timeout | undefined
  const deadline = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(late()), ms)
  })
  try {
    return await Promise.race([work, deadline])
  } finally {
    clearTimeout(timer)
  }
}
