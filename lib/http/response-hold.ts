import type { OutgoingHttpHeaders } from 'node:http'
import {
  easeAdding,
  type HeldResponse,
  HOLDING,
  type Holding,
  holdMethods,
  holdState,
} from './held-methods.ts'
import { PipedSources } from './piped-sources.ts'
import { refusalOf, refuseResponse } from './refusal.ts'
import {
  type AnyResponse,
  checkChunk,
  HEADER_METHODS,
  headersSentError,
  type Method,
  methodOf,
  type Sendings,
  type Sends,
  sendingsOf,
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

/** Methods of one response, as they were before the held ones were put over them. */
type Originals = ReadonlyMap<string, Method>

class ResponseHold implements Holding {
  readonly #res: AnyResponse
  readonly #holders: ResponseHolder[] = []
  readonly #sources: PipedSources
  // What was set before the first holder came is not the handler's.
  readonly #upstream: OutgoingHttpHeaders
  readonly #sendings: Sendings
  readonly #originals: Originals
  #headerMethods: Originals | undefined
  readonly #kept: KeptCall[] = []
  #isAsking = false
  #isCalling = false
  #isRefused = false
  #headIsAskedFor = false
  #headHasPassed = false
  #statusCode: number | undefined
  #owesDrain = false
  #culprit: ResponseHolder | undefined

  constructor(res: HeldResponse) {
    this.#res = res
    this.#upstream = res.getHeaders()
    this.#sources = new PipedSources(res)
    this.#sendings = sendingsOf(res)
    this.#originals = originalsOf(res, this.#sendings.keys())
    res[HOLDING] = this
    easeAdding(res)
    this.#hold()
  }

  add(holder: ResponseHolder): void {
    this.#holders.unshift(holder)
  }

  #hold(): void {
    holdMethods(this.#res, this.#originals.keys())
    holdMethods(
      this.#res,
      'writeHeader' in this.#res ? ['_implicitHeader', 'writeHeader'] : ['_implicitHeader'],
    )
    if (this.#headerMethods) holdMethods(this.#res, this.#headerMethods.keys())
  }

  send(name: string, args: readonly unknown[]): unknown {
    const [sends, original] = [this.#sendings.get(name), this.#originals.get(name)]
    return sends && original && this.#call({ name, sends, original, args })
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

  makeHead(): unknown {
    if (this.#isRefused || this.#isHeadKept()) return undefined
    return methodOf(this.#res, 'writeHead')?.call(this.#res, this.#res.statusCode)
  }

  #isHeadKept(): boolean {
    return !this.#isCalling && this.#kept.some(begins)
  }

  get hasBegun(): boolean {
    return this.#isHeadKept() || ownValue(this.#res, 'headersSent')
  }

  get hasEnded(): boolean {
    return (
      (!this.#isCalling && this.#kept.some(({ name }) => name === 'end')) ||
      ownValue(this.#res, 'writableEnded')
    )
  }

  /** From here on the handler sees a response that has begun: it can change the head no more, and is told so. */
  #freezeHead(): void {
    this.#statusCode = this.#res.statusCode
    this.#holdHeaderMethods()
    holdState(this.#res)
  }

  #holdHeaderMethods(): void {
    if (this.#headerMethods) return
    this.#headerMethods = originalsOf(this.#res, HEADER_METHODS)
    holdMethods(this.#res, this.#headerMethods.keys())
  }

  changeHead(name: string, args: readonly unknown[]): unknown {
    if (this.#isRefused) return this.#res
    if (this.#isHeadKept()) throw headersSentError()
    return this.#headerMethods?.get(name)?.apply(this.#res, [...args])
  }

  #refuse(error: unknown): void {
    this.#isRefused = true
    const dropped = this.#kept.splice(0)
    this.#headerMethods ??= originalsOf(this.#res, HEADER_METHODS)
    refuseResponse(this.#res, refusalOf(error), this.#upstream)
    this.#hold()
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

function holdOf(res: HeldResponse): ResponseHold {
  const known = res[HOLDING]
  return known instanceof ResponseHold ? known : new ResponseHold(res)
}

function originalsOf(res: AnyResponse, names: Iterable<string>): Originals {
  const originals = new Map<string, Method>()
  for (const name of names) {
    const method = methodOf(res, name)
    if (method) originals.set(name, method)
  }
  return originals
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
