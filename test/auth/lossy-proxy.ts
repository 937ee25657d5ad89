import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { onTestFinished } from 'vitest'

/** Passes requests on, or injects a fault: a server that is `down`, or a reply that is `lost` after the work was done. */
export interface LossyProxy {
  readonly url: string
  fault: 'down' | 'lost' | undefined
  /** The method and path of each request, and the status that its client got, 0 if none. */
  readonly exchanges: string[]
}

export async function startLossyProxy(target: string): Promise<LossyProxy> {
  const server = createServer(async (req, res) => {
    const chunks: Buffer[] = []
    for await (const chunk of req) chunks.push(chunk as Buffer)
    const note = (status: number): void => void proxy.exchanges.push(`${req.method} ${req.url} ${status}`)
    const { fault } = proxy
    if (fault === 'down') {
      note(503)
      res.writeHead(503, { 'content-type': 'text/html' }).end('<h1>Service Unavailable</h1>')
      return
    }
    const { host: _host, connection: _connection, 'content-length': _length, ...headers } = req.headers
    const reply = await fetch(`${target}${req.url}`, {
      method: req.method ?? 'GET',
      headers: headers as Record<string, string>,
      ...(chunks.length === 0 ? {} : { body: Buffer.concat(chunks) }),
    })
    const body = Buffer.from(await reply.arrayBuffer())
    if (fault === 'lost') {
      note(0)
      res.destroy()
      return
    }
    note(reply.status)
    const type = reply.headers.get('content-type')
    res.writeHead(reply.status, type === null ? {} : { 'content-type': type }).end(body)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(() => {
    server.closeAllConnections()
    server.close()
  })
  const { port } = server.address() as AddressInfo
  const proxy: LossyProxy = { url: `http://127.0.0.1:${port}`, fault: undefined, exchanges: [] }
  return proxy
}
