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

const SENDING: ReadonlyMap<string, Sends> = new Map([
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

type SendingMethods = readonly (readonly [name: string, sends: Sends])[]

const HTTP1: SendingMethods = [...SENDING].filter(([name]) => name in ServerResponse.prototype)
const HTTP2: SendingMethods = [...SENDING]
  .filter(([name]) => name in Http2ServerResponse.prototype)
  .map(([name, sends]) => [name, sends === 'line' ? 'head' : sends])

/** The methods of a response through which bytes leave, and what each sends. */
export function sendingMethods(res: AnyResponse): SendingMethods {
  return isHttp2(res) ? HTTP2 : HTTP1
}

/** The methods that change a head which has not left. */
export const HEADER_METHODS: readonly string[] = ['setHeader', 'setHeaders', 'appendHeader', 'removeHeader']

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
  const member: unknown = Reflect.get(res, name)
  return typeof member === 'function' ? (member as Method) : undefined
}

/** Puts a method over that of a response. An assignment: defining it, on each response anew, takes many times as long. */
export function replaceMethod(res: AnyResponse, name: string, method: Method): void {
  const methods = res as unknown as Record<string, Method>
  methods[name] = method
}

/** Takes every replacement of the methods above off a response, whoever made it: what is left are its prototype's. */
export function restoreMethods(res: AnyResponse): void {
  for (const name of [...SENDING.keys(), ...HEADER_METHODS, 'writeHeader', '_implicitHeader'])
    Reflect.deleteProperty(res, name)
}
