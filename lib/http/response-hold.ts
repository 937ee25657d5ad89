import type { OutgoingHttpHeaders } from 'node:http'
import { PipedSources } from './piped-sources.ts'
import { refusalOf, refuseResponse } from './refusal.ts'
import {
  type AnyResponse,
  checkChunk,
  HEADER_METHODS,
  headersSentError,
  type Method,
  methodOf,
  replaceMethod,
  type Sends,
  sendingMethods,
} from './response-methods.ts'

/** What is about to leave: a 1xx or a push, the first byte of a response, a later one, its end. One that leaves in one piece is only asked for as `end`. */
export type Departure = 'information' | 'head' | 'body' | 'end'

/** Something that must be settled before a response may leave. */
export interface ResponseHolder {
  /**
   * Asked before bytes leave, once for each call that sends some. `undefined` lets them go at once; until a promise
   * resolves nothing leaves. If it rejects, the response is refused: with the error's `status` and `Retry-After` if
   * nothing has left, else by cutting it off.
   */
  release(departure: Departure): Promise<void> | undefined
  /** Told why the response was refused: what this holder's `release` failed with, or what sending threw. */
  onRefused?(error: unknown): void
}

/**
 * Lets nothing of a response leave before its holders release it. Several may hold one response: the last to come is
 * asked first, and the next only once it has released. What the handler does meanwhile is kept and done in order.
 * Not covered are writes to `res.socket` and, on HTTP/2, to `res.stream`.
 */
export function holdResponse(res: AnyResponse, holder: ResponseHolder): void {
  holdOf(res).add(holder)
}

interface Call {
  readonly name: string
  readonly sends: Sends
  readonly original: Method
  readonly args: readonly unknown[]
}

interface KeptCall extends Call {
  readonly departure: Departure | undefined
}

class ResponseHold {
  readonly #res: AnyResponse
  readonly #holders: ResponseHolder[] = []
  readonly #sources: PipedSources
  // What was set before the first holder came is not the handler's.
  readonly #upstream: OutgoingHttpHeaders
  readonly #replacements: [name: string, method: Method][] = []
  #areHeadersGuarded = false
  readonly #kept: KeptCall[] = []
  #isAsking = false
  #isCalling = false
  #isRefused = false
  #headIsAskedFor = false
  #headHasPassed = false
  #statusCode: number | undefined
  #owesDrain = false
  #culprit: ResponseHolder | undefined

  constructor(res: AnyResponse) {
    this.#res = res
    this.#upstream = res.getHeaders()
    this.#sources = new PipedSources(res)
    for (const [name, sends] of sendingMethods(res)) {
      const original = methodOf(res, name)
      if (original) this.#replace(name, (...args) => this.#call({ name, sends, original, args }))
    }
    // A deprecated alias on the prototype, which would pass by all that stands over writeHead.
    if ('writeHeader' in res)
      this.#replace('writeHeader', (...args) => methodOf(res, 'writeHead')?.apply(res, args))
    // Node's own method, which other middleware calls too. HTTP/2 responses lack it, though express-session needs it.
    this.#replace('_implicitHeader', () => this.#implicitHeader())
  }

  add(holder: ResponseHolder): void {
    this.#holders.unshift(holder)
  }

  #replace(name: string, method: Method): void {
    this.#replacements.push([name, method])
    replaceMethod(this.#res, name, method)
  }

  #call(given: Call): unknown {
    // What a method calls on its way, as `end` calls `writeHead`, leaves with it.
    if (this.#isCalling) return this.#apply(given)
    if (this.#isRefused) return this.#swallow(given)
    const call = this.#withoutCallbackOfEnd(given)
    if (call.sends === 'body' || call.sends === 'end') checkChunk(call.args[0])
    if (call.name === 'writeHead' && this.#isHeadKept()) throw headersSentError()
    if (call.name === 'writeHead' && this.#headHasPassed) return this.#apply(call)
    const departure = this.#departureOf(call)
    if (departure === undefined || this.#isAsking) return this.#keep({ ...call, departure })
    const pending = this.#ask(departure)
    if (pending === undefined) return this.#pass(call)
    const answer = this.#keep({ ...call, departure })
    void this.#settle(pending)
    return answer
  }

  // express-session takes a callback that comes first for a chunk, and forgets any other.
  #withoutCallbackOfEnd(call: Call): Call {
    const callback = call.sends === 'end' ? callbackOf(call) : undefined
    if (callback === undefined || this.#res.writableFinished) return call
    this.#res.once('finish', callback)
    return { ...call, args: call.args.filter((arg) => arg !== callback) }
  }

  #departureOf({ sends }: Call): Departure | undefined {
    if (sends === 'line') return undefined
    if (sends === 'information') return sends
    const isFirst = !this.#headIsAskedFor
    this.#headIsAskedFor = true
    if (sends === 'end') return sends
    return isFirst ? 'head' : 'body'
  }

  #ask(departure: Departure, from = 0): Promise<void> | undefined {
    for (let at = from; at < this.#holders.length; at += 1) {
      const holder = this.#holders[at]
      const pending = holder && attempt(() => holder.release(departure))
      if (holder && pending) {
        return pending.then(
          () => this.#ask(departure, at + 1),
          (error: unknown) => this.#blame(holder, error),
        )
      }
    }
    return undefined
  }

  #blame(holder: ResponseHolder, error: unknown): never {
    this.#culprit = holder
    throw error
  }

  /** Waits for the release of the calls that are kept, and of those that come meanwhile; then makes them. */
  async #settle(pending: Promise<void>): Promise<void> {
    this.#isAsking = true
    try {
      let asked = this.#kept.length
      await pending
      for (; asked < this.#kept.length; asked += 1) {
        const departure = this.#kept[asked]?.departure
        if (departure) await this.#ask(departure)
      }
    } catch (error) {
      this.#refuse(error)
      return
    } finally {
      this.#isAsking = false
    }
    this.#makeKeptCalls()
  }

  #keep(call: KeptCall): unknown {
    if (begins(call) && !this.#isHeadKept() && !this.#headHasPassed) this.#freezeHead()
    this.#kept.push(call)
    if (call.name === 'write') this.#owesDrain = true
    return answerOf(call, this.#res)
  }

  #makeKeptCalls(): void {
    if (this.#kept.length === 0) return
    if (this.#statusCode !== undefined && !this.#headHasPassed) this.#res.statusCode = this.#statusCode
    let mayWrite = this.#owesDrain
    this.#owesDrain = false
    try {
      for (let call = this.#kept.shift(); call; call = this.#kept.shift()) {
        const answer = this.#apply(call)
        if (call.name === 'write') mayWrite = answer !== false
        if (call.name === 'end') mayWrite = false
      }
    } catch (error) {
      this.#refuse(error)
      return
    }
    if (mayWrite) this.#res.emit('drain')
  }

  #pass(call: Call): unknown {
    this.#makeKeptCalls()
    if (this.#isRefused) return this.#swallow(call)
    if (call.name !== 'end') return this.#apply(call)
    try {
      return this.#apply(call)
    } catch (error) {
      // express-session's `end` can be called only once: the caller could not answer any more.
      this.#refuse(error)
      return this.#res
    }
  }

  #apply(call: Call): unknown {
    if (begins(call)) this.#headHasPassed = true
    const wasCalling = this.#isCalling
    this.#isCalling = true
    try {
      return Reflect.apply(call.original, this.#res, call.args)
    } finally {
      this.#isCalling = wasCalling
    }
  }

  #implicitHeader(): unknown {
    if (this.#isRefused || this.#isHeadKept()) return undefined
    return methodOf(this.#res, 'writeHead')?.call(this.#res, this.#res.statusCode)
  }

  #isHeadKept(): boolean {
    return !this.#isCalling && this.#kept.some(begins)
  }

  /** Whether the handler has begun the response, for all it knows. */
  get hasBegun(): boolean {
    return this.#isHeadKept() || ownValue(this.#res, 'headersSent')
  }

  /** Whether the handler has ended the response, for all it knows. */
  get hasEnded(): boolean {
    return (
      (!this.#isCalling && this.#kept.some(({ name }) => name === 'end')) ||
      ownValue(this.#res, 'writableEnded')
    )
  }

  /** From here on the handler sees a response that has begun: it can change the head no more, and is told so. */
  #freezeHead(): void {
    this.#statusCode = this.#res.statusCode
    this.#replaceHeaderMethods()
    Object.defineProperties(this.#res, HELD_STATE)
  }

  #replaceHeaderMethods(): void {
    if (this.#areHeadersGuarded) return
    this.#areHeadersGuarded = true
    for (const name of HEADER_METHODS) {
      const original = methodOf(this.#res, name)
      if (!original) continue
      this.#replace(name, (...args) => {
        if (this.#isRefused) return this.#res
        if (this.#isHeadKept()) throw headersSentError()
        return Reflect.apply(original, this.#res, args)
      })
    }
  }

  #refuse(error: unknown): void {
    this.#isRefused = true
    const dropped = this.#kept.splice(0)
    this.#replaceHeaderMethods()
    refuseResponse(this.#res, refusalOf(error), this.#upstream)
    for (const [name, method] of this.#replacements) replaceMethod(this.#res, name, method)
    this.#sources.abandon()
    for (const call of dropped) this.#swallow(call, error)
    const holder = this.#culprit ?? this.#holders.at(-1)
    // Outside of what is going on here: a hook that throws is its app's own uncaught exception.
    if (holder?.onRefused) process.nextTick(() => holder.onRefused?.(error))
  }

  #swallow(call: Call, error: unknown = refusedError()): unknown {
    const callback = callbackOf(call)
    if (callback) process.nextTick(callback, error)
    // A writer that were told to wait would wait for ever.
    return call.name === 'write' ? true : answerOf(call, this.#res)
  }
}

// On the response itself: a WeakMap of all responses would cost the garbage collector more than all the rest.
const HOLD: unique symbol = Symbol('hold')

type HeldResponse = AnyResponse & { [HOLD]?: ResponseHold }

function holdOf(res: HeldResponse): ResponseHold {
  res[HOLD] ??= new ResponseHold(res)
  return res[HOLD]
}

// Shared by all responses: getters of its own on each of them would make every later use of it slow.
const HELD_STATE: PropertyDescriptorMap & ThisType<HeldResponse> = {
  headersSent: {
    configurable: true,
    get() {
      return this[HOLD]?.hasBegun
    },
  },
  writableEnded: {
    configurable: true,
    get() {
      return this[HOLD]?.hasEnded
    },
  },
}

function ownValue(res: AnyResponse, name: 'headersSent' | 'writableEnded'): boolean {
  return Reflect.get(Object.getPrototypeOf(res) as object, name, res) === true
}

function begins({ sends }: Call): boolean {
  return sends !== 'information'
}

function answerOf({ name }: Call, res: AnyResponse): unknown {
  if (name === 'write') return false
  return name === 'writeHead' || name === 'end' ? res : undefined
}

function callbackOf({ args }: Call): ((...args: readonly unknown[]) => void) | undefined {
  return args.find((arg) => typeof arg === 'function') as Method | undefined
}

function attempt(release: () => Promise<void> | undefined): Promise<void> | undefined {
  try {
    return release()
  } catch (error) {
    return Promise.reject(error)
  }
}

function refusedError(): Error {
  return Object.assign(new Error('The response was refused; nothing can be written to it'), {
    code: 'ERR_STREAM_DESTROYED',
  })
}
