import { type OutgoingHttpHeaders, STATUS_CODES } from 'node:http'
import { constants } from 'node:http2'
import { decide } from '../diagnostics.ts'
import { type AnyResponse, isHttp2, restoreMethods } from './response-methods.ts'

/** What a client is told in place of a response that must not leave. */
export interface Refusal {
  readonly status: number
  /** Seconds, or an HTTP date. */
  readonly retryAfter: string | undefined
  /** The error's; for operators, not for the client. */
  readonly code: string
}

const DEFAULT_RETRY_AFTER = '1'

/** The status of an error that says one, and 500 for any other. Nothing else of the error is for the client, but `Retry-After`. */
export function refusalOf(error: unknown): Refusal {
  const { status, headers, code: named } = Object(error) as Readonly<Record<string, unknown>>
  const code = typeof named === 'string' ? named : 'unknown'
  if (!isErrorStatus(status)) return { status: 500, retryAfter: undefined, code }
  const { 'Retry-After': retryAfter } = Object(headers) as { 'Retry-After'?: unknown }
  if (typeof retryAfter === 'string') return { status, retryAfter, code }
  return { status, retryAfter: status === 503 ? DEFAULT_RETRY_AFTER : undefined, code }
}

function isErrorStatus(status: unknown): status is number {
  return typeof status === 'number' && Number.isInteger(status) && status >= 400 && status <= 599
}

/** Headers that speak of one response's content, or change what the client keeps. */
const ABOUT_CONTENT = new Set([
  'accept-ranges',
  'age',
  'cache-control',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'etag',
  'expires',
  'last-modified',
  'link',
  'location',
  'pragma',
  'refresh',
  'set-cookie',
  'trailer',
  'transfer-encoding',
])

/**
 * Answers a refusal on a response of which nothing has left, or cuts off one that has begun. Whatever other
 * middleware put over the response's methods is passed by. Only `upstream` headers, set before the handler ran,
 * go along: a browser reads a 503 only with the CORS headers it asked for.
 */
export function refuseResponse(res: AnyResponse, refusal: Refusal, upstream: OutgoingHttpHeaders): void {
  decide({ decision: 'response-refused', status: refusal.status, code: refusal.code })
  restoreMethods(res)
  if (res.headersSent) cutOff(res)
  else answer(res, refusal, upstream)
}

function answer(res: AnyResponse, { status, retryAfter }: Refusal, upstream: OutgoingHttpHeaders): void {
  const reason = STATUS_CODES[status] ?? 'Error'
  for (const name of res.getHeaderNames()) res.removeHeader(name)
  for (const [name, value] of Object.entries(upstream)) {
    if (value !== undefined && !ABOUT_CONTENT.has(name)) res.setHeader(name, value)
  }
  if (retryAfter !== undefined) res.setHeader('Retry-After', retryAfter)
  res.setHeader('Cache-Control', 'no-store')
  res.setHeader('Content-Type', 'text/plain; charset=utf-8')
  res.setHeader('Content-Length', Buffer.byteLength(reason))
  // The handler may have left a reason phrase of its own, which HTTP/2 has no place for.
  if (isHttp2(res)) res.writeHead(status)
  else res.writeHead(status, reason)
  res.end(reason)
}

/** Ends a response that has begun so that no client takes it for a complete one. */
export function cutOff(res: AnyResponse): void {
  if (res.writableEnded) return
  if (isHttp2(res)) res.stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  else res.destroy()
}
