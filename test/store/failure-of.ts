/** What a promise rejects with, `undefined` if it does not. */
export function failureOf(outcome: Promise<unknown>): Promise<unknown> {
  return outcome.then(
    () => undefined,
    (error: unknown) => error ?? new Error('rejected with nothing'),
  )
}
