// What one get and one set cost the Node process, of each store on the same server in turns: medians, with the least and
// the most of all rounds. What is set are Sessions as a request has them, each loaded before and changed each time: an
// update of a record that the store knows. Of the built package: tsx names each closure when it is made, which costs more
// than the closure. Prints the table of docs/BENCHMARKS.md last.
// Run it with: npm run bench -- store [rounds] [calls]
import { randomBytes } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { cpus, loadavg } from 'node:os'
import { RedisStore } from 'connect-redis'
import type { Request } from 'express'
import session, { type Session, type SessionData } from 'express-session'
import { InProcessStore, ValkeyStore } from 'express-session-valkey'
import { Redis } from 'iovalkey'
import { createClient } from 'redis'
import { startValkey } from '../support/valkey.ts'

const [rounds = 7, calls = 4000] = process.argv.slice(2).map(Number)
const IN_FLIGHT = [1, 16, 64]
const SESSIONS = 512
const TTL = 86_400
const OUT = '.cache/bench/store.json'

type Done = (error?: unknown) => void
type LiveSession = Session & SessionData & { visits: number }

/** The methods that express-session calls. */
interface Kept {
  get(sid: string, done: (error: unknown, session?: SessionData | null) => void): unknown
  set(sid: string, session: SessionData, done: Done): unknown
  createSession(req: Request, data: SessionData): Session & SessionData
}

interface Candidate {
  readonly name: string
  readonly store: Kept
  /** The sessions of as many visitors, as their requests have loaded them. */
  readonly live: readonly LiveSession[]
}

interface Cost {
  readonly cpuMicros: number
  readonly perSecond: number
}

const sids = Array.from({ length: SESSIONS }, () => randomBytes(24).toString('base64url'))
const sidAt = (index: number) => sids[index % SESSIONS] ?? ''

/** 560 bytes of JSON, as a small app keeps. */
function contentOf(index: number): SessionData {
  const session = {
    cookie: { originalMaxAge: 86_400_000, httpOnly: true, path: '/', sameSite: 'lax' },
    userName: `user-${index}`,
    csrfToken: 'c'.repeat(43),
    roles: ['reader', 'editor'],
    cart: Array.from({ length: 6 }, (_, at) => ({ sku: `sku-${index % 10}${at}`, count: at + 1 })),
    theme: 'dark',
    visits: 100_000,
    notes: '',
  }
  const missing = 560 - JSON.stringify(session).length
  return { ...session, notes: 'n'.repeat(Math.max(0, missing)) } as unknown as SessionData
}

/** Keeps `inFlight` calls going until all of a round are done. */
function costOf(work: (index: number, done: Done) => void, inFlight: number): Promise<Cost> {
  return new Promise((resolve, reject) => {
    const startMs = performance.now()
    const cpu = process.cpuUsage()
    let [started, ended] = [0, 0]
    const next = () => {
      if (started < calls) work(started++, done)
      else if (ended === started) {
        const { user, system } = process.cpuUsage(cpu)
        resolve({
          cpuMicros: (user + system) / ended,
          perSecond: (1000 * ended) / (performance.now() - startMs),
        })
      }
    }
    const done: Done = (error) => {
      if (error) reject(error)
      ended += 1
      next()
    }
    for (let index = 0; index < inFlight; index += 1) work(started++, done)
  })
}

function spread(values: readonly number[]): { median: number; least: number; most: number } {
  const sorted = values.toSorted((one, other) => one - other)
  const at = (index: number) => Math.round(100 * (sorted[index] ?? Number.NaN)) / 100
  return { median: at(sorted.length >> 1), least: at(0), most: at(sorted.length - 1) }
}

/** The floor: what a store does that only keeps JSON. */
class RawStore extends session.Store {
  readonly #client: Redis

  constructor(client: Redis) {
    super()
    this.#client = client
  }

  override get(sid: string, done: (error: unknown, session?: SessionData | null) => void): void {
    this.#client.getBuffer(`raw:${sid}`).then((value) => done(null, JSON.parse(String(value))), done)
  }

  override set(sid: string, session: SessionData, done: Done = () => {}): void {
    this.#client.set(`raw:${sid}`, JSON.stringify(session), 'EX', TTL).then(() => done(), done)
  }

  override destroy(): void {}
}

/** Stores each session, and loads it as express-session does for a request. */
async function opened(name: string, store: Kept): Promise<Candidate> {
  const live = sids.map(async (sid, index) => {
    await new Promise<void>((resolve, reject) =>
      store.set(sid, contentOf(index), (error) => (error ? reject(error) : resolve())),
    )
    const data = await new Promise<SessionData>((resolve, reject) =>
      store.get(sid, (error, found) => (found ? resolve(found) : reject(error ?? new Error('It is gone')))),
    )
    const req = { sessionID: sid, sessionStore: store } as unknown as Request
    return store.createSession(req, data) as LiveSession
  })
  return { name, store, live: await Promise.all(live) }
}

const server = await startValkey()
const raw = new Redis({ host: '127.0.0.1', port: server.port })
const redis = await createClient({ url: `redis://127.0.0.1:${server.port}` }).connect()
const secrets = ['0123456789abcdef0123456789abcdef']
const connection = { url: server.url }
const signed = new ValkeyStore({ connection, secrets, prefix: 'signed' })
const encrypted = new ValkeyStore({ connection, secrets, prefix: 'encrypted', encrypt: true })
const inProcess = new InProcessStore({ secrets })

const candidates = await Promise.all([
  opened('raw iovalkey', new RawStore(raw)),
  opened('connect-redis', new RedisStore({ client: redis, ttl: TTL })),
  opened('ours signed', signed),
  opened('ours encrypted', encrypted),
  opened('ours in process', inProcess),
])

const workloads = {
  get: (candidate: Candidate) => (index: number, done: Done) => candidate.store.get(sidAt(index), done),
  set: (candidate: Candidate) => (index: number, done: Done) => {
    const live = candidate.live[index % SESSIONS]
    if (live === undefined) throw new Error('There are fewer sessions than ids')
    live.visits += 1
    candidate.store.set(sidAt(index), live, done)
  },
}

const loadBefore = loadavg()
const costs = new Map<string, Cost[]>()
for (let round = 0; round <= rounds; round += 1) {
  for (const [operation, workload] of Object.entries(workloads)) {
    for (const inFlight of IN_FLIGHT) {
      // Each round begins with another one, so that none always comes after the same.
      for (let turn = 0; turn < candidates.length; turn += 1) {
        const candidate = candidates[(turn + round) % candidates.length]
        if (candidate === undefined) continue
        const cost = await costOf(workload(candidate), inFlight)
        const key = `${operation}, ${inFlight} in flight|${candidate.name}`
        // The first round warms up.
        costs.set(key, round === 0 ? [] : [...(costs.get(key) ?? []), cost])
      }
    }
  }
}

const results = [...costs].map(([key, measured]) => {
  const [workload = '', candidate = ''] = key.split('|')
  return {
    workload,
    candidate,
    cpuMicros: spread(measured.map(({ cpuMicros }) => cpuMicros)),
    perSecond: spread(measured.map(({ perSecond }) => perSecond)),
  }
})
const medianOf = (workload: string, candidate: string) =>
  results.find((result) => result.workload === workload && result.candidate === candidate)?.cpuMicros
    .median ?? Number.NaN

for (const workload of new Set(results.map((result) => result.workload))) {
  console.log(`\n${workload}: µs of CPU a call, and calls a second`)
  for (const { candidate, cpuMicros, perSecond } of results.filter(
    (result) => result.workload === workload,
  )) {
    const ratio = medianOf(workload, 'connect-redis') / cpuMicros.median
    console.log(
      `  ${candidate.padEnd(16)} ${cpuMicros.median.toFixed(1).padStart(6)} (${cpuMicros.least.toFixed(1)} to ${cpuMicros.most.toFixed(1)})  ${Math.round(perSecond.median)}/s  connect-redis ÷ it: ${ratio.toFixed(2)}`,
    )
  }
}
const versionOf = (name: string) =>
  (JSON.parse(readFileSync(`node_modules/${name}/package.json`, 'utf8')) as { version: string }).version
const clients = ['iovalkey', 'connect-redis', 'redis'].map((name) => `${name} ${versionOf(name)}`)
const { valkey_version: valkey } = Object.fromEntries(
  (await raw.info('server')).split('\r\n').map((line) => line.split(':')),
) as { readonly valkey_version?: string }
const load = [loadBefore, loadavg()].map(([lastMinute = Number.NaN]) => lastMinute.toFixed(1))
const machine = `${cpus().length} × ${cpus()[0]?.model}, load average ${load.join(' before and ')} after`
const caption = `${machine}; Node ${process.versions.node}, Valkey ${valkey}, ${clients.join(', ')}; ${rounds} rounds of ${calls} calls`

const ratioOf = (operation: string, inFlight: number, candidate: string) => {
  const workload = `${operation}, ${inFlight} in flight`
  return (medianOf(workload, 'connect-redis') / medianOf(workload, candidate)).toFixed(2)
}
console.log(`\n${caption}\n`)
console.log(`| connect-redis ÷ ours | ${IN_FLIGHT.map((inFlight) => `${inFlight} in flight`).join(' | ')} |`)
console.log(`|---|${IN_FLIGHT.map(() => '---|').join('')}`)
for (const operation of Object.keys(workloads))
  for (const mode of ['signed', 'encrypted'])
    console.log(
      `| \`${operation}\`, ${mode} | ${IN_FLIGHT.map((inFlight) => ratioOf(operation, inFlight, `ours ${mode}`)).join(' | ')} |`,
    )

mkdirSync('.cache/bench', { recursive: true })
writeFileSync(OUT, `${JSON.stringify({ caption, rounds, calls, results }, undefined, 2)}\n`)

await Promise.all([signed, encrypted, inProcess].map((store) => store.close()))
await redis.close()
raw.disconnect()
await server.stop()
