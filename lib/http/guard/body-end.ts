import type { IncomingMessage } from 'node:http'
import { type AnyResponse, isHttp2 } from './node-response.ts'

type Push = (chunk: unknown, encoding?: BufferEncoding) => boolean

/**
 * Lets the handler see the end of the request's body only after `check`, which begins when the whole body has been
 * received. What comes before the end is not delayed. If the check rejects, the end never comes: `onDenied` has to
 * answer, and after that the request fails with its error.
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
        // Not on 'close', which a refused response emits before its answer has left.
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

// Whoever still waits for the body learns that it will not come; with nobody waiting an error would be uncaught.
function abandon(req: IncomingMessage, error: unknown): void {
  if (req.listenerCount('error') > 0 && error instanceof Error) req.destroy(error)
  else req.destroy()
}
