/** Ten minutes of mixed load on a guarded app, `--minutes` of it: heap, resident memory and handles must stay as they are. */
import { startValkey } from '../support/valkey.ts'
import { startApp, startLoad, type Visits, visitTask } from './app.ts'
import type { LoadReply } from './load-process.ts'
import type { Measurement } from './result.ts'
import type { Bench } from './rounds.ts'

const CLIENTS = 16
const LOOKS = 40

export async function run(bench: Bench): Promise<Measurement[]> {
  const server = await startValkey()
  const admin = server.client()
  const load = await startLoad()
  const app = await startApp('ours guarded', { host: server.host, port: server.port }, CLIENTS)
  const everyMs = (bench.minutes * 60_000) / LOOKS
  bench.progress.expect(LOOKS)
  const looks: Readonly<Record<string, number>>[] = []
  const startMs = performance.now()
  let runs = 0
  try {
    for (let look = 1; look <= LOOKS; look += 1) {
      bench.progress.step(`${bench.minutes} minutes of load`)
      const replies: LoadReply[] = []
      while (performance.now() - startMs < look * everyMs) {
        const visits: Visits = {
          amount: 800,
          clients: CLIENTS,
          route: runs % 8 === 7 ? 'login' : 'mixed 95/5',
        }
        replies.push(await load.ask(visitTask(app, visits)))
        runs += 1
      }
      const { heapBytes, rssBytes, handles } = await app.memory()
      looks.push({
        minute: (performance.now() - startMs) / 60_000,
        requests: 800 * replies.length,
        heapMB: heapBytes / 1e6,
        rssMB: rssBytes / 1e6,
        handles,
        p99Ms: Math.max(0, ...replies.map(({ p99Ms }) => p99Ms)),
        valkeyMB: Number(/used_memory:(\d+)/.exec(await admin.info('memory'))?.[1]) / 1e6,
      })
    }
  } finally {
    await Promise.all([app.stop(), load.stop()])
    await server.stop()
  }
  const metrics = Object.keys(looks[0] ?? {})
  const samples = Object.fromEntries(
    metrics.map((metric) => [
      metric,
      looks.map((look) => Number((look[metric] ?? Number.NaN).toPrecision(4))),
    ]),
  )
  return [{ what: 'mixed load', candidate: 'ours guarded', samples }]
}
