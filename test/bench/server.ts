/**
 * What a request costs Valkey: its time by `INFO commandstats`, with 16 clients; commands, what it replicates, and round
 * trips, of one client that makes one request after the other; and the memory of a session.
 */
import type { SessionData } from 'express-session'
import { ValkeyStore } from 'express-session-valkey'
import type { Redis } from 'iovalkey'
import { generateSession } from '../store/live-session.ts'
import { until } from '../support/until.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { type AppName, type Route, startApps, startLoad, visitTask } from './app.ts'
import { type CandidateName, openCandidate, SECRET } from './candidates.ts'
import { contentOf, newSid } from './content.ts'
import { called, inBatches } from './cost.ts'
import { type Link, startLink } from './link.ts'
import type { Measurement } from './result.ts'
import { type Bench, type Case, inRounds, scaled } from './rounds.ts'

const APPS: readonly AppName[] = ['ours signed', 'ours encrypted', 'connect-redis', 'connect-valkey']
const CLIENTS = 16
const ROUTES: readonly Route[] = ['read-only', 'writing', 'login']

export async function run(bench: Bench): Promise<Measurement[]> {
  return [...(await requestCosts(bench)), ...(await memoryCosts(bench))]
}

/** What the server has done for some work. */
interface ServerWork {
  readonly [metric: string]: number
  /** That clients sent; what a script does is part of it. */
  readonly commands: number
  readonly serverMicros: number
  readonly scriptMicros: number
  readonly replicatedBytes: number
  readonly roundTrips: number
}

async function requestCosts(bench: Bench): Promise<Measurement[]> {
  const requests = scaled(200, bench)
  const server = await startValkey()
  const replica = await startValkey({ args: ['--replicaof', server.host, String(server.port)] })
  const admin = server.client()
  // What a replica is sent anyway would count as a request's.
  await admin.config('SET', 'repl-ping-replica-period', '3600')
  await until(async () => (await admin.info('replication')).includes('state=online'), {
    withinMs: 20_000,
    what: 'the replica is in step',
  })
  const link = await startLink({ host: server.host, port: server.port }, 0)
  const watched: Watched = { server, admin, link }
  const load = await startLoad()
  const apps = await startApps(APPS, link.place, CLIENTS)
  const cases: Case[] = ROUTES.map((route) => ({
    what: `${route} request`,
    trials: apps.map((app) => ({
      candidate: app.name,
      run: () => {
        const visits = (amount: number, clients: number) => () =>
          load.ask(visitTask(app, { route, amount, clients }))
        const run = visits(requests, CLIENTS)
        return workOf(watched, { run, single: { requests: 10, run: visits(10, 1) } })
      },
    })),
  }))
  const many = new ValkeyStore({
    connection: { url: `valkey://${link.place.host}:${link.place.port}` },
    secrets: [SECRET],
    prefix: 'many',
    maxSessionsPerUser: false,
  })
  cases.push({
    what: 'end all of 1,000',
    trials: [
      {
        candidate: 'ours signed',
        run: async () => {
          for (const user of ['ann', 'bob']) await signIns(many, user, 1000)
          const endAll = (user: string) => () => many.registry.endAll(user)
          return workOf(watched, { run: endAll('ann'), single: { requests: 1, run: endAll('bob') } })
        },
      },
    ],
  })
  try {
    return await inRounds(cases, bench)
  } finally {
    await many.close()
    await Promise.all([...apps.map((app) => app.stop()), load.stop(), link.stop()])
    await Promise.all([server.stop(), replica.stop()])
  }
}

interface Watched {
  readonly server: ValkeyServer
  readonly admin: Redis
  readonly link: Link
}

interface Work {
  /** What the server is timed with. */
  readonly run: () => Promise<unknown>
  /** One at a time, and seen by a monitor, which would slow down what is timed. */
  readonly single: { readonly requests: number; readonly run: () => Promise<unknown> }
}

async function workOf({ server, admin, link }: Watched, { run, single }: Work): Promise<ServerWork> {
  await admin.config('RESETSTAT')
  await run()
  const micros = await microsOf(admin)
  const [offset, turns] = [await offsetOf(admin), await link.turns()]
  const sent = await sentBy(server, admin, single.run)
  const [replicatedBytes, roundTrips] = [(await offsetOf(admin)) - offset, (await link.turns()) - turns]
  const sum = (entries: readonly (readonly [string, number])[], of: (name: string) => number) =>
    entries.reduce((total, [name, count]) => total + count * of(name), 0) / single.requests
  const scripts = sent.filter(([name]) => name.startsWith('eval'))
  const timeOf = (name: string) => micros.get(name) ?? 0
  return {
    commands: sum(sent, () => 1),
    serverMicros: sum(sent, timeOf),
    scriptMicros: sum(scripts, timeOf),
    replicatedBytes: replicatedBytes / single.requests,
    roundTrips: roundTrips / single.requests,
  }
}

/** The commands that clients send meanwhile, and how often; not what scripts do. */
async function sentBy(
  server: ValkeyServer,
  admin: Redis,
  run: () => Promise<unknown>,
): Promise<readonly (readonly [name: string, count: number])[]> {
  const sent = new Map<string, number>()
  const monitor = await server.client({ enableReadyCheck: false, retryStrategy: () => null }).monitor()
  monitor.on('monitor', (_time: string, [name = '']: string[], source: string) => {
    const command = name.toLowerCase()
    if (source !== 'lua' && !NOT_COUNTED.has(command)) sent.set(command, (sent.get(command) ?? 0) + 1)
  })
  await run()
  await admin.echo('done')
  await until(() => sent.has('echo'), { what: 'the monitor has seen everything' })
  monitor.disconnect()
  return [...sent].filter(([name]) => name !== 'echo')
}

// What the measurement itself sends, and what each new connection does.
const NOT_COUNTED = new Set(['info', 'config', 'monitor', 'client', 'hello', 'replconf', 'ping', 'select'])

async function offsetOf(admin: Redis): Promise<number> {
  return Number(/master_repl_offset:(\d+)/.exec(await admin.info('replication'))?.[1])
}

/** What one call of each command takes, what it runs in a script included. */
async function microsOf(admin: Redis): Promise<Map<string, number>> {
  const lines = (await admin.info('commandstats')).matchAll(/^cmdstat_([^:]+):.*usec_per_call=([\d.]+)/gm)
  return new Map([...lines].map(([, name = '', micros]) => [name, Number(micros)]))
}

async function signIns(store: ValkeyStore, userId: string, count: number): Promise<void> {
  await inBatches(count, () => {
    const sid = newSid()
    return store.set(sid, generateSession(store, sid, { content: { userId } }))
  })
}

const MEMORY_CASES: readonly (readonly [
  what: string,
  content: (index: number, sessions: number) => object,
])[] = [
  ['of nobody, 560 B', (index) => contentOf(index, 560)],
  ['of nobody, 100 characters', () => ({ note: 'x'.repeat(100) })],
  ['of nobody, 1,000 characters', () => ({ note: 'x'.repeat(1000) })],
  [
    'the only one of its user, 100 characters',
    (index) => ({ userId: `user-${index}`, note: 'x'.repeat(100) }),
  ],
  [
    'one of five of its user, 100 characters',
    (index, sessions) => ({ userId: `user-${index % (sessions / 5)}`, note: 'x'.repeat(100) }),
  ],
]

async function memoryCosts(bench: Bench): Promise<Measurement[]> {
  const sessions = 5 * scaled(2000, bench)
  const candidates: readonly CandidateName[] = ['ours signed', 'ours encrypted', 'connect-redis']
  bench.progress.expect(MEMORY_CASES.length * candidates.length)
  const measurements: Measurement[] = []
  for (const [what, content] of MEMORY_CASES) {
    for (const candidate of candidates) {
      bench.progress.step(`memory ${what}`)
      // On a server of its own: what was there before would leave holes.
      const server = await startValkey()
      const samples = await memoryOf(server, candidate, (index) => content(index, sessions), sessions)
      await server.stop()
      measurements.push({ what: `memory ${what}`, candidate, samples })
    }
  }
  return measurements
}

async function memoryOf(
  server: ValkeyServer,
  candidate: CandidateName,
  contentOf: (index: number) => object,
  sessions: number,
): Promise<Measurement['samples']> {
  const { store, close } = await openCandidate(candidate, server, { prefix: 'sess' })
  const admin = server.client()
  await called((done) => store.get(newSid(), done))
  const usedBytes = async () => Number(/used_memory:(\d+)/.exec(await admin.info('memory'))?.[1])
  const emptyBytes = await usedBytes()
  const perSession = async () => Math.round(((await usedBytes()) - emptyBytes) / sessions)
  const sids = Array.from({ length: sessions }, newSid)
  await inBatches(sessions, (index) => {
    const sid = sids[index] ?? ''
    const content = contentOf(index) as Partial<SessionData>
    const live = generateSession(store, sid, { cookie: { maxAge: 86_400_000 }, content })
    return called((done) => store.set(sid, live, done))
  })
  const storedBytes = await perSession()
  await inBatches(sessions, (index) => called((done) => store.destroy(sids[index] ?? '', done)))
  const endedBytes = await perSession()
  await close()
  return { storedBytes: [storedBytes], endedBytes: [endedBytes] }
}
