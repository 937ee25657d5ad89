import { IncomingMessage, ServerResponse } from 'node:http'
import { Http2ServerResponse } from 'node:http2'
import { Socket } from 'node:net'
import { hasMethods } from '../../option.ts'

/** A response of HTTP/1.1, or of HTTP/2 through Node's compatibility API. */
export type AnyResponse = ServerResponse | Http2ServerResponse

/** One piece of the queue in which Node keeps what a response may not send yet. */
export interface QueuedPiece {
  readonly data: string | Uint8Array
  readonly encoding: BufferEncoding | null | undefined
  readonly callback: PieceCallback | null | undefined
}

export type PieceCallback = (error?: Error | null) => void

/**
 * What Node keeps in a response of HTTP/1.1 while another is before it on the same connection. Not documented, and the
 * same since Node 12; `checkRuntime` looks for it, and test/http/node-versions.test.ts holds it.
 */
export interface ResponseInternals {
  outputData: QueuedPiece[]
  outputSize: number
  /** Whether the connection is to be closed behind this response. */
  _last: boolean
  _closed: boolean
  /** The head, from the moment it is made; whether it has gone to the queue or the socket. */
  _header: string | null
  readonly _headerSent: boolean
  finished: boolean
  destroyed: boolean
  _onPendingData(change: number): void
  /** Sends what is queued, if it is the response's turn. */
  _flush(): void
  /** Every byte of the response passes here on its way to the queue or the socket. */
  _writeRaw(
    data: QueuedPiece['data'],
    encoding?: QueuedPiece['encoding'] | PieceCallback,
    callback?: PieceCallback | null,
    size?: number,
  ): boolean
}

export type Http1Response = ServerResponse & ResponseInternals

export function isHttp2(res: AnyResponse): res is Http2ServerResponse {
  return 'stream' in res
}

/** Whether it is a response of Node's, or built upon one. What engine.io hands to its middleware is none. */
export function isNodeResponse(res: object): res is AnyResponse {
  return res instanceof Http2ServerResponse || hasMethods(res, ['getHeaders', '_writeRaw', '_flush', 'end'])
}

/** Throws a `TypeError` on a runtime whose responses cannot be held: `owner` names what needs it. */
export function checkRuntime(owner: string): void {
  if (canHold()) return
  throw new TypeError(
    `${owner} needs Node.js 20 or later, whose http.ServerResponse queues its bytes; this runtime (${process.version}) does it in another way`,
  )
}

// Tried out rather than looked up: a name may stay where its meaning goes.
function canHold(): boolean {
  try {
    const res = new ServerResponse(new IncomingMessage(new Socket())) as Http1Response
    const { _writeRaw: writeRaw } = res
    let [passed, counted] = [0, 0]
    res._writeRaw = (...args) => {
      passed += 1
      return writeRaw.apply(res, args)
    }
    res._onPendingData = (change) => {
      counted += change
    }
    res.end('probe')
    const queued = res.outputData.reduce((size, { data }) => size + data.length, 0)
    return (
      passed > 0 &&
      queued > 0 &&
      res.outputSize === queued &&
      counted === queued &&
      hasMethods(res, ['_flush'])
    )
  } catch {
    return false
  }
}

/** Sets `Cache-Control: no-store` on a response whose head has not left, unless it has another. */
export function forbidCaching(res: AnyResponse): void {
  if (isHttp2(res)) {
    if (!res.headersSent && !res.hasHeader('Cache-Control')) res.setHeader('Cache-Control', 'no-store')
  } else if (!res.headersSent) {
    if (!res.hasHeader('Cache-Control')) res.setHeader('Cache-Control', 'no-store')
  } else {
    const made = res as Http1Response
    // Made by writeHead, it waits for the first byte of the body.
    if (made._headerSent || made._header === null || /^cache-control:/im.test(made._header)) return
    made._header = made._header.replace('\r\n', '\r\nCache-Control: no-store\r\n')
  }
}
