import { inspect } from 'node:util'
import type { Redis } from 'iovalkey'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import type { ValkeyStoreOptions } from '../../lib/store/valkey-store.ts'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import type { FaultLane } from './fault-kind.ts'
import type { PlantedSecret } from './planted-secret.ts'
import { proxyFaults } from './proxy-faults.ts'
import { serverFaults } from './server-faults.ts'
import type { NamedStore, StoreUnderTest } from './store-under-test.ts'
import { BREAKER } from './timing.ts'

/** Makes a store: the real one, or one of a mutated build. */
export type MakeStore = (options: ValkeyStoreOptions) => StoreUnderTest

export interface StandaloneTerms {
  readonly planted: PlantedSecret
  readonly proxies: number
}

export interface StoreTerms {
  readonly make: MakeStore
  readonly prefix: string
  readonly cap: number
  /** More options of the stores. */
  readonly options?: Partial<Omit<ValkeyStoreOptions, 'client' | 'connection'>>
}

const USER = 'app'

/** One server that keeps what it acknowledged, and a proxy for each store in front of it. */
export class Standalone {
  readonly server: ValkeyServer
  readonly #proxies: readonly FaultProxy[]
  readonly #admin: Redis
  readonly #blocked: Redis
  readonly #planted: PlantedSecret
  readonly #password: string

  private constructor(
    server: ValkeyServer,
    proxies: readonly FaultProxy[],
    planted: PlantedSecret,
    password: string,
  ) {
    this.server = server
    this.#proxies = proxies
    this.#planted = planted
    this.#password = password
    this.#admin = server.client({ maxRetriesPerRequest: null })
    this.#blocked = server.client({ maxRetriesPerRequest: null })
  }

  static async start({ planted, proxies: count }: StandaloneTerms): Promise<Standalone> {
    const password = planted.secret('password')
    const user = ['--user', USER, 'on', `>${password}`, ...rights()]
    const aof = ['--appendonly', 'yes', '--appendfsync', 'no', '--auto-aof-rewrite-percentage', '0']
    const server = await startValkey({ args: [...user, ...aof, '--busy-reply-threshold', '50'] })
    const proxies = await Promise.all(Array.from({ length: count }, () => startFaultProxy(server)))
    return new Standalone(server, proxies, planted, password)
  }

  /** A store behind each proxy. Every third rejects conflicts, every second has a breaker. */
  stores({ make, prefix, cap, options }: StoreTerms): NamedStore[] {
    const secrets = [this.#planted.secret('sealing')]
    return this.#proxies.map(({ url }, index) => {
      const rejects = index % 3 === 2
      const store = make({
        connection: { url, username: USER, password: this.#password },
        prefix,
        secrets,
        maxSessionsPerUser: cap,
        encrypt: true,
        touchAfter: 0,
        concurrency: rejects ? 'reject' : 'merge',
        breaker: index % 2 === 0 ? BREAKER : false,
        ...options,
      })
      return { name: `store ${index}`, store, rejects }
    })
  }

  /** One lane for the server, and some among which the proxies are shared out. */
  lanes(networkLanes: number): FaultLane[] {
    const server = serverFaults({
      server: this.server,
      admin: this.#admin,
      blocked: this.#blocked,
      user: USER,
      rights: rights(),
    })
    const networks = Array.from({ length: networkLanes }, (_, lane): FaultLane => {
      const mine = this.#proxies.filter((_proxy, index) => index % networkLanes === lane)
      return {
        name: `network ${lane}`,
        kinds: mine.flatMap((proxy) => proxyFaults(proxy)),
        restMs: [20, 150],
      }
    })
    return [{ name: 'server', kinds: server, restMs: [100, 500] }, ...networks]
  }

  async removeRecord(prefix: string, handle: string): Promise<boolean> {
    const removed = await this.#admin.del(createKeys(prefix).record(handle)).catch(() => undefined)
    return removed !== undefined
  }

  /** Everything that stands in the server under a prefix, names and values. */
  async remains(prefix: string): Promise<string> {
    const keys = await this.#admin.keys(`${prefix}:*`)
    const values = await Promise.all(keys.map((key) => this.#valueOf(key)))
    return inspect([keys, values], { depth: 5, maxArrayLength: null, maxStringLength: null })
  }

  async stop(): Promise<void> {
    await Promise.all(this.#proxies.map((proxy) => proxy.stop()))
    await this.server.stop()
  }

  async #valueOf(key: string): Promise<unknown> {
    const type = await this.#admin.type(key)
    if (type === 'zset') return this.#admin.zrange(key, 0, -1)
    return type === 'hash' ? this.#admin.hgetall(key) : this.#admin.get(key)
  }
}

function rights(): string[] {
  return ['resetchannels', '&*', '~*', '+@all']
}
