import { randomBytes } from 'node:crypto'
import { expect, it, onTestFinished } from 'vitest'
import { ValkeyStore } from '../../lib/index.ts'
import { until } from '../support/until.ts'
import { startValkey } from '../support/valkey.ts'

it('A restored snapshot brings back what has ended since, as docs/ops/backup.md says, until clear()', async () => {
  const server = await startValkey()
  onTestFinished(() => server.stop())
  const store = new ValkeyStore({
    connection: { url: server.url },
    secrets: [randomBytes(32)],
    onUnsafeServer: 'ignore',
    connectTimeoutMs: 5000,
    commandTimeoutMs: 5000,
  })
  onTestFinished(() => store.close())
  const session = { cookie: { originalMaxAge: null }, userId: 'ann' } as never
  await store.set('kept', session)
  await store.set('ended', session)
  await server.client().save()
  await store.registry.endAll('ann')
  const before = [await store.get('kept'), await store.get('ended')]
  // It comes back with what the snapshot has.
  await server.restart()
  await until(async () => (await store.health()).isReady)
  const restored = [await store.get('kept'), await store.get('ended')]
  await store.clear()

  expect(before).toEqual([null, null])
  expect(restored).toMatchObject([{ userId: 'ann' }, { userId: 'ann' }])
  expect([await store.get('kept'), await store.get('ended')]).toEqual([null, null])
})
