// A store with many sessions, in a process of its own. Started by growth.ts.
import { setTimeout as delay } from 'node:timers/promises'
import { ValkeyStore } from 'express-session-valkey'
import { Redis } from 'iovalkey'
import { generateSession } from '../store/live-session.ts'
import type { Place } from './candidates.ts'
import { SECRET } from './candidates.ts'
import { COOKIE, newSid, sessionOf } from './content.ts'
import { called, costOf, inBatches } from './cost.ts'
import { FloorStore } from './floor.ts'
import { serve, startedWith } from './subject.ts'

export type GrowthTask =
  /** Stores so many more sessions of nobody. */
  | { readonly kind: 'fill'; readonly count: number }
  /** Signs a user in so many times. */
  | { readonly kind: 'sign in'; readonly user: string; readonly count: number }
  | { readonly kind: UserCall; readonly user: string; readonly calls: number }
  | { readonly kind: WalkCall }

/** What is asked of one user's sessions. */
export type UserCall = 'login' | 'list' | 'count' | 'end all'
/** What visits every session. */
export type WalkCall = 'length' | 'all' | 'all, iterated'

const { place, prefix } = startedWith<{ readonly place: Place; readonly prefix: string }>()
const store = new ValkeyStore({
  connection: { url: `valkey://${place.host}:${place.port}` },
  secrets: [SECRET],
  prefix,
  maxSessionsPerUser: false,
  connectTimeoutMs: 60_000,
  commandTimeoutMs: 60_000,
})
const client = new Redis({ host: place.host, port: place.port })
await client.ping()
// Not in every version of the store.
const iterated = (store as { each?: () => AsyncIterable<unknown> }).each?.bind(store)
const floor = new FloorStore(client, {
  secret: SECRET,
  prefix,
  encrypt: false,
})

serve<GrowthTask>(async (task) => {
  switch (task.kind) {
    case 'fill':
      // The same bytes as the store writes, in a fraction of its time.
      return inBatches(task.count, (index) =>
        called((done) => floor.set(newSid(), sessionOf(index, 560), done)),
      )
    case 'sign in':
      return inBatches(task.count, () => signIn(task.user))
    case 'length':
    case 'all':
      return walk(task.kind)
    case 'all, iterated':
      return iterated === undefined ? undefined : walk(task.kind)
    default: {
      const { kind, user, calls } = task
      return costOf((_index, done) => void call(kind, user).then(() => done(), done), { calls, inFlight: 1 })
    }
  }
})

function call(kind: UserCall, user: string): Promise<unknown> {
  switch (kind) {
    case 'login':
      return signIn(user)
    case 'list':
      return store.registry.list(user)
    case 'count':
      return store.registry.count(user)
    case 'end all':
      return store.registry.endAll(user)
  }
}

function signIn(userId: string): Promise<void> {
  const sid = newSid()
  return store.set(
    sid,
    generateSession(store, sid, { cookie: COOKIE, content: { userId, note: 'x'.repeat(100) } }),
  )
}

/** Visits every session; how long it takes, and how much more memory the process has meanwhile at the most. */
async function walk(kind: WalkCall): Promise<Readonly<Record<string, number>>> {
  global.gc?.()
  await delay(50)
  const before = process.memoryUsage()
  let mostHeap = before.heapUsed
  let mostRss = before.rss
  const look = setInterval(() => {
    const { heapUsed, rss } = process.memoryUsage()
    mostHeap = Math.max(mostHeap, heapUsed)
    mostRss = Math.max(mostRss, rss)
  }, 5)
  const startMs = performance.now()
  const cpu = process.cpuUsage()
  const sessions = await visited(kind)
  const { user, system } = process.cpuUsage(cpu)
  const tookMs = performance.now() - startMs
  clearInterval(look)
  return {
    sessions,
    tookMs,
    cpuMicros: (user + system) / Math.max(1, sessions),
    heapMB: (mostHeap - before.heapUsed) / 1e6,
    rssMB: (mostRss - before.rss) / 1e6,
  }
}

async function visited(kind: WalkCall): Promise<number> {
  if (kind === 'length') return store.length()
  if (kind === 'all') return (await store.all()).length
  let sessions = 0
  for await (const _session of iterated?.() ?? []) sessions += 1
  return sessions
}
