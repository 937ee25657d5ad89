import * as ioredis5 from 'ioredis'
import * as ioredis6 from 'ioredis6'
import * as iovalkey from 'iovalkey'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import {
  safeClientOptions,
  safeClusterOptions,
} from '../../../lib/backend/valkey/connection/client-settings.ts'
import { createLabelStore } from '../../../lib/labels/create-label-store.ts'
import { ValkeyStore } from '../../../lib/store/valkey-store.ts'
import { SECRET } from '../../store/parts-store.ts'
import { until } from '../../support/until.ts'
import { startCluster, startValkey, type ValkeyCluster, type ValkeyServer } from '../../support/valkey.ts'
import { newPrefix } from './subjects.ts'

// What a busy machine keeps; a client's own limit on a connection attempt, too.
const TIMING = { connectTimeoutMs: 5000, commandTimeoutMs: 5000 }
const RESTART = { withinMs: 40_000 }
const ANN = { cookie: { originalMaxAge: null }, userId: 'ann' } as never

interface Library {
  Redis: new (options: object) => ValkeyClient
  Cluster: new (nodes: { host: string; port: number }[], options: object) => ValkeyClient
}

const libraries: readonly (readonly [name: string, library: Library])[] = [
  ['iovalkey', iovalkey],
  ['ioredis 5', ioredis5],
  ['ioredis 6', ioredis6],
]

let server: ValkeyServer
let cluster: ValkeyCluster

beforeAll(async () => {
  // What was stored is there again after a restart.
  const args = ['--appendonly', 'yes', '--appendfsync', 'always']
  ;[server, cluster] = await Promise.all([startValkey({ args }), startCluster({ args })])
})

afterAll(async () => {
  await Promise.all([server.stop(), cluster.stop()])
})

const servers = {
  Redis: () => [server],
  Cluster: () => cluster.primaries,
}

type Kind = keyof typeof servers

function openClient(library: Library, kind: Kind, lazyConnect: boolean): ValkeyClient {
  const nodes = servers[kind]().map(({ host, port }) => ({ host, port }))
  const client =
    kind === 'Redis'
      ? new library.Redis({ ...nodes[0], ...safeClientOptions(TIMING), lazyConnect })
      : new library.Cluster(nodes, { ...safeClusterOptions(TIMING), lazyConnect })
  client.on('error', () => {})
  onTestFinished(() => client.disconnect())
  return client
}

function openStore(client: ValkeyClient): ValkeyStore {
  const store = new ValkeyStore({
    client,
    prefix: newPrefix(),
    secrets: [SECRET],
    // Looks at every server, and so sends more than sessions need.
    onUnsafeServer: 'error',
    ...TIMING,
  })
  onTestFinished(() => store.close())
  return store
}

async function expectWorks(store: ValkeyStore): Promise<void> {
  const sids = Array.from({ length: 20 }, (_, index) => `sid-${index}`)
  await Promise.all(sids.map((sid) => store.set(sid, ANN)))
  expect(await Promise.all(sids.map((sid) => store.get(sid)))).toEqual(
    Array(20).fill(expect.objectContaining({ userId: 'ann' })),
  )
  expect(await store.health()).toMatchObject({ isReady: true })
  expect((await store.ids()).length).toBe(20)
  expect(await store.registry.list('ann')).toHaveLength(20)
}

describe.each(libraries)('a client of %s', (_name, library) => {
  describe.each<Kind>(['Redis', 'Cluster'])('%s', (kind) => {
    test.each([
      ['as it connects', false, false],
      ['that is connected already', false, true],
      ['that waits to be asked', true, false],
    ])('serves sessions and labels when it is handed in %s', async (_name, isLazy, isReady) => {
      const client = openClient(library, kind, isLazy)
      if (isReady) await until(() => client.status === 'ready', RESTART)
      const store = openStore(client)
      const labels = createLabelStore({
        kind: 'valkey',
        client,
        prefix: newPrefix(),
        onAlarm: () => {},
        ...TIMING,
      })
      onTestFinished(() => labels.close())

      await until(async () => store.health().then(({ isReady: is }) => is), RESTART)
      await expectWorks(store)
      await labels.add('sid', ['pii'])
      expect((await labels.load('sid')).labels).toEqual(new Set(['pii']))
    })

    test('comes back after all servers were restarted, and loses nothing', async () => {
      const store = openStore(openClient(library, kind, false))
      await until(async () => store.health().then(({ isReady }) => isReady), RESTART)
      await store.set('sid', ANN)

      await Promise.all(servers[kind]().map((one) => one.kill()))
      await Promise.all(servers[kind]().map((one) => one.restart()))

      const loaded = () => store.get('sid').catch(() => undefined)
      expect(await until(loaded, RESTART)).toMatchObject({ userId: 'ann' })
      const enters = () =>
        store.set('next', ANN).then(
          () => true,
          () => false,
        )
      await until(enters, RESTART)
    })
  })
})
