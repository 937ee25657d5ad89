import { safeClientOptions, safeClusterOptions, ValkeyStore } from 'express-session-valkey'
import * as ioredis5 from 'ioredis'
import * as ioredis6 from 'ioredis6'
import * as iovalkey from 'iovalkey'

const url = 'valkey://127.0.0.1:1'
const nodes = [{ host: '127.0.0.1', port: 1 }]
const secrets = ['a secret of at least 32 bytes, for tests']

/** Every client, made with our settings and handed in, compiles without a cast. */
export function storesOnEveryClient(): readonly ValkeyStore[] {
  const clients = [
    new iovalkey.Redis(url, safeClientOptions()),
    new ioredis5.Redis(url, safeClientOptions()),
    new ioredis6.Redis(url, safeClientOptions()),
    new iovalkey.Redis({ host: '127.0.0.1', ...safeClientOptions({ commandTimeoutMs: 100 }) }),
    new ioredis5.Redis({ host: '127.0.0.1', ...safeClientOptions(), lazyConnect: true }),
    new ioredis6.Redis({ host: '127.0.0.1', ...safeClientOptions(), lazyConnect: true }),
  ]
  const clusters = [
    new iovalkey.Cluster(nodes, safeClusterOptions()),
    new ioredis5.Cluster(nodes, safeClusterOptions()),
    new ioredis6.Cluster(nodes, safeClusterOptions()),
    new ioredis5.Cluster(nodes, withPassword(safeClusterOptions())),
    new ioredis6.Cluster(nodes, withPassword(safeClusterOptions())),
  ]
  return [
    ...clients.map((client) => new ValkeyStore({ client, secrets })),
    ...clusters.map((client) => new ValkeyStore({ client, secrets })),
  ]
}

function withPassword<Options extends { redisOptions: object }>(options: Options) {
  return { ...options, redisOptions: { ...options.redisOptions, password: 'only-for-this-test' } }
}
