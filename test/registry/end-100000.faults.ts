import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { failureOf } from '../store/failure-of.ts'
import { SECRET } from '../store/parts-store.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { newUser, ownerOf, signIn, validOf } from './requests.ts'

const SESSIONS = 100_000
const SIDE_BY_SIDE = 200
const READS_PER_SECOND = 50
const SLOW_MS = 5
const LOGGED = 100_000
const MAX_GROWTH_BYTES = 300 * 2 ** 20

let server: ValkeyServer
let admin: Redis

beforeAll(async () => {
  server = await startValkey()
  admin = server.client()
  await admin.config('SET', 'slowlog-max-len', `${LOGGED}`)
})
afterAll(() => server.stop())

/** What an app uses, with the deadlines that it has by default. */
function open(prefix: string, maxSessionsPerUser: number | false): SessionStore {
  return new ValkeyStore({
    connection: { url: server.url },
    secrets: [SECRET],
    prefix,
    maxSessionsPerUser,
    onUnsafeServer: 'ignore',
  })
}

async function signInAll(store: SessionStore, user: string): Promise<void> {
  for (let done = 0; done < SESSIONS; done += SIDE_BY_SIDE)
    await Promise.all(Array.from({ length: SIDE_BY_SIDE }, () => signIn(store, user)))
}

/** Another user of the same store, who signs in every second and reads 50 times in each, until told to stop. */
function neighbour(store: SessionStore) {
  const seen = { reads: 0, signIns: 0, failures: [] as unknown[], slowestMs: 0, peakBytes: 0 }
  const user = newUser()
  const underWay = new Set<Promise<void>>()
  let sid: string | undefined
  const timed = (work: () => Promise<unknown>) => {
    const startMs = performance.now()
    const call = work().then(
      () => {},
      (error: unknown) => void seen.failures.push(error),
    )
    const settled = call.then(() => {
      seen.slowestMs = Math.max(seen.slowestMs, performance.now() - startMs)
      underWay.delete(settled)
    })
    underWay.add(settled)
  }
  const signInAnew = async () => {
    const next = await signIn(store, user)
    sid = next
    seen.signIns += 1
  }
  const read = async (id: string) => {
    if ((await validOf(store, [id])).length === 0) throw new Error('A session was not found')
    seen.reads += 1
  }
  const timers = [
    setInterval(() => timed(signInAnew), 1000),
    setInterval(() => {
      const id = sid
      if (id !== undefined) timed(() => read(id))
      seen.peakBytes = Math.max(seen.peakBytes, process.memoryUsage().rss)
    }, 1000 / READS_PER_SECOND),
  ]
  timed(signInAnew)
  const stop = async () => {
    for (const timer of timers) clearInterval(timer)
    await Promise.all(underWay)
    return seen
  }
  return { stop }
}

interface Script {
  readonly slowestMs: number
  /** 9 of 10 runs were faster: what a busy machine adds to some of them does not show here. */
  readonly usualMs: number
}

// One run of a script may be one that waited for a processor that somebody else has.
const FEWEST_RUNS = 20

/** The scripts that ran often lately. */
async function scripts(): Promise<Script[]> {
  const entries = (await admin.slowlog('GET', LOGGED)) as [number, number, number, string[]][]
  const bySource = new Map<string, number[]>()
  for (const [, , micros, [name = '', source = '']] of entries) {
    if (!/^evalsha$/i.test(name)) continue
    const times = bySource.get(source)
    if (times) times.push(micros)
    else bySource.set(source, [micros])
  }
  const often = [...bySource.values()].filter((times) => times.length >= FEWEST_RUNS)
  return often.map((times) => {
    times.sort((a, b) => a - b)
    return {
      slowestMs: (times.at(-1) ?? 0) / 1000,
      usualMs: (times[Math.floor(times.length * 0.9)] ?? 0) / 1000,
    }
  })
}

async function watchScripts(): Promise<void> {
  await admin.config('SET', 'slowlog-log-slower-than', '0')
  await admin.slowlog('RESET')
}

/** What came of it, in a line; fails if others noticed, memory grew or a script usually takes long. */
async function checkEnd(
  what: string,
  seen: Awaited<ReturnType<ReturnType<typeof neighbour>['stop']>>,
  before: number,
): Promise<void> {
  const ran = await scripts()
  await admin.config('SET', 'slowlog-log-slower-than', '-1')
  const most = (times: number[]) => Math.max(0, ...times)
  console.log(
    `${what}; beside it ${seen.signIns} sign-ins and ${seen.reads} reads, ${seen.failures.length} failures, slowest ${Math.round(seen.slowestMs)} ms;`,
    `slowest script ${most(ran.map(({ slowestMs }) => slowestMs))} ms, 9 of 10 under ${most(ran.map(({ usualMs }) => usualMs))} ms;`,
    `resident memory +${Math.round((seen.peakBytes - before) / 2 ** 20)} MiB at most`,
  )
  expect(seen.failures).toEqual([])
  expect(seen.peakBytes - before).toBeLessThan(MAX_GROWTH_BYTES)
  expect(most(ran.map(({ usualMs }) => usualMs))).toBeLessThan(SLOW_MS)
}

test(`another user notices nothing while ${SESSIONS} sessions are ended, and no script takes long`, async () => {
  const store = open('planted', false)
  const user = newUser()
  await signInAll(store, user)
  expect(await store.registry.count(user)).toBe(SESSIONS)
  await watchScripts()
  const [before, startMs] = [process.memoryUsage().rss, performance.now()]
  const other = neighbour(store)

  // A call gives up after a minute, and the next goes on.
  let calls = 1
  while ((await failureOf(store.registry.endAll(user))) !== undefined) calls += 1
  const tookMs = performance.now() - startMs
  const seen = await other.stop()
  await checkEnd(`${SESSIONS} sessions ended by ${calls} calls in ${Math.round(tookMs)} ms`, seen, before)
  expect(await store.registry.count(user)).toBe(0)
  await store.close()
})

const planting = `for at = tonumber(ARGV[1]), tonumber(ARGV[2]) do
  local name = string.format('%043d', at)
  redis.call('ZADD', KEYS[1], ARGV[3], name)
  redis.call('ZADD', KEYS[2], ARGV[3], name)
end`

test.each([
  ['members', 'o', 9_999_999_999_999],
  ['members that have expired', 'o', 1],
  ['pending handles', 'p', 9_999_999_999_999],
  ['members that were not taken', 'u', 5],
  ['departed handles', 'd', 9_999_999_999_999],
])(
  `another user notices nothing of ${SESSIONS} planted %s, and no script takes long`,
  async (what, letter, score) => {
    const prefix = `planted-${letter}-${score}`
    const store = open(prefix, 100)
    const user = newUser()
    await signIn(store, user)
    const keys = createKeys(prefix).registry(ownerOf(user))
    const planted = keys.filter(
      (key) => key.startsWith(`${prefix}:${letter}:`) || key.startsWith(`${prefix}:x:`),
    )
    for (let at = 1; at <= SESSIONS; at += 10_000)
      await admin.eval(planting, 2, ...planted, at, at + 9999, score)
    await watchScripts()
    const before = process.memoryUsage().rss
    const other = neighbour(store)

    const { registry } = store
    // Which of them come to an end in time is not the question.
    const outcomes = await Promise.allSettled([
      registry.list(user, { includeEnded: true }),
      registry.count(user),
      signIn(store, user),
      registry.endAll(user),
    ])
    const seen = await other.stop()
    const came = outcomes.map(({ status }) => status).join(', ')
    // What has expired keeps nobody out.
    if (score === 1) expect(outcomes.map(({ status }) => status)).toEqual(Array(4).fill('fulfilled'))
    await checkEnd(`${SESSIONS} planted ${what}: list, count, sign-in and end of all ${came}`, seen, before)
    await store.close()
  },
)
