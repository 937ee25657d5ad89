import { type OutgoingHttpHeaders, STATUS_CODES } from 'node:http'
import { decide } from '../../diagnostics.ts'
import { type AnyResponse, isHttp2 } from './node-response.ts'

/** The reply in place of a response that must not leave. */
export interface Refusal {
  readonly status: number
  /** Seconds, or an HTTP date. */
  readonly retryAfter: string | undefined
  /** The error's; for operators, not for the client. */
  readonly code: string
}

const DEFAULT_RETRY_AFTER = '1'

/** Returns the refusal for an error: its `status`, else 500, and its `Retry-After`. Nothing else of the error is for the client. */
export function refusalOf(error: unknown): Refusal {
  const { statusCode, status = statusCode, headers, code: named } = fieldsOf(error)
  const code = typeof named === 'string' ? named : 'unknown'
  if (!isErrorStatus(status)) return { status: 500, retryAfter: undefined, code }
  const { 'Retry-After': retryAfter } = Object(headers) as { 'Retry-After'?: unknown }
  if (typeof retryAfter === 'string') return { status, retryAfter, code }
  return { status, retryAfter: status === 503 ? DEFAULT_RETRY_AFTER : undefined, code }
}

function fieldsOf(error: unknown): Readonly<Record<string, unknown>> {
  return Object(error) as Readonly<Record<string, unknown>>
}

function isErrorStatus(status: unknown): status is number {
  return typeof status === 'number' && Number.isInteger(status) && status >= 400 && status <= 599
}

/** Headers about one response's content or connection, or that change the client's state. */
const ABOUT_ONE_RESPONSE = new Set([
  'accept-ranges',
  'age',
  'cache-control',
  'connection',
  'content-disposition',
  'content-encoding',
  'content-language',
  'content-length',
  'content-location',
  'content-range',
  'content-type',
  'etag',
  'date',
  'expires',
  'keep-alive',
  'last-modified',
  'link',
  'location',
  'pragma',
  'refresh',
  'set-cookie',
  'trailer',
  'transfer-encoding',
  'upgrade',
])

/**
 * Returns the headers of a refusal. It keeps `upstream` headers, set before the handler ran: a browser can read a 503 only
 * with its CORS headers.
 */
export function refusalHeaders(refusal: Refusal, upstream: OutgoingHttpHeaders): OutgoingHttpHeaders {
  const kept = Object.entries(upstream).filter(
    ([name, value]) => value !== undefined && !name.startsWith(':') && !ABOUT_ONE_RESPONSE.has(name),
  )
  return {
    ...Object.fromEntries(kept),
    ...(refusal.retryAfter === undefined ? {} : { 'Retry-After': refusal.retryAfter }),
    'Cache-Control': 'no-store',
    'Content-Type': 'text/plain; charset=utf-8',
    'Content-Length': Buffer.byteLength(bodyOf(refusal)),
  }
}

export function bodyOf({ status }: Refusal): string {
  return STATUS_CODES[status] ?? 'Error'
}

/** Replies to a request that no handler has seen. */
export function answerRefusal(res: AnyResponse, refusal: Refusal): void {
  decide({ decision: 'response-refused', status: refusal.status, code: refusal.code })
  const headers = refusalHeaders(refusal, res.getHeaders())
  for (const name of res.getHeaderNames()) res.removeHeader(name)
  if (isHttp2(res)) res.writeHead(refusal.status, headers)
  else res.writeHead(refusal.status, headers)
  res.end(bodyOf(refusal))
}

/** Returns the error of a write to a refused response. */
export function refusedError(): Error {
  return Object.assign(new Error('The response was refused; nothing can be written to it'), {
    code: 'ERR_STREAM_DESTROYED',
  })
}
