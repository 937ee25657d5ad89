import type { OutgoingHttpHeaders } from 'node:http'
import type { Refusal } from './refusal.ts'

/** Sends the bytes of a response. Asks its gate first, and queues them where Node queues its own. */
export interface Outlet {
  /** Sends what is kept. */
  release(): void
  /** Drops what is kept, and sends a refusal in its place, or cuts off a response that has begun. */
  refuse(refusal: Refusal, upstream: OutgoingHttpHeaders, error: unknown): void
}

/** What decides whether the bytes of a response may leave. */
export interface Gate {
  /** Whether the response was refused, so that nothing of it leaves any more. */
  readonly isRefused: boolean
  /** Returns whether the next bytes may leave. If not, keep them until the response is released or refused. */
  mayLeave(what: 'information' | 'content'): boolean
}
