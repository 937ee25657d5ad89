import { randomBytes } from 'node:crypto'
import { afterAll, describe, expect, it } from 'vitest'
import { ValkeyStore } from '../../lib/index.ts'
import { startCluster, startSentinels } from '../support/valkey.ts'
import { jsonOf, runCli } from './cli.ts'
import { fill } from './keyspace.ts'

const [OLD, NEW] = [randomBytes(32).toString('hex'), randomBytes(32).toString('hex')]
const COUNT = 300
// Time limits that a busy machine keeps.
const PATIENT = { connectTimeoutMs: 10_000, commandTimeoutMs: 10_000 }

const cleanups: (() => Promise<unknown>)[] = []
afterAll(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
})

const joined = (addresses: readonly { readonly host: string; readonly port: number }[]) =>
  addresses.map(({ host, port }) => `${host}:${port}`).join(',')

async function everyCommand(place: readonly string[], store: ValkeyStore): Promise<void> {
  const [sid = ''] = await fill(store, COUNT)
  const handle = store.handle(sid)
  const env = { SESSION_KEYS: `${NEW},${OLD}` }
  const doctor = await runCli(['doctor', ...place], env)

  expect(doctor.stdout).not.toMatch(/^error/m)
  expect(await jsonOf(['sessions', 'count', ...place], env)).toEqual({ sessions: COUNT, isWhole: true })
  expect(await jsonOf(['stats', ...place], env)).toMatchObject({ sessions: COUNT, unopened: 0 })
  expect(await jsonOf(['rewrap', ...place], env)).toMatchObject({ rewrapped: COUNT })
  expect(await jsonOf(['rewrap', ...place], env)).toMatchObject({ current: COUNT })
  expect(await jsonOf(['inspect', handle, ...place], env)).toMatchObject({ state: 'active' })
  expect(await jsonOf(['sessions', 'list', '--user', 'user-0', ...place], env)).toMatchObject({
    sessions: [{ handle }],
  })
  expect(await jsonOf(['sessions', 'end-all', '--user', 'user-0', ...place], env)).toEqual({
    ended: [handle],
  })
}

describe('The commands work', () => {
  it('on a cluster', { timeout: 180_000 }, async () => {
    const cluster = await startCluster()
    cleanups.push(() => cluster.stop())
    const store = new ValkeyStore({
      connection: { nodes: cluster.nodes.map(({ host, port }) => ({ host, port })) },
      secrets: [OLD],
      ...PATIENT,
    })
    cleanups.push(() => store.close())

    await everyCommand(['--nodes', joined(cluster.nodes)], store)
  })

  it('with sentinels', { timeout: 180_000 }, async () => {
    const sentinels = await startSentinels()
    cleanups.push(() => sentinels.stop())
    const connection = { sentinels: sentinels.addresses, sentinelName: sentinels.name }
    const store = new ValkeyStore({ connection, secrets: [OLD], ...PATIENT })
    cleanups.push(() => store.close())

    await everyCommand(['--sentinels', joined(sentinels.addresses), '--sentinel-name', sentinels.name], store)
  })
})
