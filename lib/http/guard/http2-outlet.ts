import type { OutgoingHttpHeaders } from 'node:http'
import { constants, type Http2ServerResponse, type ServerHttp2Stream } from 'node:http2'
import type { Gate, Outlet } from './outlet.ts'
import { bodyOf, type Refusal, refusalHeaders, refusedError } from './refusal.ts'

type Callback = (error?: Error | null) => void
/** A call of the handler that is made once the response is released. */
interface Kept {
  act(): void
  /** Called if the response is refused instead. */
  readonly callback?: Callback | undefined
}

type Information = 'additionalHeaders' | 'pushStream'
type Head = 'respond' | 'respondWithFD' | 'respondWithFile'
/** The write methods of a Writable: one is under way at a time, and the next follows its callback. */
type Write = '_write' | '_writev' | '_final'

const OUTLET: unique symbol = Symbol('outlet')

type HeldStream = ServerHttp2Stream & { [OUTLET]?: Http2Outlet }

/**
 * Keeps the frames of a response: a head and what is before it as a call that is made later, the body as the one write
 * that the stream's Writable has under way, so that back-pressure and `drain` are Node's own.
 */
export class Http2Outlet implements Outlet {
  readonly #res: Http2ServerResponse
  readonly #stream: HeldStream
  readonly #gate: Gate
  #kept: Kept[] = []
  /** The write, or the end, that the Writable waits for. */
  #pending:
    | { readonly name: Write; readonly args: readonly unknown[]; readonly callback: Callback }
    | undefined
  /** What is to be the body in place of the handler's, until it is written. */
  #refusal: string | undefined

  constructor(res: Http2ServerResponse, gate: Gate) {
    this.#res = res
    this.#stream = res.stream
    this.#gate = gate
    this.#stream[OUTLET] = this
    Object.assign(this.#stream, HELD)
    // HTTP/2 responses lack it, though express-session needs it.
    if (!('_implicitHeader' in res)) Object.assign(res, { _implicitHeader: implicitHeader })
  }

  inform(name: Information, args: readonly unknown[]): unknown {
    if (this.#gate.mayLeave('information')) return this.#call(name, args)
    const callback = args.find((arg) => typeof arg === 'function') as Callback | undefined
    if (!this.#gate.isRefused) this.#kept.push({ act: () => this.#call(name, args), callback })
    else if (callback) process.nextTick(callback, refusedError())
    return undefined
  }

  begin(name: Head, args: readonly unknown[]): unknown {
    if (this.#gate.mayLeave('content')) return this.#call(name, args)
    if (this.#gate.isRefused) return undefined
    const asGiven = args.map(copyOf)
    this.#kept.push({ act: () => this.#call(name, asGiven) })
    Object.defineProperty(this.#stream, 'headersSent', { configurable: true, value: true })
    return undefined
  }

  /** Its callback hears of a refusal, which the Writable must not: it would reset the stream. */
  write(args: readonly unknown[]): unknown {
    const told = args.map((arg) => (typeof arg === 'function' ? this.#telling(arg as Callback) : arg))
    return this.#call('write', told)
  }

  pass(name: Write, args: readonly unknown[]): void {
    const callback = args.at(-1) as Callback
    if (!this.#gate.isRefused && !this.#stream.headersSent) this.begin('respond', [])
    if (this.#gate.mayLeave('content')) this.#call(name, args)
    else if (this.#gate.isRefused) this.#writeRefusal(name, callback)
    else this.#pending = { name, args, callback }
  }

  release(): void {
    Reflect.deleteProperty(this.#stream, 'headersSent')
    const kept = this.#kept.splice(0)
    const pending = this.#pending
    this.#pending = undefined
    if (!this.#isOver()) for (const { act } of kept) act()
    // Even of a stream that is over: its Writable waits to be called back.
    if (pending) this.#call(pending.name, pending.args)
  }

  refuse(refusal: Refusal, upstream: OutgoingHttpHeaders, error: unknown): void {
    Reflect.deleteProperty(this.#stream, 'headersSent')
    for (const { callback } of this.#kept.splice(0)) if (callback) process.nextTick(callback, error)
    if (this.#stream.headersSent && !this.#isOver()) this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
    if (this.#isOver()) {
      this.#pending?.callback()
      return
    }
    this.#res.statusCode = refusal.status
    // The writable side of a response to HEAD has ended before it began.
    if (this.#res.req.method !== 'HEAD') this.#refusal = bodyOf(refusal)
    // Without waitForTrailers: those of the handler are not for the client.
    this.#call('respond', [{ ':status': refusal.status, ...refusalHeaders(refusal, upstream) }])
    Object.assign(this.#stream, REFUSED)
    Object.assign(this.#res, { destroy: swallowDestroy })
    const pending = this.#pending
    this.#pending = undefined
    if (pending) this.#writeRefusal(pending.name, pending.callback)
    if (!this.#stream.writableEnded) this.#stream.end()
    // Shows the handler, and what it pipes, a response whose client has gone.
    process.nextTick(() => this.#res.emit('close'))
  }

  #telling(callback: Callback): Callback {
    return (error) => callback(error ?? (this.#gate.isRefused ? refusedError() : error))
  }

  #isOver(): boolean {
    return this.#stream.destroyed || this.#stream.closed
  }

  /** Puts the refusal's body in the place of the first thing that the handler's was to be, and nothing in that of others. */
  #writeRefusal(name: Write, callback: Callback): void {
    const body = this.#refusal
    this.#refusal = undefined
    const goOn: Callback = (error) => {
      if (name === '_final' && !error) this.#call('_final', [callback])
      else callback(error)
    }
    if (body === undefined) goOn()
    else this.#call('_write', [Buffer.from(body), 'buffer', goOn])
  }

  /** Makes the stream's own call. */
  #call(name: Information | Head | Write | 'write', args: readonly unknown[]): unknown {
    const own: unknown = Reflect.get(Object.getPrototypeOf(this.#stream) as object, name)
    return typeof own === 'function' ? Reflect.apply(own, this.#stream, args) : undefined
  }
}

type HeldMethod = (this: HeldStream, ...args: unknown[]) => unknown

const informing = (name: Information): HeldMethod =>
  function (...args) {
    return this[OUTLET]?.inform(name, args)
  }
const beginning = (name: Head): HeldMethod =>
  function (...args) {
    return this[OUTLET]?.begin(name, args)
  }
const passing = (name: Write): HeldMethod =>
  function (...args) {
    return this[OUTLET]?.pass(name, args)
  }

// Shared by all streams. Every frame of a response passes through one of these.
const HELD: Readonly<Record<Information | Head | Write | 'write', HeldMethod>> = {
  additionalHeaders: informing('additionalHeaders'),
  pushStream: informing('pushStream'),
  respond: beginning('respond'),
  respondWithFD: beginning('respondWithFD'),
  respondWithFile: beginning('respondWithFile'),
  write(...args) {
    return this[OUTLET]?.write(args)
  },
  _write: passing('_write'),
  _writev: passing('_writev'),
  _final: passing('_final'),
}

// What a handler writes to a stream that has ended would reset it, and the refusal with it.
const REFUSED = { write: swallowWrite }

function swallowWrite(...args: readonly unknown[]): boolean {
  const callback = args.find((arg) => typeof arg === 'function') as Callback | undefined
  if (callback) process.nextTick(callback, refusedError())
  return false
}

function swallowDestroy(): void {}

function implicitHeader(this: Http2ServerResponse): void {
  this.writeHead(this.statusCode)
}

// The compatibility API hands in its own object of headers, which may be read no sooner than it is sent.
function copyOf(arg: unknown): unknown {
  if (Array.isArray(arg)) return [...arg]
  const isPlain = [Object.prototype, null].includes(Object.getPrototypeOf(Object(arg)))
  return isPlain ? Object.assign(Object.create(null), arg) : arg
}
