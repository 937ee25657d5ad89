// A request that reads its session and changes nothing, without and with sessionGuard, in turns: a ratio.
import { once } from 'node:events'
import { Agent, createServer, get, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import session from 'express-session'
import { InProcessStore, sessionGuard } from '../../lib/index.ts'

const ROUNDS = 9
const REQUESTS = 800
const CONCURRENCY = 8
const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY })

async function serve(isGuarded: boolean): Promise<{ server: Server; port: number; cookie: string }> {
  const store = new InProcessStore()
  const app = express()
  app.use(session({ store, secret: 'of the benchmark', resave: false, saveUninitialized: false }))
  if (isGuarded) app.use(sessionGuard({ store }))
  app.get('/in', (req, res) => {
    Object.assign(req.session, { userId: 'ann' })
    res.send('in')
  })
  app.get('/', (req, res) => void res.json(Object.keys(req.session)))
  const server = createServer(app).listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const response = await fetchOnce(port, '/in')
  return { server, port, cookie: String(response.headers['set-cookie']).split(';', 1)[0] ?? '' }
}

async function fetchOnce(port: number, path: string, cookie = ''): Promise<IncomingMessage> {
  const request = get({ port, path, host: '127.0.0.1', agent, headers: { cookie } })
  const [response] = (await once(request, 'response')) as [IncomingMessage]
  response.resume()
  await once(response, 'end')
  return response
}

async function timeOf({ port, cookie }: { port: number; cookie: string }): Promise<number> {
  const startMs = performance.now()
  let left = REQUESTS
  const work = async () => {
    while (left-- > 0) await fetchOnce(port, '/', cookie)
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, work))
  return performance.now() - startMs
}

const [bare, guarded] = [await serve(false), await serve(true)]
const ratios: number[] = []
for (let round = 0; round <= ROUNDS; round += 1) {
  const ratio = (await timeOf(bare)) / (await timeOf(guarded))
  // The first round warms up.
  if (round > 0) ratios.push(ratio)
}
const [low, high] = [Math.min(...ratios), Math.max(...ratios)]
const median = ratios.toSorted((one, other) => one - other)[ratios.length >> 1] ?? Number.NaN
console.log(
  `with the guard ${median.toFixed(2)} × the requests a second (${low.toFixed(2)} to ${high.toFixed(2)})`,
)
agent.destroy()
bare.server.close()
guarded.server.close()
