import type { IncomingMessage, ServerResponse } from 'node:http'
import { type AuthError, isSessionStoreError } from '../errors.ts'
import { AuthUnavailableError, isAuthError } from './auth-errors.ts'

/** Sends JSON that nobody may keep (RFC 6749 §5.1), unless the headers say otherwise. */
export function sendReply(
  res: ServerResponse<IncomingMessage>,
  { status = 200, body, headers = {} }: AuthReply,
): void {
  // Such as by a middleware that limits the time of a request.
  if (res.headersSent) return
  res.statusCode = status
  const all = 'Cache-Control' in headers ? headers : { ...UNKEPT, ...headers }
  for (const [name, value] of Object.entries(all)) res.setHeader(name, value)
  if (body === undefined) {
    res.end()
    return
  }
  res.setHeader('Content-Type', 'application/json; charset=utf-8')
  res.end(res.req.method === 'HEAD' ? undefined : JSON.stringify(body))
}

const UNKEPT = { 'Cache-Control': 'no-store', Pragma: 'no-cache' }

export interface AuthReply {
  readonly status?: number
  readonly body?: object
  readonly headers?: Readonly<Record<string, string>>
}

/** One body for OAuth clients, which read `error`, and for GoTrue's, which read `error_code`. */
export function failureReply({ status, error, errorCode, message, headers }: AuthError): AuthReply {
  return {
    status,
    body: { error, error_description: printable(message), error_code: errorCode },
    headers,
  }
}

/**
 * The failure as one that a client may see; `undefined` for what is neither ours nor the store's, a mistake in the app's code.
 * A failed store is 503, whatever its error says: no outage may end a client's session.
 */
export function authErrorOf(error: unknown): AuthError | undefined {
  if (isAuthError(error)) return error
  return isSessionStoreError(error)
    ? new AuthUnavailableError('the session store', { cause: error })
    : undefined
}

/** RFC 6749 §5.2. */
function printable(text: string): string {
  return text.replaceAll('"', "'").replace(/[^\x20-\x7e]|\\/g, '?')
}
