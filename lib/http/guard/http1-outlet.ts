import type { OutgoingHttpHeaders, Server, ServerResponse } from 'node:http'
import type { Http1Response, PieceCallback, QueuedPiece } from './node-response.ts'
import type { Gate, Outlet } from './outlet.ts'
import { bodyOf, type Refusal, refusalHeaders, refusedError } from './refusal.ts'

const OUTLET: unique symbol = Symbol('outlet')

type HeldResponse = Http1Response & { [OUTLET]?: Http1Outlet }

/**
 * Keeps the bytes of a response in the queue in which Node itself keeps those of a response whose turn on the connection
 * has not come. So `headersSent`, back-pressure, `drain` and `finish` are Node's own, and the connection stays taken.
 */
export class Http1Outlet implements Outlet {
  readonly #res: Http1Response
  readonly #gate: Gate
  readonly #writeRaw: Http1Response['_writeRaw']
  readonly #flush: Http1Response['_flush']
  /** Taken at the beginning: a request whose client has left may have no socket. */
  readonly #server: Server | undefined
  /** 1xx lines, apart from the queue: Node puts a head before all that is there. */
  #lines: QueuedPiece[] = []
  /** The size of queued pieces that Node has not counted yet. */
  #uncountedSize = 0
  #isKeeping = false
  #hasSent = false
  /** The reply that replaces the queue. */
  #instead: QueuedPiece | undefined
  /** The callbacks of queued pieces. A refusal calls those of writes; once `end` has run, the last one is Node's own. */
  readonly #callbacks: PieceCallback[] = []

  constructor(res: ServerResponse, gate: Gate) {
    const held = res as HeldResponse
    this.#res = held
    this.#gate = gate
    this.#writeRaw = held._writeRaw
    this.#flush = held._flush
    this.#server = (held.req.socket as { readonly server?: Server } | null)?.server
    held[OUTLET] = this
    held._writeRaw = heldWriteRaw
    held._flush = heldFlush
  }

  write(...args: Parameters<Http1Response['_writeRaw']>): boolean {
    const isContent = this.#res._headerSent
    if (this.#gate.mayLeave(isContent ? 'content' : 'information')) {
      this.#hasSent ||= isContent
      return this.#writeRaw.apply(this.#res, args)
    }
    const piece = pieceOf(args)
    if (!this.#gate.isRefused) return isContent ? this.#keep(piece) : this.#keepLine(piece)
    // For the write that was refused; later ones fail by Node's own error, as the response is destroyed.
    if (piece.callback) this.#callbacks.push(piece.callback)
    return false
  }

  /** Node's own flush comes when the response's turn has come. */
  flush(): void {
    if (this.#isKeeping) return
    const instead = this.#instead
    this.#instead = undefined
    if (instead) this.#res.outputData = [instead]
    this.#flush.call(this.#res)
    // Neither the handler nor an `end` that threw comes back to uncork it.
    if (instead) while (this.#res.socket?.writableCorked) this.#res.socket.uncork()
  }

  release(): void {
    this.#isKeeping = false
    keptOf(this.#server)?.delete(this.#res)
    this.#callbacks.length = 0
    this.#hasSent ||= this.#res._headerSent
    const lines = this.#lines.splice(0)
    this.#res.outputData.unshift(...lines)
    const size = lines.reduce((sum, { data }) => sum + data.length, 0)
    this.#res.outputSize += size - this.#uncountedSize
    this.#uncountedSize = 0
    if (size > 0) this.#res._onPendingData(size)
    if (this.#res.outputData.length > 0) this.#flush.call(this.#res)
  }

  refuse(refusal: Refusal, upstream: OutgoingHttpHeaders): void {
    const res = this.#res
    this.#isKeeping = false
    keptOf(this.#server)?.delete(res)
    process.nextTick(() => this.#failWrites())
    if (res.writableFinished) return
    // What was let go while another response has its turn is still in the queue.
    if (this.#hasSent && res.socket) {
      res.destroy()
      return
    }
    this.#sendInstead(responseOf(res, refusal, upstream))
    res.statusCode = refusal.status
    process.nextTick(() => this.#close())
  }

  #keep(piece: QueuedPiece): boolean {
    const res = this.#res
    this.#isKeeping = true
    keptOf(this.#server)?.add(res)
    const size = piece.data.length
    res.outputData.push(piece)
    res.outputSize += size
    // Node 20 takes a change of the pending size for a drain, and would emit it in the middle of a chunk.
    if (res.writableNeedDrain) this.#uncountedSize += size
    else res._onPendingData(size)
    if (piece.callback) this.#callbacks.push(piece.callback)
    return res.outputSize < res.writableHighWaterMark
  }

  #failWrites(): void {
    const callbacks = this.#callbacks.splice(0)
    if (this.#res.finished) callbacks.pop()
    for (const callback of callbacks) process.nextTick(callback, refusedError())
  }

  #keepLine(piece: QueuedPiece): boolean {
    this.#isKeeping = true
    this.#lines.push(piece)
    return true
  }

  /** Goes when the response's turn has come, and closes the connection. */
  #sendInstead(bytes: string): void {
    const res = this.#res
    const callback = (error?: Error | null) => {
      if (!error) this.#afterRequest(() => this.#finish())
    }
    const counted = res.outputSize - this.#uncountedSize
    this.#instead = { data: bytes, encoding: 'latin1', callback }
    res.outputData = [this.#instead]
    res.outputSize = bytes.length
    res._onPendingData(bytes.length - counted)
    res._last = true
    // From here on Node drops what is written.
    res.destroyed = true
    if (res.socket) this.flush()
  }

  // Closing the connection while the client still sends would lose the reply.
  #afterRequest(act: () => void): void {
    const { req } = this.#res
    if (req.complete || req.destroyed) {
      act()
      return
    }
    req.once('end', act).once('close', act).resume()
  }

  #finish(): void {
    this.#res.finished = true
    this.#res.emit('finish')
  }

  /** Shows the handler, and what it pipes, a response whose client has gone. */
  #close(): void {
    if (this.#res._closed) return
    this.#res._closed = true
    this.#res.emit('close')
  }
}

function heldWriteRaw(this: HeldResponse, ...args: Parameters<Http1Response['_writeRaw']>): boolean {
  return this[OUTLET]?.write(...args) ?? false
}

function heldFlush(this: HeldResponse): void {
  this[OUTLET]?.flush()
}

/** What is kept, by server. */
const keptByServer = new WeakMap<Server, Set<Http1Response>>()

// A server that closes takes the connection of a response that has ended for idle, though it has not left.
function keptOf(server: Server | undefined): Set<Http1Response> | undefined {
  if (typeof server?.closeIdleConnections !== 'function') return undefined
  const known = keptByServer.get(server)
  if (known) return known
  const kept = new Set<Http1Response>()
  keptByServer.set(server, kept)
  const { closeIdleConnections } = server
  server.closeIdleConnections = function closeIdleUnlessKept() {
    const ended = [...kept].filter(({ finished }) => finished)
    for (const res of ended) res.finished = false
    try {
      closeIdleConnections.call(this)
    } finally {
      for (const res of ended) res.finished = true
    }
  }
  return kept
}

function pieceOf([data, encoding, callback]: Parameters<Http1Response['_writeRaw']>): QueuedPiece {
  if (typeof encoding === 'function') return { data, encoding: null, callback: encoding }
  return { data, encoding, callback }
}

function responseOf(res: Http1Response, refusal: Refusal, upstream: OutgoingHttpHeaders): string {
  const headers = {
    ...refusalHeaders(refusal, upstream),
    Date: new Date().toUTCString(),
    Connection: 'close',
  }
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    [value].flat().map((single) => `${name}: ${single}\r\n`),
  )
  const body = res.req.method === 'HEAD' ? '' : bodyOf(refusal)
  return `HTTP/1.1 ${refusal.status} ${bodyOf(refusal)}\r\n${lines.join('')}\r\n${body}`
}
