/**
 * What watches cost: a process that watches many sessions, and one that hears the endings of all others. Measures what
 * docs/OPERATIONS.md says, and runs only when it is named: `npm run bench -- watches`.
 */
import { setTimeout as delay } from 'node:timers/promises'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { newUser, signIn } from '../registry/requests.ts'
import { SECRET } from '../store/parts-store.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import type { Measurement, Samples } from './result.ts'
import { type Bench, scaled } from './rounds.ts'

const WATCHES = 25_000
const WATCHED_MS = 60_000
const NOTICES = 100_000
const LISTENERS = 20

export async function run(bench: Bench): Promise<Measurement[]> {
  bench.progress.expect(2)
  const server = await startValkey()
  try {
    bench.progress.step('many watches')
    const watched = scaled(WATCHES, bench)
    const watches = await measureWatches(server, watched, scaled(WATCHED_MS, bench))
    bench.progress.step('many endings')
    return [
      { what: `${watched} watched sessions`, candidate: 'ours signed', samples: watches },
      { what: 'a notice', candidate: 'ours signed', samples: await measureNotices(server) },
    ]
  } finally {
    await server.stop()
  }
}

function open(server: ValkeyServer, prefix: string): ValkeyStore {
  return new ValkeyStore({
    connection: { url: server.url },
    secrets: [SECRET],
    prefix,
    onUnsafeServer: 'ignore',
  })
}

async function measureWatches(server: ValkeyServer, watches: number, watchedMs: number): Promise<Samples> {
  const store = open(server, 'watches')
  const sids: string[] = []
  for (let n = 0; n < watches; n += 250)
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
  await delay(watchedMs)
  const { user, system } = process.cpuUsage(before)
  const serverMs = (await serverCpuMs(admin)) - onServer
  isOver = true
  await reading
  admin.disconnect()
  await store.close()
  const percentOfCore = (ms: number) => [Number(((100 * ms) / watchedMs).toFixed(2))]
  return {
    processPercent: percentOfCore((user + system) / 1000),
    serverPercent: percentOfCore(serverMs),
    failedReads: [failed],
    longestReadMs: [Math.round(longestMs)],
  }
}

async function serverCpuMs(admin: ReturnType<ValkeyServer['client']>): Promise<number> {
  const info = await admin.info('cpu')
  const seconds = [...info.matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm)].map(([, value]) => Number(value))
  return 1000 * seconds.reduce((sum, value) => sum + value, 0)
}

async function measureNotices(server: ValkeyServer): Promise<Samples> {
  const store = open(server, 'notices')
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
  for (const client of [...listeners, publishing, admin]) client.disconnect()
  await store.close()
  return { processMicros: [Number(micros.toFixed(1))], serverMicros: [Number(perDelivery.toFixed(3))] }
}
