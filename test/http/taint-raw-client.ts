import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'

export interface RawRequest {
  readonly port: number
  readonly path: string
  readonly method?: string | undefined
  readonly cookie?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  /** Called at the first byte of anything. */
  readonly onFirstByte?: () => Promise<unknown>
}

/** Sends a request over a plain socket and answers every byte that comes back until it is closed. */
export function rawHttp1({
  port,
  path,
  method = 'GET',
  cookie,
  headers = {},
  onFirstByte,
}: RawRequest): Promise<string> {
  return new Promise((resolve) => {
    const chunks: Buffer[] = []
    let first: Promise<unknown> | undefined
    const socket = connect(port, '127.0.0.1')
    socket.on('data', (chunk) => {
      first ??= onFirstByte?.()
      chunks.push(chunk)
    })
    socket.on('error', () => {})
    socket.on(
      'close',
      () => void Promise.resolve(first).then(() => resolve(Buffer.concat(chunks).toString('latin1'))),
    )
    const lines = { host: '127.0.0.1', connection: 'close', ...(cookie && { cookie }), ...headers }
    const head = Object.entries(lines).map(([name, value]) => `${name}: ${value}\r\n`)
    socket.write(`${method} ${path} HTTP/1.1\r\n${head.join('')}\r\n`)
  })
}

/** The same over HTTP/2: every header and byte of the response as one text. */
export function rawHttp2({
  port,
  path,
  method = 'GET',
  cookie,
  headers = {},
  onFirstByte,
}: RawRequest): Promise<string> {
  return new Promise((resolve) => {
    const session = connectHttp2(`http://127.0.0.1:${port}`)
    const seen: string[] = []
    let first: Promise<unknown> | undefined
    const note = (part: unknown) => {
      first ??= onFirstByte?.()
      seen.push(Buffer.isBuffer(part) ? part.toString('latin1') : JSON.stringify(part))
    }
    session.on('error', () => {})
    const stream = session.request({
      ':path': path,
      ':method': method,
      ...(cookie && { cookie }),
      ...headers,
    })
    stream
      .on('headers', note)
      .on('response', note)
      .on('data', note)
      .on('error', () => {})
    stream.on('close', () => {
      session.destroy()
      void Promise.resolve(first).then(() => resolve(seen.join('\n')))
    })
    stream.end()
  })
}
