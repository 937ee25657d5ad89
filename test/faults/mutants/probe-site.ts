import type { Redis } from 'iovalkey'
import { createKeys } from '../../../lib/backend/valkey/keys.ts'
import type { ValkeyStore, ValkeyStoreOptions } from '../../../lib/store/valkey-store.ts'
import { generateSession } from '../../store/live-session.ts'
import { SECRET } from '../../store/parts-store.ts'
import { type FaultProxy, startFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/until.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import type { MakeStore } from '../standalone.ts'

const LIMITS = { connectTimeoutMs: 150, commandTimeoutMs: 150 }

/** One server, a proxy in front of it, and a name of its own for what each probe stores there. */
export class ProbeSite {
  readonly server: ValkeyServer
  readonly proxy: FaultProxy
  readonly admin: Redis
  #sites = 0

  private constructor(server: ValkeyServer, proxy: FaultProxy) {
    this.server = server
    this.proxy = proxy
    this.admin = server.client({ maxRetriesPerRequest: null })
  }

  static async open(): Promise<ProbeSite> {
    const server = await startValkey()
    return new ProbeSite(server, await startFaultProxy(server))
  }

  /** A place for one probe of one build. */
  ground(make: MakeStore): ProbeGround {
    this.#sites += 1
    return new ProbeGround(this, make, `probe-${this.#sites}`)
  }

  async close(): Promise<void> {
    await this.proxy.stop()
    await this.server.stop()
  }
}

/** What one probe of one build has. */
export class ProbeGround {
  readonly site: ProbeSite
  readonly prefix: string
  readonly #make: MakeStore
  readonly #stores: ValkeyStore[] = []

  constructor(site: ProbeSite, make: MakeStore, prefix: string) {
    this.site = site
    this.prefix = prefix
    this.#make = make
  }

  /** A store of the build, connected through the proxy. */
  async store(options: Partial<ValkeyStoreOptions> = {}): Promise<ValkeyStore> {
    const store = this.unconnected(options)
    await ready(store)
    return store
  }

  /** As {@link store}, without waiting for the server. */
  unconnected(options: Partial<ValkeyStoreOptions>): ValkeyStore {
    const connection = { url: this.site.proxy.url }
    const terms = { connection, prefix: this.prefix, secrets: [SECRET], touchAfter: 0, ...LIMITS }
    // A mutated build's store is of another class of the same name.
    const store = this.#make({ ...terms, ...options } as ValkeyStoreOptions) as ValkeyStore
    this.#stores.push(store)
    return store
  }

  recordKey(store: ValkeyStore, sid: string): string {
    return createKeys(this.prefix).record(store.handle(sid))
  }

  /** The names of everything that is stored but sessions. */
  async registryKeys(): Promise<string[]> {
    const keys = await this.site.admin.keys(`${this.prefix}:*`)
    return keys.filter((key) => !key.startsWith(`${this.prefix}:r:`))
  }

  async close(): Promise<void> {
    await this.site.proxy.set({ kind: 'pass' })
    await Promise.all(this.#stores.map((store) => store.close()))
  }
}

export async function ready(store: ValkeyStore): Promise<void> {
  await until(async () => (await store.health()).isReady, { everyMs: 20, what: 'the store is ready' })
}

/** Stores a new session with this content, for as long as `maxAge` says, in ms. */
export async function signIn(
  store: ValkeyStore,
  sid: string,
  { maxAge, ...content }: { readonly maxAge?: number; readonly [key: string]: unknown } = {},
) {
  const cookie = maxAge === undefined ? {} : { maxAge }
  const live = generateSession(store, sid, { cookie, content })
  await store.set(sid, live)
  return live
}

/** The code of what some work failed with, `undefined` if it did not. */
export async function codeOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => undefined,
    (error: unknown) => Reflect.get(Object(error), 'code'),
  )
}
