import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startCluster, type ValkeyCluster } from '../support/valkey.ts'
import { newSid, type Observed, openValkey } from './subjects.ts'

let cluster: ValkeyCluster
let watched: Observed

beforeAll(async () => {
  cluster = await startCluster()
  watched = openValkey('', {
    connection: { nodes: cluster.primaries.map(({ host, port }) => ({ host, port })) },
  })
})

afterAll(async () => {
  await watched?.store.close()
  await cluster?.stop()
})

describe('on a cluster', () => {
  it('labels are added, loaded and declassified, whatever node they are on', async () => {
    const { store, codes } = watched
    const sids = Array.from({ length: 60 }, newSid)

    for (const sid of sids)
      expect(await store.add(sid, ['pii', 'secret'], { atLeastMs: 60_000 })).toHaveProperty('size', 2)
    for (const sid of sids)
      await store.declassify({ sid, labels: ['pii'], actor: { type: 'test' }, reason: 'test' })
    const loaded = await Promise.all(sids.map((sid) => store.load(sid, { remembered: ['pii', 'secret'] })))

    expect(loaded.map(({ labels }) => [...labels])).toEqual(sids.map(() => ['secret']))
    expect(codes()).toEqual([])
  })

  it('check() looks at every primary', async () => {
    const [one] = cluster.primaries.slice(-1)
    const admin = one?.client()
    await admin?.config('SET', 'maxmemory-policy', 'allkeys-lru')

    expect(await watched.store.check()).toMatchObject([{ code: 'eviction-policy' }])
  })
})
