import * as ioredis from 'ioredis'
import * as ioredis6 from 'ioredis6'
import { Cluster, Redis } from 'iovalkey'
import { describe, expect, expectTypeOf, it } from 'vitest'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'

const nodes = [{ host: '127.0.0.1', port: 1 }]

describe('ValkeyClient', () => {
  it('is what the clients of iovalkey and ioredis are, by type and without a cast', () => {
    expectTypeOf<Redis>().toExtend<ValkeyClient>()
    expectTypeOf<Cluster>().toExtend<ValkeyClient>()
    expectTypeOf<ioredis.Redis>().toExtend<ValkeyClient>()
    expectTypeOf<ioredis.Cluster>().toExtend<ValkeyClient>()
    expectTypeOf<ioredis6.Redis>().toExtend<ValkeyClient>()
    expectTypeOf<ioredis6.Cluster>().toExtend<ValkeyClient>()
    expectTypeOf<{ status: string }>().not.toExtend<ValkeyClient>()
  })

  it.each<[string, ValkeyClient]>([
    ['Redis of iovalkey', new Redis({ lazyConnect: true })],
    ['Redis of ioredis', new ioredis.Redis({ lazyConnect: true })],
    ['Redis of ioredis 6', new ioredis6.Redis({ lazyConnect: true })],
    ['Cluster of ioredis 6', new ioredis6.Cluster(nodes, { lazyConnect: true })],
    ['Cluster of iovalkey', new Cluster(nodes, { lazyConnect: true })],
    ['Cluster of ioredis', new ioredis.Cluster(nodes, { lazyConnect: true })],
  ])('is what a %s is at run time', (name, client) => {
    const { status, callBuffer, connect, disconnect, on, off, nodes: nodesOf, refreshSlotsCache } = client

    expect(status).toBe('wait')
    expect([callBuffer, connect, disconnect, on, off].map((method) => typeof method)).toEqual(
      Array(5).fill('function'),
    )
    expect([nodesOf, refreshSlotsCache].every((method) => typeof method === 'function')).toBe(
      name.startsWith('Cluster'),
    )
  })
})
