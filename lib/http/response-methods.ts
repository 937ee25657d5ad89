import { ServerResponse } from 'node:http'
import { Http2ServerResponse } from 'node:http2'

/** A response of HTTP/1.1, or of HTTP/2 through Node's compatibility API. */
export type AnyResponse = ServerResponse | Http2ServerResponse

export type Method = (...args: unknown[]) => unknown

/** What a call of a response's method sends; `line` is a head that stays in memory until more follows. */
export type Sends = 'information' | 'line' | 'head' | 'body' | 'end'

export function isHttp2(res: AnyResponse): res is Http2ServerResponse {
  return 'stream' in res
}

const SENDING = new Map<string, Sends>([
  ['writeHead', 'line'],
  ['flushHeaders', 'head'],
  ['write', 'body'],
  ['end', 'end'],
  // These write to the connection by themselves, past writeHead and write.
  ['writeContinue', 'information'],
  ['writeProcessing', 'information'],
  ['writeEarlyHints', 'information'],
  ['writeInformation', 'information'],
  ['createPushResponse', 'information'],
])

/** The methods of responses through which bytes leave, of any protocol. */
export const SENDING_METHODS: readonly string[] = [...SENDING.keys()]

/** The methods that change a head which has not left. */
export const HEADER_METHODS: readonly string[] = ['setHeader', 'setHeaders', 'appendHeader', 'removeHeader']

/** What each method of one protocol sends. */
export type Sendings = ReadonlyMap<string, Sends>

const HTTP1: Sendings = new Map([...SENDING].filter(([name]) => name in ServerResponse.prototype))
// Its writeHead sends at once.
const HTTP2: Sendings = new Map(
  [...SENDING, ['writeHead', 'head'] as const].filter(([name]) => name in Http2ServerResponse.prototype),
)

/** The methods of a response through which bytes leave, and what each sends. */
export function sendingsOf(res: AnyResponse): Sendings {
  return isHttp2(res) ? HTTP2 : HTTP1
}

/** Node's own, as its callers know it. */
export function headersSentError(): Error {
  return Object.assign(new Error('Cannot change the headers after the response has begun'), {
    code: 'ERR_HTTP_HEADERS_SENT',
  })
}

/** Refuses what Node would refuse to write, while the caller is there to hear of it. */
export function checkChunk(chunk: unknown): void {
  if (chunk === undefined || chunk === null || typeof chunk === 'string' || chunk instanceof Uint8Array)
    return
  const message = `The "chunk" argument must be a string, Buffer or Uint8Array, got a value of type ${typeof chunk}`
  throw Object.assign(new TypeError(message), { code: 'ERR_INVALID_ARG_TYPE' })
}

export function methodOf(res: AnyResponse, name: string): Method | undefined {
  const member = (res as unknown as Readonly<Record<string, unknown>>)[name]
  return typeof member === 'function' ? (member as Method) : undefined
}

/** Puts a method over that of a response. An assignment: defining it, on each response anew, takes many times as long. */
export function replaceMethod(res: AnyResponse, name: string, method: Method): void {
  const methods = res as unknown as Record<string, Method>
  methods[name] = method
}

/** Takes every replacement of the methods above off a response, whoever made it: what is left are its prototype's. */
export function restoreMethods(res: AnyResponse): void {
  for (const name of [...SENDING_METHODS, ...HEADER_METHODS, 'writeHeader', '_implicitHeader'])
    Reflect.deleteProperty(res, name)
}
