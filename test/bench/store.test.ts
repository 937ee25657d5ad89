// Only that the benchmark runs: what it measures is no matter of tests.
import { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ValkeyStore } from '../../lib/index.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { sessionOf } from './content.ts'
import { called } from './cost.ts'
import { FloorStore } from './floor.ts'
import { Progress } from './progress.ts'
import { storeCase } from './result.ts'
import { run } from './store.ts'

describe('The benchmark of the store', () => {
  it('measures each call of each candidate, once a round', async () => {
    const bench = { scale: 1, rounds: 2, minutes: 0, sessions: 0, progress: new Progress() }
    const candidates = ['ours signed', 'ours in process'] as const
    const operations = ['get', 'set', 'login at cap'] as const
    const measured = await run(bench, {
      candidates,
      operations,
      settings: [{ bytes: 560, inFlight: 8 }],
      calls: 20,
    })

    expect(measured.map(({ what, candidate }) => [what, candidate])).toEqual(
      operations.flatMap((operation) =>
        candidates.map((candidate) => [storeCase(operation, 560, 8), candidate]),
      ),
    )
    for (const { samples } of measured) expect(samples['cpuMicros']).toHaveLength(2)
  })
})

describe('The floor program', () => {
  let server: ValkeyServer
  let client: Redis
  const secret = 'of the floor, and at least 32 bytes long'

  beforeAll(async () => {
    server = await startValkey()
    client = new Redis({ host: server.host, port: server.port })
    await client.ping()
  })
  afterAll(async () => {
    client.disconnect()
    await server.stop()
  })

  it('keeps the bytes that the store keeps: each reads what the other wrote', async () => {
    const floor = new FloorStore(client, { secret, prefix: 'sess', encrypt: false })
    const store = new ValkeyStore({ connection: { url: server.url }, secrets: [secret] })
    const kept = (index: number) => expect.objectContaining({ userName: `user-${index}`, visits: 100_000 })

    await called((done) => floor.set('written-by-the-floor', sessionOf(1, 560), done))
    await store.set('written-by-the-store', sessionOf(2, 560))

    await expect(store.get('written-by-the-floor')).resolves.toEqual(kept(1))
    await expect(
      new Promise((read) => floor.get('written-by-the-store', (_, data) => read(data))),
    ).resolves.toEqual(kept(2))
    await store.close()
  })
})
