/**
 * What a whole request costs: an Express 5 app with each store, in a process of its own, and 16 clients that keep their
 * connections, in another. CPU is that of the app's process. Each client has a session of its own, but where one is shared.
 */
import { startValkey } from '../support/valkey.ts'
import { type AppName, type Route, startApps, startLoad, visit } from './app.ts'
import type { Measurement } from './result.ts'
import { type Bench, inRounds, scaled } from './rounds.ts'

export const APPS: readonly AppName[] = [
  'ours signed',
  'ours encrypted',
  'ours guarded',
  'ours in process',
  'connect-redis',
  'connect-valkey',
  'MemoryStore',
  'floor signed',
]
const CLIENTS = 16

const CASES: readonly (readonly [what: string, route: Route, isShared: boolean])[] = [
  ['read-only', 'read-only', false],
  ['writing', 'writing', false],
  ['login', 'login', false],
  ['mixed 95/5', 'mixed 95/5', false],
  ['read-only, one session', 'read-only', true],
  ['writing, one session', 'writing', true],
]

export async function run(bench: Bench): Promise<Measurement[]> {
  const amount = scaled(1600, bench)
  const server = await startValkey()
  const load = await startLoad()
  const apps = await startApps(APPS, { host: server.host, port: server.port }, CLIENTS)
  try {
    const cases = CASES.map(([what, route, isShared]) => ({
      what,
      trials: apps
        // It refuses a save that meets another one, and merges nothing.
        .filter(({ name }) => !(what === 'writing, one session' && name.startsWith('floor')))
        .filter(({ name }) => !(route === 'login' && name.startsWith('floor')))
        .map((app) => visit(app, load, { route, isShared, amount, clients: CLIENTS })),
    }))
    return await inRounds(cases, bench)
  } finally {
    await Promise.all([...apps.map((app) => app.stop()), load.stop()])
    await server.stop()
  }
}
