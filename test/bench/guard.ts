// A request that reads its session and changes nothing, without and with sessionGuard, in turns: ratios.
import { once } from 'node:events'
import { Agent, createServer, get, type IncomingMessage, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import session from 'express-session'
import { InProcessStore, type SessionStore, sessionGuard, ValkeyStore } from '../../lib/index.ts'
import { startValkey } from '../support/valkey.ts'

const ROUNDS = 100
const WARM_UP_ROUNDS = 20
const REQUESTS = 100
const CONCURRENCY = 8
const SECRET = 'of the benchmark, and at least 32 bytes long'
const agent = new Agent({ keepAlive: true, maxSockets: CONCURRENCY })

interface Subject {
  readonly server: Server
  readonly port: number
  readonly cookie: string
}

interface Cost {
  readonly ms: number
  readonly cpuUs: number
}

async function serve(store: SessionStore, isGuarded: boolean): Promise<Subject> {
  const app = express()
  app.use(session({ store, secret: SECRET, resave: false, saveUninitialized: false }))
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

async function costOf({ port, cookie }: Subject): Promise<Cost> {
  const [startMs, before] = [performance.now(), process.cpuUsage()]
  let left = REQUESTS
  const work = async () => {
    while (left-- > 0) await fetchOnce(port, '/', cookie)
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, work))
  const { user, system } = process.cpuUsage(before)
  return { ms: performance.now() - startMs, cpuUs: (user + system) / REQUESTS }
}

/** One round, in which each goes first in turn, as what runs second may find a machine that is busier. */
async function round(at: number, bare: Subject, guarded: Subject) {
  const first = await costOf(at % 2 ? bare : guarded)
  const second = await costOf(at % 2 ? guarded : bare)
  const [without, held] = at % 2 ? [first, second] : [second, first]
  return { ratio: without.ms / held.ms, bareUs: without.cpuUs, heldUs: held.cpuUs }
}

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.round((sorted.length - 1) * share)] ?? Number.NaN
}

async function compare(name: string, open: () => SessionStore): Promise<void> {
  const stores = [open(), open()] as const
  const [bare, guarded] = [await serve(stores[0], false), await serve(stores[1], true)]
  const rounds = []
  for (let at = 0; at < WARM_UP_ROUNDS + ROUNDS; at += 1) rounds.push(await round(at, bare, guarded))
  const counted = rounds.slice(WARM_UP_ROUNDS)
  const ratios = counted.map(({ ratio }) => ratio)
  const [low, median, high] = [0.025, 0.5, 0.975].map((share) => quantile(ratios, share).toFixed(2))
  // Of the rounds that other work on the machine disturbed least.
  const bareUs = quantile(
    counted.map((round) => round.bareUs),
    0.1,
  )
  const heldUs = quantile(
    counted.map((round) => round.heldUs),
    0.1,
  )
  console.log(
    `${name}: with the guard ${median} × the requests a second (95 % of ${ROUNDS} rounds: ${low} to ${high}), ` +
      `${heldUs.toFixed(0)} µs of CPU instead of ${bareUs.toFixed(0)} µs, the client's included`,
  )
  bare.server.close()
  guarded.server.close()
  await Promise.all(stores.map((store) => store.close()))
}

const valkey = await startValkey()
await compare('in process', () => new InProcessStore())
await compare('on Valkey', () => new ValkeyStore({ connection: { url: valkey.url }, secrets: [SECRET] }))
agent.destroy()
await valkey.stop()
