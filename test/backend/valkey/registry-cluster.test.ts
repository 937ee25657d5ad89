import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { startCluster, type ValkeyCluster } from '../../support/valkey.ts'
import { newOwner } from '../registry/subject.ts'
import { registryContract } from '../registry-contract.ts'
import { openRegistry } from './registry-subjects.ts'
import { openLeastClient, openReadyClient } from './subjects.ts'

let cluster: ValkeyCluster
let client: ValkeyClient
let least: ValkeyClient

beforeAll(async () => {
  cluster = await startCluster()
  client = await openReadyClient({ nodes: cluster.nodes.map(({ host, port }) => ({ host, port })) })
  least = await openLeastClient(cluster)
})

afterAll(async () => {
  client.disconnect()
  least.disconnect()
  await cluster.stop()
})

registryContract('on a cluster of three primaries with the least rights', async () =>
  openRegistry(least, client),
)

describe('the keys of a registry on a cluster', () => {
  it('share a slot per owner, and owners are spread over the slots', async () => {
    const { keysOf } = openRegistry(client)
    const slots = Array.from({ length: 500 }, async () => {
      const ofOwner = await Promise.all(
        keysOf(newOwner()).map((key) => client.callBuffer('cluster', 'keyslot', key)),
      )
      expect(new Set(ofOwner).size).toBe(1)
      return ofOwner[0]
    })

    expect(new Set(await Promise.all(slots)).size).toBeGreaterThanOrEqual(300)
  })
})
