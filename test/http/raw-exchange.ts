import { once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import { connect } from 'node:net'

/** What came over one connection, byte for byte. */
export interface RawExchange {
  readonly text: string
  /** What the look at the first byte found. */
  readonly atFirstByte: unknown
}

export interface RawRequest {
  readonly port: number
  readonly path: string
  readonly method?: string | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
  readonly cookie?: string | undefined
  /** Begun the moment the first byte of anything arrives. */
  readonly look?: () => unknown
}

/** Sends one request over a plain TCP connection, and reads until the server closes it. */
export async function askRaw({
  port,
  path,
  method = 'GET',
  headers = {},
  cookie,
  look,
}: RawRequest): Promise<RawExchange> {
  const socket = connect(port, '127.0.0.1')
  const sent = { Host: '127.0.0.1', Connection: 'close', ...(cookie && { Cookie: cookie }), ...headers }
  const lines = Object.entries(sent).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`${method} ${path} HTTP/1.1\r\n${lines.join('')}\r\n`)
  const chunks: Buffer[] = []
  let found: unknown
  socket.once('data', () => {
    found = look?.()
  })
  socket.on('data', (chunk) => chunks.push(chunk)).on('error', () => {})
  await once(socket, 'close')
  return { text: Buffer.concat(chunks).toString('latin1'), atFirstByte: await found }
}

/** The same over HTTP/2: every header and byte of the response as one text. */
export async function askRawHttp2({
  port,
  path,
  method = 'GET',
  headers = {},
  cookie,
  look,
}: RawRequest): Promise<RawExchange> {
  const session = connectHttp2(`http://127.0.0.1:${port}`)
  const seen: string[] = []
  let found: unknown
  const note = (part: unknown) => {
    if (seen.length === 0) found = look?.()
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
    .end()
  await once(stream, 'close')
  session.destroy()
  return { text: seen.join('\n'), atFirstByte: await found }
}

/** The status of the response itself, after any 1xx. */
export function statusOf({ text }: RawExchange): number {
  const statuses = [...text.matchAll(/^HTTP\/1\.1 (\d{3})/gm)].map(([, status]) => Number(status))
  return statuses.find((status) => status >= 200) ?? 0
}
