/**
 * The same requests as http, where each round trip to Valkey takes a millisecond more, as it does to another machine. With
 * one client a response takes what its round trips take; with 16 the CPU counts again.
 */
import { startValkey } from '../support/valkey.ts'
import { type AppName, startApps, startLoad, visit } from './app.ts'
import { startLink } from './link.ts'
import type { Measurement } from './result.ts'
import { type Bench, inRounds, scaled } from './rounds.ts'

const APPS: readonly AppName[] = [
  'ours signed',
  'ours encrypted',
  'ours guarded',
  'connect-redis',
  'connect-valkey',
]
const DELAY_MS = 1
const CLIENTS = 16

export async function run(bench: Bench): Promise<Measurement[]> {
  const server = await startValkey()
  const link = await startLink({ host: server.host, port: server.port }, DELAY_MS)
  const load = await startLoad()
  const apps = await startApps(APPS, link.place, CLIENTS)
  try {
    const roundTrip = {
      what: 'a bare round trip',
      trials: [{ candidate: 'PING', run: async () => ({ p50Ms: await link.roundTripMs() }) }],
    }
    const cases = (['read-only', 'writing', 'login'] as const).flatMap((route) =>
      [1, CLIENTS].map((clients) => ({
        what: `${route}, ${clients} ${clients === 1 ? 'client' : 'clients'}`,
        trials: apps.map((app) =>
          visit(app, load, {
            route,
            clients,
            amount: scaled(clients === 1 ? 200 : 1600, bench),
          }),
        ),
      })),
    )
    return await inRounds([roundTrip, ...cases], bench)
  } finally {
    await Promise.all([...apps.map((app) => app.stop()), load.stop(), link.stop()])
    await server.stop()
  }
}
