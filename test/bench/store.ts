// What one get and one set cost the Node process, of each store on the same server in turns: medians, with the least and
// the most of all rounds. Of the built package: tsx names each closure when it is made, which costs more than the closure.
// Run it with: npm run bench -- store [rounds] [calls]
import { randomBytes } from 'node:crypto'
import { mkdirSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { RedisStore } from 'connect-redis'
import type { SessionData } from 'express-session'
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

interface Candidate {
  readonly name: string
  get(sid: string, done: Done): void
  set(sid: string, session: SessionData, done: Done): void
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

const server = await startValkey()
const raw = new Redis({ host: '127.0.0.1', port: server.port })
const redis = await createClient({ url: `redis://127.0.0.1:${server.port}` }).connect()
const ours = (name: string, encrypt: boolean) => {
  const store = new ValkeyStore({
    connection: { url: server.url },
    secrets: ['0123456789abcdef0123456789abcdef'],
    prefix: name.replaceAll(' ', '-'),
    encrypt,
  })
  return { name, store }
}
const settled = (outcome: Promise<unknown>, done: Done) => void outcome.then(() => done(), done)
const owned = [ours('ours signed', false), ours('ours encrypted', true)]
const inProcess = {
  name: 'ours in process',
  store: new InProcessStore({ secrets: ['0123456789abcdef0123456789abcdef'] }),
}
const theirs = { name: 'connect-redis', store: new RedisStore({ client: redis, ttl: TTL }) }

const candidates: readonly Candidate[] = [
  {
    name: 'raw iovalkey',
    get: (sid, done) =>
      settled(
        raw.getBuffer(`raw:${sid}`).then((value) => JSON.parse(String(value))),
        done,
      ),
    set: (sid, session, done) => settled(raw.set(`raw:${sid}`, JSON.stringify(session), 'EX', TTL), done),
  },
  ...[theirs, ...owned, inProcess].map(({ name, store }) => ({
    name,
    get: (sid: string, done: Done) => void store.get(sid, done),
    set: (sid: string, session: SessionData, done: Done) => void store.set(sid, session as never, done),
  })),
]

const contents = sids.map((_, index) => contentOf(index))
const workloads = {
  set: (candidate: Candidate) => (index: number, done: Done) =>
    candidate.set(sidAt(index), contents[index % SESSIONS] ?? contentOf(index), done),
  get: (candidate: Candidate) => (index: number, done: Done) => candidate.get(sidAt(index), done),
}

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
mkdirSync('.cache/bench', { recursive: true })
const machine = { cpu: cpus()[0]?.model, cores: cpus().length, node: process.version }
writeFileSync(OUT, `${JSON.stringify({ machine, rounds, calls, results }, undefined, 2)}\n`)

await Promise.all([...owned, inProcess].map(({ store }) => store.close()))
await redis.close()
raw.disconnect()
await server.stop()
