import { Cluster, Redis } from 'iovalkey'
import { expect, onTestFinished, test } from 'vitest'
import { ValkeyStore } from '../../lib/index.ts'

const secrets = ['a secret that only this test uses, long enough']

test.each([
  ['a client', () => new Redis({ lazyConnect: true, enableAutoPipelining: true })],
  ['a cluster', () => new Cluster([{ port: 1 }], { lazyConnect: true, enableAutoPipelining: true })],
  [
    'the nodes of a cluster',
    () => new Cluster([{ port: 1 }], { lazyConnect: true, redisOptions: { enableAutoPipelining: true } }),
  ],
])('ValkeyStore refuses auto-pipelining of %s, under which iovalkey would end the process', (_, make) => {
  const client = make()
  onTestFinished(() => client.disconnect())

  expect(() => new ValkeyStore({ client, secrets })).toThrow(/"client".*"enableAutoPipelining"/)
})
