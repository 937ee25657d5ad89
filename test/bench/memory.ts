// How much memory of Valkey a session takes, living and ended. Run it with: npx tsx test/bench/memory.ts
import { randomBytes } from 'node:crypto'
import type { SessionData } from 'express-session'
import { ValkeyStore } from '../../lib/index.ts'
import { generateSession } from '../store/live-session.ts'
import { startValkey } from '../support/valkey.ts'

const SESSIONS = 20_000
const BATCH = 200
const SECRET = randomBytes(32)

async function inBatches(work: (index: number) => Promise<unknown>): Promise<void> {
  for (let first = 0; first < SESSIONS; first += BATCH) {
    await Promise.all(Array.from({ length: BATCH }, (_, at) => work(first + at)))
  }
}

/** On a server of its own: what was there before would leave holes. */
async function measure(what: string, contentOf: (index: number) => object): Promise<void> {
  const server = await startValkey()
  const admin = server.client()
  const usedBytes = async () => Number(/used_memory:(\d+)/.exec(await admin.info('memory'))?.[1])
  const store = new ValkeyStore({
    connection: { url: server.url },
    secrets: [SECRET],
    connectTimeoutMs: 10_000,
    commandTimeoutMs: 10_000,
  })
  const emptyBytes = await usedBytes()
  const perSession = async () => Math.round(((await usedBytes()) - emptyBytes) / SESSIONS)
  const sids = Array.from({ length: SESSIONS }, () => randomBytes(24).toString('base64url'))

  await inBatches((index) => {
    const sid = sids[index] ?? ''
    return store.set(sid, generateSession(store, sid, { content: contentOf(index) as Partial<SessionData> }))
  })
  const living = await perSession()
  await inBatches((index) => store.destroy(sids[index] ?? ''))
  console.log(`${what}: ${living} bytes while it lives, ${await perSession()} once it has ended`)
  await store.close()
  await server.stop()
}

const note = (length: number) => 'x'.repeat(length)
await measure('of nobody, 100 characters', () => ({ note: note(100) }))
await measure('of nobody, 1,000 characters', () => ({ note: note(1000) }))
await measure('the only one of its user, 100 characters', (index) => ({
  userId: `user-${index}`,
  note: note(100),
}))
await measure('one of five of its user, 100 characters', (index) => ({
  userId: `user-${index % (SESSIONS / 5)}`,
  note: note(100),
}))
