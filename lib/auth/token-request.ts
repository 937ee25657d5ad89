import type { IncomingMessage } from 'node:http'
import { InvalidRequestError } from './auth-errors.ts'

/** A request as the router sees it: perhaps behind a body parser, perhaps below a mount path. */
export type AuthRequest = IncomingMessage & { readonly body?: unknown; readonly originalUrl?: string }

/** The parameters of a token request, each given once. */
export type Parameters = ReadonlyMap<string, string>

const MAX_BYTES = 8192

/** Parameters that must not be part of a URL, which is logged on its way (RFC 6749 §2.3.1, ASVS 14.2.1). */
const CREDENTIALS = [
  'username',
  'email',
  'phone',
  'password',
  'refresh_token',
  'token',
  'client_id',
  'client_secret',
]
const KNOWN = ['grant_type', 'token_type_hint', 'scope', ...CREDENTIALS]

/**
 * Reads the parameters of a form or of JSON, whether or not a body parser was there before; `grant_type` may be in the
 * query. Rejects with `InvalidRequestError` for one that is no text, that is there twice, or that a URL must not have.
 */
export async function readParameters(req: AuthRequest): Promise<Parameters> {
  const query = queryOf(req)
  const misplaced = CREDENTIALS.find((name) => query.has(name))
  if (misplaced !== undefined)
    throw new InvalidRequestError(`${misplaced} must be in the body, not in the URL`)
  const given = parametersOf(await bodyOf(req), req.headers['content-type'])
  const [grantType, ...others] = query.getAll('grant_type')
  if (grantType === undefined || grantType === '') return given
  const isAnother = given.has('grant_type') && given.get('grant_type') !== grantType
  if (isAnother || others.length > 0) throw new InvalidRequestError('grant_type is given twice')
  return new Map([...given, ['grant_type', grantType]])
}

/** The query of a request's URL. */
export function queryOf({ url = '' }: IncomingMessage): URLSearchParams {
  const at = url.indexOf('?')
  return new URLSearchParams(at < 0 ? '' : url.slice(at + 1))
}

async function bodyOf(req: AuthRequest): Promise<unknown> {
  const { body } = req
  const isGiven =
    body !== undefined && body !== null && (typeof body !== 'object' || Object.keys(body).length > 0)
  // Express 4's parsers leave `{}` where they have read nothing.
  if (isGiven || req.readableDidRead) return body ?? ''
  const chunks: Buffer[] = []
  let bytes = 0
  // Not destroyed when it is left: the reply has to go out on the same socket.
  try {
    for await (const chunk of req.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
      bytes += chunk.length
      if (bytes > MAX_BYTES) break
      chunks.push(chunk)
    }
  } catch {
    // The client has gone: nobody reads the reply, and no operator needs to know.
    throw new InvalidRequestError('The body was cut off')
  }
  if (bytes > MAX_BYTES) throw tooLarge()
  return Buffer.concat(chunks).toString()
}

function tooLarge(): InvalidRequestError {
  return new InvalidRequestError(`The body is larger than ${MAX_BYTES} bytes`)
}

function parametersOf(body: unknown, type = ''): Parameters {
  const text = Buffer.isBuffer(body) ? body.toString() : body
  const entries = typeof text === 'string' ? entriesIn(text, type) : Object.entries(Object(text))
  const known = entries.filter(([name]) => KNOWN.includes(name))
  const given = new Map<string, string>()
  for (const [name, value] of known) {
    if (typeof value !== 'string') throw new InvalidRequestError(`${name} must be one text`)
    if (given.has(name)) throw new InvalidRequestError(`${name} is given twice`)
    // RFC 6749 §3.1: a parameter without a value is one that was left out.
    if (value !== '') given.set(name, value)
  }
  if ([...given.values()].join('').length > MAX_BYTES) throw tooLarge()
  return given
}

function entriesIn(text: string, type: string): [string, unknown][] {
  if (text === '') return []
  if (/^application\/x-www-form-urlencoded\b/i.test(type)) return [...new URLSearchParams(text)]
  if (!/^application\/(?:[\w.-]+\+)?json\b/i.test(type))
    throw new InvalidRequestError('The body must be a form or JSON')
  try {
    const value = JSON.parse(text) as unknown
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return Object.entries(value)
  } catch {
    // Told below.
  }
  throw new InvalidRequestError('The body must be a JSON object')
}
