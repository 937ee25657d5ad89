// Prints the tables of docs/ops/capacity.md, measured on this machine: npm run capacity
import { randomBytes } from 'node:crypto'
import { ValkeyStore } from '../lib/index.ts'
import { type Cost, renderTables } from './capacity-model.ts'
import { generateSession } from './store/live-session.ts'
import { startValkey } from './support/valkey.ts'

const SESSIONS = 20_000
const IN_FLIGHT = 64

const server = await startValkey()
const admin = server.client()
const store = new ValkeyStore({
  connection: { url: server.url },
  secrets: [randomBytes(32)],
  encrypt: true,
  connectTimeoutMs: 10_000,
  commandTimeoutMs: 10_000,
})
const sids = Array.from({ length: SESSIONS }, () => randomBytes(24).toString('base64url'))
const request = { sessionStore: store } as never

const number = (text: string, name: string) => Number(new RegExp(`^${name}:([\\d.]+)`, 'm').exec(text)?.[1])
const usedBytes = async () => number(await admin.info('memory'), 'used_memory')

async function serverSeconds(): Promise<number> {
  const info = await admin.info('cpu')
  return number(info, 'used_cpu_sys') + number(info, 'used_cpu_user')
}

/** The CPU time of one operation, of many that are made side by side. */
async function costOf(work: (sid: string, index: number) => Promise<unknown>): Promise<Cost> {
  const [began, beganServer] = [process.cpuUsage(), await serverSeconds()]
  for (let first = 0; first < SESSIONS; first += IN_FLIGHT)
    await Promise.all(sids.slice(first, first + IN_FLIGHT).map((sid, at) => work(sid, first + at)))
  const { user, system } = process.cpuUsage(began)
  const seconds = (await serverSeconds()) - beganServer
  return {
    processMicros: Math.round((user + system) / SESSIONS),
    serverMicros: Math.round((seconds * 1e6) / SESSIONS),
  }
}

const signIn = (sid: string, index: number) =>
  store.set(
    sid,
    generateSession(store, sid, { content: { userId: `user-${index}`, note: 'x'.repeat(500) } as never }),
  )

async function change(sid: string, index: number): Promise<void> {
  const data = await store.get(sid)
  if (data === null) throw new Error('A session is missing')
  const live = store.createSession(Object.assign(Object.create(request), { sessionID: sid }), data)
  await store.set(sid, Object.assign(live, { changed: index }))
}

const emptyBytes = await usedBytes()
const bytesEach = async () => Math.round(((await usedBytes()) - emptyBytes) / SESSIONS)
const signIns = await costOf(signIn)
await costOf((sid) => store.get(sid))
const read = await costOf((sid) => store.get(sid))
const changes = await costOf(change)
const liveBytes = await bytesEach()
const signOuts = await costOf((sid) => store.destroy(sid))
const endedBytes = await bytesEach()

console.log(
  renderTables({
    costs: { read, change: changes, 'sign-in': signIns, 'sign-out': signOuts },
    liveBytes,
    endedBytes,
  }),
)
await store.close()
await server.stop()
