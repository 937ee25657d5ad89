/** What `node:diagnostics_channel` is told, for tracing and metrics. No message carries an id, a handle, a key, a user or contents. */

import { channel, type TracingChannel, tracingChannel } from 'node:diagnostics_channel'

/** The context of a trace. Beside it there is the `error` of a failed operation, never a result. */
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
 * What the channel `express-session-valkey:decision` is told.
 *
 * - `session-invalid`, `session-unknown-key`, `session-merged`, `session-ended`, `write-refused`, `unsafe-server`, `shared-prefix`,
 *   `refresh-reused`, `refresh-ahead`, `upstream-logout-failed`: as the store's events, without the handle.
 * - `attempt-failed`: an attempt of a call failed; a repeat of it may succeed. `kind` and `reason` as in `health()`.
 * - `breaker`: it is now `state`; that of one `primary` (`host:port`) of a cluster.
 * - `response-refused`: a guard answered in a handler's place, with `status` and the error's `code`.
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

// Made once: a call that nobody traces looks at a property, and makes no context.
const traces: Readonly<Record<TracedOperation, TracingChannel>> = {
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

/** Does the work, and traces it if anybody listens. */
export function traced<Value>(operation: TracedOperation, work: () => Promise<Value>): Promise<Value> {
  const trace = traces[operation]
  return trace.hasSubscribers ? tracedBy(trace, operation, work) : work()
}

/** Tells of a decision if anybody listens. */
export function decide(decision: Decision): void {
  if (decisions.hasSubscribers) decisions.publish(decision)
}

async function tracedBy<Value>(
  trace: TracingChannel,
  operation: TracedOperation,
  work: () => Promise<Value>,
): Promise<Value> {
  const outcome: { value?: Promise<Value> } = {}
  // The channel would be told what a traced promise resolves to, which may be a session.
  const untold = async () => {
    outcome.value = work()
    await outcome.value
  }
  await trace.tracePromise(untold, { operation })
  return outcome.value as Promise<Value>
}

function traceOf(operation: TracedOperation): TracingChannel {
  return tracingChannel(`${NAME}:${operation}`)
}
