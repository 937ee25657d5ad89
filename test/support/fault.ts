/** What a fault proxy does to the traffic that passes it. */
export type Fault =
  | { readonly kind: 'pass' }
  /** Everything in that direction comes `ms` later, in order. */
  | { readonly kind: 'delay'; readonly direction: Direction | 'both'; readonly ms: number }
  /** Connections are accepted and swallow all, both ways. Whichever lost bytes is reset when the fault ends. */
  | { readonly kind: 'blackhole' }
  /**
   * The request is applied, its reply never arrives, the connection is reset. For the next `times` requests (default
   * 1) that `when` picks (default all); the rest passes.
   */
  | { readonly kind: 'drop-reply'; readonly times?: number; readonly when?: (request: Buffer) => boolean }
  /** Open connections are reset, and new ones as soon as they are accepted. */
  | { readonly kind: 'reset' }
  /** Open connections are reset; nobody listens. */
  | { readonly kind: 'refuse' }
  /** Open connections are closed in order, and new ones as soon as they are accepted. */
  | { readonly kind: 'accept-then-close' }
  /** Every byte is a packet of its own, both ways. */
  | { readonly kind: 'split' }
  /** Each connection ends after that many more bytes of replies, in the middle of one if need be. */
  | { readonly kind: 'cut'; readonly bytes: number }
  /** Nothing moves and nothing is lost; all of it comes when the fault ends. */
  | { readonly kind: 'pause' }

export type Direction = 'request' | 'reply'

/** The fault in force, as connections see it. */
export interface FaultState {
  readonly fault: Fault
  /** Resolves when another fault comes into force. */
  readonly changed: Promise<void>
  readonly counts: FaultCounts
  /** Whether a `drop-reply` is still to be done for this request; counts it as done. */
  takeDrop(request: Buffer): boolean
}

export interface FaultCounts {
  connections: number
  requestBytes: number
  replyBytes: number
  droppedReplies: number
}
