import type { ServerResponse } from 'node:http'
import { isSessionStoreError } from '../../errors.ts'

export interface JsonReply {
  readonly status: number
  readonly body: object
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** Answers with JSON that nobody may keep. */
export function sendJson(res: ServerResponse, { status, body, headers }: JsonReply): void {
  res.statusCode = status
  for (const [name, value] of Object.entries(headers ?? {})) res.setHeader(name, value)
  res.setHeader('Content-Type', 'application/json; charset=utf-8')
  res.setHeader('Cache-Control', 'no-store')
  res.end(res.req.method === 'HEAD' ? undefined : JSON.stringify(body))
}

/** The reply for a failure of the store; `undefined` for anything else, which is the app's own to handle. */
export function failureReply(error: unknown): JsonReply | undefined {
  if (!isSessionStoreError(error) || error.code === 'ERR_STORE_OPTION') return undefined
  return { status: error.status, body: { error: error.code }, headers: error.headers }
}
