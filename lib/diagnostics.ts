/** The channels of `node:diagnostics_channel`, for tracing and metrics. No message carries an id, a handle, a key, a user or contents. */

import { channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'

/** The message of a tracing channel. A failed operation adds its `error`; results are never published. */
export interface OperationTrace {
  /** The end of the channel's name: `express-session-valkey:<operation>`. */
  readonly operation:
    | 'all'
    | 'check'
    | 'clear'
    | 'commit'
    | 'count'
    | 'destroy'
    | 'end'
    | 'end-all'
    | 'ending'
    | 'get'
    | 'ids'
    | 'labels-add'
    | 'labels-declassify'
    | 'labels-load'
    | 'length'
    | 'list'
    | 'regenerate'
    | 'set'
    | 'token-open'
    | 'token-read'
    | 'token-refresh'
    | 'touch'
  readonly error?: unknown
}

export type TracedOperation = OperationTrace['operation']

/**
 * The messages of the channel `express-session-valkey:decision`.
 *
 * - `session-invalid`, `session-unknown-key`, `session-merged`, `session-ended`, `write-refused`, `unsafe-server`, `shared-prefix`,
 *   `refresh-reused`, `refresh-ahead`, `upstream-logout-failed`: as the store's events, without the handle.
 * - `attempt-failed`: an attempt of a call failed; a repeat of it may succeed. `kind` and `reason` as in `health()`.
 * - `breaker`: the breaker is now `state`; in a cluster that of one `primary` (`host:port`).
 * - `response-refused`: a guard replied in place of the handler, with `status` and the error's `code`.
 * - `taint-denied`: a gate denied a request.
 */
export type Decision =
  | {
      readonly decision:
        | 'refresh-ahead'
        | 'session-invalid'
        | 'session-unknown-key'
        | 'shared-prefix'
        | 'taint-denied'
        | 'unsafe-server'
        | 'upstream-logout-failed'
    }
  | { readonly decision: 'session-merged'; readonly attempts: number }
  | { readonly decision: 'session-ended'; readonly reason: string }
  | { readonly decision: 'refresh-reused'; readonly presented: 'late-parent' | 'stale' }
  | { readonly decision: 'write-refused'; readonly ending: 'ended' | 'gone' }
  | { readonly decision: 'attempt-failed'; readonly kind: 'refused' | 'unknown'; readonly reason: string }
  | {
      readonly decision: 'breaker'
      readonly state: 'closed' | 'open' | 'half-open'
      readonly primary?: string
    }
  | { readonly decision: 'response-refused'; readonly status: number; readonly code: string }

const NAME = 'express-session-valkey'
const decisions = channel(`${NAME}:decision`)

/** The channels. Without subscribers an operation costs one property read. */
export const traces: Readonly<Record<TracedOperation, TracingChannel>> = {
  all: traceOf('all'),
  check: traceOf('check'),
  clear: traceOf('clear'),
  commit: traceOf('commit'),
  count: traceOf('count'),
  destroy: traceOf('destroy'),
  end: traceOf('end'),
  'end-all': traceOf('end-all'),
  ending: traceOf('ending'),
  get: traceOf('get'),
  ids: traceOf('ids'),
  'labels-add': traceOf('labels-add'),
  'labels-declassify': traceOf('labels-declassify'),
  'labels-load': traceOf('labels-load'),
  length: traceOf('length'),
  list: traceOf('list'),
  regenerate: traceOf('regenerate'),
  set: traceOf('set'),
  'token-open': traceOf('token-open'),
  'token-read': traceOf('token-read'),
  'token-refresh': traceOf('token-refresh'),
  touch: traceOf('touch'),
}

/** Does the work, and traces it if the channel has subscribers. */
export function traced<Value>(operation: TracedOperation, work: () => Promise<Value>): Promise<Value> {
  const trace = traces[operation]
  return trace.hasSubscribers ? tracedBy(trace, operation, work) : work()
}

/** Publishes a decision if the channel has subscribers. */
export function decide(decision: Decision): void {
  if (decisions.hasSubscribers) decisions.publish(decision)
}

async function tracedBy<Value>(
  trace: TracingChannel,
  operation: TracedOperation,
  work: () => Promise<Value>,
): Promise<Value> {
  const outcome: { value?: Promise<Value> } = {}
  // The channel publishes the result of a traced promise, which may be a session: this one resolves to nothing.
  const withoutResult = async () => {
    outcome.value = work()
    await outcome.value
  }
  await trace.tracePromise(withoutResult, { operation })
  return outcome.value as Promise<Value>
}

function traceOf(operation: TracedOperation): TracingChannel {
  return tracingChannel(`${NAME}:${operation}`)
}
