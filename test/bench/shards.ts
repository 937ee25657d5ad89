/** One Valkey against a cluster of three primaries: what of the work is shared out, and what the cluster costs the process. */

import { startCluster, startValkey, type ValkeyServer } from '../support/valkey.ts'
import type { Cost } from './cost.ts'
import type { Measurement } from './result.ts'
import { type Bench, type Case, inRounds, scaled } from './rounds.ts'
import type { Operation, StoreTask } from './store-process.ts'
import { Subject } from './subject.ts'

type Store = Subject<StoreTask, Cost>

const OPERATIONS: readonly Operation[] = ['get', 'set', 'touch that is due', 'login at cap']

export async function run(bench: Bench): Promise<Measurement[]> {
  const [server, cluster] = [await startValkey(), await startCluster({ primaries: 3 })]
  const place = { host: server.host, port: server.port }
  const nodes = cluster.primaries.map(({ host, port }) => ({ host, port }))
  const [one, three]: Store[] = [
    await Subject.start('store-process.ts', { candidate: 'ours signed', place }),
    await Subject.start('store-process.ts', { candidate: 'ours signed', place, options: { nodes } }),
  ]
  if (one === undefined || three === undefined) throw new Error('It was started above')
  const cases = OPERATIONS.map((operation): Case => {
    const task = { operation, bytes: 560, inFlight: 64, calls: scaled(4000, bench) }
    return {
      what: operation,
      trials: [
        { candidate: 'one server', run: () => costsOf([server], one, task) },
        { candidate: 'three primaries', run: () => costsOf(cluster.primaries, three, task) },
      ],
    }
  })
  try {
    return await inRounds(cases, bench)
  } finally {
    await Promise.all([one.stop(), three.stop()])
    await Promise.all([server.stop(), cluster.stop()])
  }
}

/** What a call costs the process, what it costs all servers, and how much of the work the one with the most has. */
async function costsOf(servers: readonly ValkeyServer[], store: Store, task: StoreTask) {
  const before = await Promise.all(servers.map(workOf))
  const cost = await store.ask(task)
  const after = await Promise.all(servers.map(workOf))
  const more = after.map(({ commands, cpuMicros }, at) => ({
    commands: commands - (before[at]?.commands ?? Number.NaN),
    cpuMicros: cpuMicros - (before[at]?.cpuMicros ?? Number.NaN),
  }))
  const total = (of: 'commands' | 'cpuMicros') => more.reduce((sum, server) => sum + server[of], 0)
  return {
    ...cost,
    busiestPercent: (100 * Math.max(...more.map(({ commands }) => commands))) / total('commands'),
    allServersMicros: total('cpuMicros') / task.calls,
  }
}

async function workOf(
  server: ValkeyServer,
): Promise<{ readonly commands: number; readonly cpuMicros: number }> {
  const admin = server.client()
  const [cpu, stats] = [await admin.info('cpu'), await admin.info('stats')]
  admin.disconnect()
  const seconds = [...cpu.matchAll(/^used_cpu_(?:sys|user):([\d.]+)/gm)].map(([, value]) => Number(value))
  return {
    commands: Number(/total_commands_processed:(\d+)/.exec(stats)?.[1]),
    cpuMicros: 1e6 * seconds.reduce((sum, value) => sum + value, 0),
  }
}
