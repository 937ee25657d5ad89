import { type OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { Http2ServerResponse } from 'node:http2'
import { decide } from '../../diagnostics.ts'
import { Http1Outlet } from './http1-outlet.ts'
import { Http2Outlet } from './http2-outlet.ts'
import { type AnyResponse, isHttp2 } from './node-response.ts'
import type { Gate, Outlet } from './outlet.ts'
import { refusalOf, refusedError } from './refusal.ts'

/**
 * What of a response is about to leave: a 1xx or a push, its first byte, a later one, its end. A response that leaves in one
 * piece has only the stage `end`.
 */
export type Stage = 'information' | 'head' | 'body' | 'end'

/** Holds a response until it is settled. */
export interface ResponseHolder {
  /**
   * Called before bytes leave. `undefined` releases them at once, a promise once it resolves. If it rejects, the response is
   * refused: with the error's `status` and `Retry-After` if nothing has left, else by cutting it off. A throw refuses the response
   * before the layers below see its end.
   */
  release(stage: Stage): Promise<void> | undefined
  /** Called before the response ends, before the layers below see it. */
  onEnd?(): void
  /** Called with the error that refused the response: that of this holder's `release`, or of sending. */
  onRefused?(error: unknown): void
}

/**
 * Holds a response until its holders release it. Several may hold one response: the last one added is asked first, and the next
 * once it has released. In every other respect the response is Node's own. Writes to `res.socket` are not held.
 */
export function holdResponse(res: AnyResponse, holder: ResponseHolder): ResponseHold {
  const held: HeldResponse = res
  held[HOLD] ??= new ResponseHold(res)
  held[HOLD].add(holder)
  return held[HOLD]
}

// A property of the response: a WeakMap of all responses costs the garbage collector more than everything else here.
const HOLD: unique symbol = Symbol('hold')

type HeldResponse = AnyResponse & { [HOLD]?: ResponseHold }

type End = (...args: unknown[]) => unknown

/** The state of a held response, and its holders. */
export class ResponseHold implements Gate {
  readonly #res: AnyResponse
  readonly #outlet: Outlet
  readonly #end: End
  // Headers set before the first holder are not the handler's.
  readonly #upstream: OutgoingHttpHeaders
  readonly #holders: ResponseHolder[] = []
  #state: 'open' | 'asking' | 'refused' = 'open'
  /** What came while something else was asked for. */
  readonly #due: Stage[] = []
  /** What its next byte belongs to. */
  #stage: Exclude<Stage, 'information'> = 'head'
  #culprit: ResponseHolder | undefined

  constructor(res: AnyResponse) {
    this.#res = res
    this.#upstream = res.getHeaders()
    this.#end = res.end as End
    easeAdding(res)
    this.#outlet = isHttp2(res) ? new Http2Outlet(res, this) : new Http1Outlet(res, this)
    // Only to learn of the end in time: express-session saves there by itself, and must find it done.
    ;(res as { end: End }).end = heldEnd
  }

  add(holder: ResponseHolder): void {
    this.#holders.unshift(holder)
  }

  get isRefused(): boolean {
    return this.#state === 'refused'
  }

  /** Whether what is about to leave may; if not it is to be kept, until it is released or refused. */
  mayLeave(what: 'information' | 'content'): boolean {
    const stage = what === 'information' ? what : this.#stage
    if (stage === 'head') this.#stage = 'body'
    if (stage !== 'end') this.#ask(stage)
    return this.#state === 'open'
  }

  end(args: readonly unknown[]): unknown {
    if (this.isRefused) return this.#swallow(args)
    checkChunk(args[0])
    if (this.#stage !== 'end') {
      this.#stage = 'end'
      for (const holder of this.#holders) holder.onEnd?.()
      this.#ask('end')
    }
    if (this.isRefused) return this.#swallow(args)
    try {
      return Reflect.apply(this.#end, this.#res, this.#withoutCallback(args))
    } catch (error) {
      // express-session's `end` works only once: the caller could not reply any more.
      this.refuse(error)
      return this.#res
    }
  }

  /** Drops the rest of the response, and replies in its place. */
  refuse(error: unknown): void {
    if (this.isRefused) return
    this.#state = 'refused'
    const refusal = refusalOf(error)
    decide({ decision: 'response-refused', status: refusal.status, code: refusal.code })
    this.#outlet.refuse(refusal, this.#upstream, error)
    const holder = this.#culprit ?? this.#holders.at(-1)
    // Outside of what is going on here: a hook that throws is its app's own uncaught exception.
    if (holder?.onRefused) process.nextTick(() => holder.onRefused?.(error))
  }

  #ask(stage: Stage): void {
    if (this.#state === 'asking') {
      if (this.#due.at(-1) !== stage) this.#due.push(stage)
    } else if (this.#state === 'open') {
      try {
        const pending = this.#releaseOf(stage)
        if (pending) void this.#settle(pending)
      } catch (error) {
        this.refuse(error)
      }
    }
  }

  async #settle(pending: Promise<void>): Promise<void> {
    this.#state = 'asking'
    try {
      await pending
      for (let next = this.#due.shift(); next; next = this.#due.shift()) await this.#releaseOf(next)
    } catch (error) {
      this.refuse(error)
      return
    }
    if (this.isRefused) return
    this.#state = 'open'
    try {
      this.#outlet.release()
    } catch (error) {
      this.refuse(error)
    }
  }

  #releaseOf(stage: Stage, from = 0): Promise<void> | undefined {
    for (let at = from; at < this.#holders.length; at += 1) {
      const holder = this.#holders[at]
      const pending = holder && this.#askHolder(holder, stage)
      if (pending) return pending.then(() => this.#releaseOf(stage, at + 1))
    }
    return undefined
  }

  #askHolder(holder: ResponseHolder, stage: Stage): Promise<void> | undefined {
    const blame = (error: unknown): never => {
      this.#culprit ??= holder
      throw error
    }
    try {
      return holder.release(stage)?.catch(blame)
    } catch (error) {
      return blame(error)
    }
  }

  // express-session takes a callback that comes first for a chunk, and forgets any other.
  #withoutCallback(args: readonly unknown[]): readonly unknown[] {
    const callback = callbackOf(args)
    if (callback === undefined || this.#res.writableFinished) return args
    this.#res.once('finish', callback)
    return args.filter((arg) => arg !== callback)
  }

  #swallow(args: readonly unknown[]): AnyResponse {
    const callback = callbackOf(args)
    if (callback) process.nextTick(callback, refusedError())
    return this.#res
  }
}

// Express sets the prototype of each response, and V8 then makes a hidden class for each property that is added to it,
// which costs some microseconds. An object that has lost a property becomes a hash table, which adds them at no cost.
function easeAdding(res: AnyResponse): void {
  const prototype: unknown = Object.getPrototypeOf(res)
  if (prototype !== ServerResponse.prototype && prototype !== Http2ServerResponse.prototype)
    Reflect.deleteProperty(res, 'end')
}

function heldEnd(this: HeldResponse, ...args: unknown[]): unknown {
  return this[HOLD]?.end(args)
}

function callbackOf(args: readonly unknown[]): ((error?: unknown) => void) | undefined {
  return args.find((arg) => typeof arg === 'function') as ((error?: unknown) => void) | undefined
}

// Refuses what Node would refuse, while nothing below has taken note of an end that will not come.
function checkChunk(chunk: unknown): void {
  if (chunk === undefined || chunk === null || typeof chunk === 'string' || typeof chunk === 'function')
    return
  if (chunk instanceof Uint8Array) return
  const message = `The "chunk" argument must be a string, Buffer or Uint8Array, got a value of type ${typeof chunk}`
  throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' })
}
