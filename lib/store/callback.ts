/** Node's callback form of an outcome. */
export type Callback<Value> = (error: unknown, value?: Value) => void

/**
 * The one edge between promises and callbacks. The callback is called exactly once, never before this returns,
 * and outside our own promise chain: what it throws is its own uncaught exception, not a second call.
 */
export function deliver<Value>(outcome: Promise<Value>, callback: Callback<Value>): void {
  outcome.then(
    (value) => process.nextTick(callback, null, value),
    (error: unknown) => process.nextTick(callback, error),
  )
}

/** What a method with an optional callback returns: the promise, or nothing when the callback is given. */
export function answer<Value>(
  outcome: Promise<Value>,
  callback?: Callback<Value> | null,
): Promise<Value> | undefined {
  // express-session calls without a callback, and drops the promise: that must not end the process.
  outcome.catch(() => {})
  if (typeof callback !== 'function') return outcome
  deliver(outcome, callback)
  return undefined
}
