import type { IncomingMessage } from 'node:http'
import { type AnyResponse, isHttp2 } from './node-response.ts'

type Push = (chunk: unknown, encoding?: BufferEncoding) => boolean

/**
 * Holds the end of the request's body back from the handler until `check` resolves, which is called once the whole body has been
 * received. The body itself is not delayed. If the check rejects, the end never comes: `onDenied` must reply, and then the
 * request fails with the error.
 */
export function holdBodyEnd(req: IncomingMessage, res: AnyResponse, gate: BodyEndGate): void {
  if (!mayHaveBody(req)) return
  // Node's parser, for HTTP/1.1 as for HTTP/2, hands the body to the stream by this method.
  const push: Push = req.push
  const held: Push = (chunk, encoding) => {
    if (chunk !== null) return push.call(req, chunk, encoding)
    gate.check().then(
      () => push.call(req, null),
      (error: unknown) => {
        // Not on 'close', which a refused response emits before the reply has left.
        res.once('finish', () => abandon(req, error))
        // The connection ends with the request, so the client must not send another one on it.
        if (!isHttp2(res)) res.shouldKeepAlive = false
        gate.onDenied(error)
      },
    )
    return false
  }
  req.push = held
}

export interface BodyEndGate {
  check(): Promise<unknown>
  onDenied(error: unknown): void
}

function mayHaveBody({ headers, httpVersionMajor }: IncomingMessage): boolean {
  return (
    httpVersionMajor >= 2 ||
    headers['transfer-encoding'] !== undefined ||
    Number(headers['content-length'] ?? 0) > 0
  )
}

// Readers of the body get the error; without a listener it would be uncaught.
function abandon(req: IncomingMessage, error: unknown): void {
  if (req.listenerCount('error') > 0 && error instanceof Error) req.destroy(error)
  else req.destroy()
}
