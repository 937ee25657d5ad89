/**
 * What watches cost: a process that watches many sessions, and one that hears the endings of all others. Prints what
 * docs/OPERATIONS.md says. Run with `npx tsx test/bench/watches.ts`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { newUser, signIn } from '../registry/requests.ts'
import { SECRET } from '../store/parts-store.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'

const WATCHES = 25_000
const WATCHED_MS = 60_000
const NOTICES = 100_000
const LISTENERS = 20

const server = await startValkey()
try {
  await measureWatches(server)
  await measureNotices(server)
} finally {
  await server.stop()
}

function open(prefix: string): ValkeyStore {
  return new ValkeyStore({
    connection: { url: server.url },
    secrets: [SECRET],
    prefix,
    onUnsafeServer: 'ignore',
  })
}

async function measureWatches(server: ValkeyServer): Promise<void> {
  const store = open('watches')
  const sids: string[] = []
  for (let n = 0; n < WATCHES; n += 250)
    sids.push(...(await Promise.all(Array.from({ length: 250 }, () => signIn(store, newUser())))))
  for (const sid of sids) store.registry.watch({ sid })
  await delay(5000)
  const admin = server.client()
  let failed = 0
  let longestMs = 0
  let isOver = false
  const reading = (async () => {
    for (let n = 0; !isOver; n += 1) {
      const startMs = performance.now()
      await store.get(sids[n % sids.length] ?? '').catch(() => {
        failed += 1
      })
      longestMs = Math.max(longestMs, performance.now() - startMs)
      await delay(20)
    }
  })()
  const [before, onServer] = [process.cpuUsage(), await serverCpuMs(admin)]
  await delay(WATCHED_MS)
  const { user, system } = process.cpuUsage(before)
  const serverMs = (await serverCpuMs(admin)) - onServer
  isOver = true
  await reading
  const share = (ms: number) => `${((100 * ms) / WATCHED_MS).toFixed(1)} % of a core`
  console.log(
    `${WATCHES} watched sessions: ${share((user + system) / 1000)} here, ${share(serverMs)} on the server`,
  )
  console.log(`50 reads a second beside them: ${failed} failed, the longest took ${longestMs.toFixed(0)} ms`)
  admin.disconnect()
  await store.close()
}

async function serverCpuMs(admin: ReturnType<ValkeyServer['client']>): Promise<number> {
  const info = await admin.info('cpu')
  const seconds = [...info.matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm)].map(([, value]) => Number(value))
  return 1000 * seconds.reduce((sum, value) => sum + value, 0)
}

async function measureNotices(server: ValkeyServer): Promise<void> {
  const store = open('notices')
  await store.health()
  store.registry.watch({ sid: 'nobody' }).ended.catch(() => {})
  store.registry.watch({ userId: 'nobody' })
  const { notices } = createKeys('notices')
  const admin = server.client()
  while (Number((await admin.pubsub('NUMSUB', notices)).at(1)) < 1) await delay(20)
  const message = `${'a'.repeat(43)} ${'b'.repeat(43)}`
  const before = process.cpuUsage()
  const publishing = server.client()
  for (let sent = 0; sent < NOTICES; sent += 1000) {
    const batch = publishing.pipeline()
    for (let n = 0; n < 1000; n += 1) batch.publish(notices, message)
    await batch.exec()
  }
  const both = process.cpuUsage(before)
  const started = process.cpuUsage()
  for (let sent = 0; sent < NOTICES; sent += 1000) {
    const batch = publishing.pipeline()
    for (let n = 0; n < 1000; n += 1) batch.publish('nobody-listens', message)
    await batch.exec()
  }
  const alone = process.cpuUsage(started)
  const micros = (both.user + both.system - alone.user - alone.system) / NOTICES
  console.log(`A notice costs the process that hears it ${micros.toFixed(1)} µs`)

  const listeners = Array.from({ length: LISTENERS }, () => server.client())
  for (const listener of listeners) await listener.subscribe('fan-out')
  const cost = async (channel: string) => {
    const startMs = await serverCpuMs(admin)
    for (let sent = 0; sent < NOTICES / 10; sent += 1000) {
      const batch = publishing.pipeline()
      for (let n = 0; n < 1000; n += 1) batch.publish(channel, message)
      await batch.exec()
    }
    return (await serverCpuMs(admin)) - startMs
  }
  const [fanned, silent] = [await cost('fan-out'), await cost('nobody-listens')]
  const perDelivery = (1000 * (fanned - silent)) / (NOTICES / 10) / LISTENERS
  console.log(`A notice costs the server ${perDelivery.toFixed(2)} µs for each process that hears it`)
  for (const client of [...listeners, publishing, admin]) client.disconnect()
  await store.close()
}
