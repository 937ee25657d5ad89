import { once } from 'node:events'
import {
  type ClientRequest,
  createServer,
  type IncomingHttpHeaders,
  type IncomingMessage,
  request,
} from 'node:http'
import { connect, createServer as createHttp2Server } from 'node:http2'
import type { AddressInfo } from 'node:net'
import type { AnyResponse } from '../../lib/http/guard/node-response.ts'

/** What a client got of one response. */
export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  /** Whether the response was there to its end. */
  readonly isComplete: boolean
  /** The status of each 1xx that came before, and of each push. */
  readonly informational: readonly number[]
}

export interface AskOptions {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Called with the first byte of anything. */
  readonly onFirstByte?: () => void
}

export interface Site {
  readonly port: number
  ask(path: string, options?: AskOptions): Promise<Answer>
  close(): Promise<void>
}

export type Listener = (req: IncomingMessage, res: AnyResponse) => unknown

export interface Protocol {
  readonly protocol: string
  serve(listener: Listener): Promise<Site>
}

const HOST = '127.0.0.1'

async function serveHttp1(listener: Listener): Promise<Site> {
  const server = createServer((req, res) => void listener(req, res))
  server.listen(0, HOST)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  }
  return { port, close, ask: (path, options) => askHttp1(port, path, options) }
}

async function askHttp1(
  port: number,
  path: string,
  { onFirstByte, ...options }: AskOptions = {},
): Promise<Answer> {
  const sent = request({ host: HOST, port, path, agent: false, ...options })
  const informational: number[] = []
  sent.on('information', ({ statusCode }) => informational.push(statusCode))
  sent.on('continue', () => informational.push(100))
  if (onFirstByte) sent.once('socket', (socket) => socket.once('data', onFirstByte))
  sent.end()
  return { ...(await answerTo(sent)), informational }
}

/** What answers a request that has been sent; rejects if it is closed without any answer. */
export async function answerTo(sent: ClientRequest): Promise<Answer> {
  const [response] = (await once(sent, 'response')) as [IncomingMessage]
  const chunks: Buffer[] = []
  response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', () => {})
  // Not by `once` of node:events, which an aborted response would reject.
  await new Promise((resolve) => response.once('close', resolve))
  const { statusCode = 0, headers, complete } = response
  return {
    status: statusCode,
    headers,
    body: Buffer.concat(chunks).toString(),
    isComplete: complete,
    informational: [],
  }
}

async function serveHttp2(listener: Listener): Promise<Site> {
  // Its request is like one of HTTP/1.1, but has another class.
  const server = createHttp2Server((req, res) => void listener(req as never, res))
  server.listen(0, HOST)
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const close = async () => {
    server.close()
    await once(server, 'close')
  }
  return { port, close, ask: (path, options) => askHttp2(port, path, options) }
}

async function askHttp2(
  port: number,
  path: string,
  { method = 'GET', headers = {}, onFirstByte }: AskOptions = {},
): Promise<Answer> {
  const session = connect(`http://${HOST}:${port}`)
  const informational: number[] = []
  let isComplete = true
  let received: IncomingHttpHeaders = {}
  const chunks: Buffer[] = []
  const stream = session.request({ ':path': path, ':method': method, ...headers })
  const began = () => {
    onFirstByte?.()
    onFirstByte = undefined
  }
  session.on('stream', (push) => {
    began()
    informational.push(-1)
    push.on('error', () => {}).resume()
  })
  stream.on('headers', (info) => {
    began()
    informational.push(Number(info[':status']))
  })
  stream.on('response', (head) => {
    began()
    received = head
  })
  stream
    .on('data', (chunk: Buffer) => chunks.push(chunk))
    .on('error', () => {
      isComplete = false
    })
  stream.end()
  await new Promise((resolve) => stream.once('close', resolve))
  session.destroy()
  const status = Number(Reflect.get(received, ':status') ?? 0)
  if (status === 0) throw new Error('The stream was closed without an answer')
  return { status, headers: received, body: Buffer.concat(chunks).toString(), isComplete, informational }
}

export const http1: Protocol = { protocol: 'HTTP/1.1', serve: serveHttp1 }
export const http2: Protocol = { protocol: 'HTTP/2', serve: serveHttp2 }
