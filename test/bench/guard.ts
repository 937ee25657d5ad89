// What sessionGuard costs a request that reads its session and changes nothing: CPU of the server process, without and
// with it, in turns. `npx tsx test/bench/guard.ts [another checkout]` measures that checkout's guard in the same turns.
// Run `npm run build` in both first.
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import { type AddressInfo, connect, type Socket } from 'node:net'
import { join, resolve } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { startValkey } from '../support/valkey.ts'

const ROUNDS = 60
const WARM_UP_ROUNDS = 10
const REQUESTS = 200
const CONCURRENCY = 8
const SECRET = 'of the benchmark, and at least 32 bytes long'
const HERE = resolve(fileURLToPath(import.meta.url), '../../..')

/** What one server process runs: the package of a checkout, on a store, with or without its guard. */
interface Setup {
  readonly checkout: string
  readonly isGuarded: boolean
  /** Of a Valkey server; without one the store is in process. */
  readonly url?: string | undefined
}

type Package = typeof import('../../lib/index.ts')

async function serve({ checkout, isGuarded, url }: Setup): Promise<void> {
  const { InProcessStore, ValkeyStore, sessionGuard }: Package = await import(
    pathToFileURL(join(checkout, 'dist/index.js')).href
  )
  const load = createRequire(join(checkout, 'package.json'))
  const express = load('express') as typeof import('express')
  const session = load('express-session') as typeof import('express-session')
  const store = url ? new ValkeyStore({ connection: { url }, secrets: [SECRET] }) : new InProcessStore()
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
  process.on('message', () => process.send?.(process.cpuUsage()))
  process.once('disconnect', () => process.exit())
  process.send?.((server.address() as AddressInfo).port)
}

/** A server process and the connections to it. */
class Subject {
  readonly #child: ChildProcess
  #sockets: readonly Socket[] = []
  #request = ''

  constructor(setup: Setup) {
    this.#child = fork(fileURLToPath(import.meta.url), [JSON.stringify(setup)])
  }

  async open(): Promise<this> {
    const [port] = (await once(this.#child, 'message')) as [number]
    const response = await fetch(`http://127.0.0.1:${port}/in`)
    const cookie = response.headers.get('set-cookie')?.split(';', 1)[0]
    if (!response.ok || !cookie) throw new Error(`signing in: ${response.status}`)
    this.#request = `GET / HTTP/1.1\r\nHost: localhost\r\nCookie: ${cookie}\r\n\r\n`
    this.#sockets = Array.from({ length: CONCURRENCY }, () => connect(port, '127.0.0.1').setNoDelay(true))
    return this
  }

  /** CPU time of one request in µs, the mean of a round. */
  async measure(): Promise<number> {
    const before = await this.#cpuUs()
    let left = REQUESTS
    const work = async (socket: Socket) => {
      while (left-- > 0) await this.#exchange(socket)
    }
    await Promise.all(this.#sockets.map(work))
    return ((await this.#cpuUs()) - before) / REQUESTS
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy()
    this.#child.disconnect()
  }

  // Not Node's client: it would share the cores with what is measured.
  #exchange(socket: Socket): Promise<void> {
    return new Promise((done, fail) => {
      let answer = ''
      const read = (bytes: Buffer) => {
        answer += bytes.toString('latin1')
        if (!answer.endsWith(BODY)) return
        socket.off('data', read)
        if (answer.startsWith('HTTP/1.1 200 ')) done()
        else fail(new Error(answer))
      }
      socket.on('data', read)
      socket.write(this.#request)
    })
  }

  async #cpuUs(): Promise<number> {
    this.#child.send('usage')
    const [{ user, system }] = (await once(this.#child, 'message')) as [NodeJS.CpuUsage]
    return user + system
  }
}

const BODY = '["cookie","userId"]'

function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((one, other) => one - other)
  return sorted[Math.round((sorted.length - 1) * share)] ?? Number.NaN
}

async function compare(name: string, checkouts: readonly string[], url?: string): Promise<void> {
  const setups = checkouts.flatMap((checkout) =>
    [false, true].map((isGuarded) => ({ checkout, isGuarded, url })),
  )
  const subjects = await Promise.all(setups.map((setup) => new Subject(setup).open()))
  const costs: number[][] = setups.map(() => [])
  for (let round = -WARM_UP_ROUNDS; round < ROUNDS; round += 1) {
    // Each begins in turn, as what runs later may find a machine that is busier.
    for (let turn = 0; turn < subjects.length; turn += 1) {
      const at = (turn + round + WARM_UP_ROUNDS) % subjects.length
      const cost = await subjects[at]?.measure()
      if (round >= 0 && cost !== undefined) costs[at]?.push(cost)
    }
  }
  for (const [at, checkout] of checkouts.entries()) {
    const [bare = [], guarded = []] = costs.slice(2 * at, 2 * at + 2)
    const extra = guarded.map((cost, round) => cost - (bare[round] ?? Number.NaN))
    const [low, median, high] = [0.25, 0.5, 0.75].map((share) => quantile(extra, share).toFixed(0))
    console.log(
      `${name}, ${checkout}: ${quantile(bare, 0.5).toFixed(0)} µs without, ${quantile(guarded, 0.5).toFixed(0)} µs with the guard; ` +
        `${median} µs more in a round (half of ${ROUNDS} rounds: ${low} to ${high})`,
    )
  }
  for (const subject of subjects) subject.close()
}

const [given] = process.argv.slice(2)
if (process.send && given) await serve(JSON.parse(given) as Setup)
else {
  const checkouts = given ? [HERE, resolve(given)] : [HERE]
  const valkey = await startValkey()
  await compare('in process', checkouts)
  await compare('on Valkey', checkouts, valkey.url)
  await valkey.stop()
}
