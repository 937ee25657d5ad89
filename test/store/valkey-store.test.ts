import { Cluster, Redis } from 'iovalkey'
import { expect, onTestFinished, test } from 'vitest'
import { createLabelStore, safeClientOptions, ValkeyStore, type ValkeyStoreOptions } from '../../lib/index.ts'

const secrets = ['a secret that only this test uses, long enough']

function opened<Client extends Redis | Cluster>(client: Client): Client {
  onTestFinished(() => client.disconnect())
  return client
}

test('ValkeyStore refuses a client with the full list of what its settings break', () => {
  const client = opened(new Redis({ lazyConnect: true, enableAutoPipelining: true }))

  expect(() => new ValkeyStore({ client, secrets })).toThrow(
    /^Option "client" has settings that break .*safeClientOptions\(\).*"unsafeClientSettings":\n- "enableAutoPipelining" must be false: .*\n- "enableOfflineQueue" must be false: .*\n- "socketTimeout" .*\n- "maxRetriesPerRequest" .*\n- "reconnectOnError" /,
  )
  expect(() => createLabelStore({ kind: 'valkey', client })).toThrow(/"enableOfflineQueue" must be false/)
})

test('ValkeyStore accepts settings that are named in unsafeClientSettings, and no others', () => {
  const open = (unsafeClientSettings: ValkeyStoreOptions['unsafeClientSettings']) =>
    new ValkeyStore({
      client: opened(new Redis({ lazyConnect: true })),
      secrets,
      unsafeClientSettings,
    })

  expect(() => open(['enableOfflineQueue', 'maxRetriesPerRequest', 'reconnectOnError'])).toThrow(
    /:\n- "socketTimeout" must be[^\n]*$/,
  )
  expect(
    open(['enableOfflineQueue', 'maxRetriesPerRequest', 'reconnectOnError', 'socketTimeout']),
  ).toBeInstanceOf(ValkeyStore)
})

test('ValkeyStore refuses auto-pipelining of the nodes of a cluster, under which iovalkey would end the process', () => {
  const client = opened(
    new Cluster([{ port: 1 }], { lazyConnect: true, redisOptions: { enableAutoPipelining: true } }),
  )

  expect(() => new ValkeyStore({ client, secrets })).toThrow(/"enableAutoPipelining" must be false/)
})

test('ValkeyStore takes a client with the settings that are offered', async () => {
  const client = opened(new Redis({ ...safeClientOptions(), lazyConnect: true, host: '127.0.0.1', port: 1 }))
  const store = new ValkeyStore({ client, secrets })

  expect(await store.health()).toMatchObject({ isReady: false })
})
