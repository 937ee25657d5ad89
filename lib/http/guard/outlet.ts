import type { OutgoingHttpHeaders } from 'node:http'
import type { Refusal } from './refusal.ts'

/** The last stop of a response's bytes. It asks its gate before any leave, and keeps them where Node keeps its own. */
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
  /** Whether what is about to leave may. If not, it is to be kept until it is released or refused. */
  mayLeave(what: 'information' | 'content'): boolean
}
