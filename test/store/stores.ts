import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Backend } from '../../lib/backend/backend.ts'
import { InProcessBackend } from '../../lib/backend/in-process-backend.ts'
import type { ValkeyClient } from '../../lib/backend/valkey/connection/client.ts'
import { createValkeyClient } from '../../lib/backend/valkey/connection/connection.ts'
import { createKeys } from '../../lib/backend/valkey/keys.ts'
import { HEADER_BYTES } from '../../lib/backend/valkey/record-value.ts'
import { ValkeyBackend } from '../../lib/backend/valkey/valkey-backend.ts'
import { maxBlobBytes } from '../../lib/session/records.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import type { SealedSessionStore } from '../../lib/store/session-store.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import type { TestClock } from '../support/clock.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { internalsOf, PartsStore, type PartsStoreOptions, SECRET } from './parts-store.ts'
import { wrapBackend } from './wrap-backend.ts'

/** Where the stores of one test keep their records, apart from those of every other test. */
export interface Place {
  /** The store as an app makes it. */
  open(options?: SessionStoreOptions): SessionStore
  /** One of several stores on the same records, as several processes have them. */
  share(options?: SessionStoreOptions): SealedSessionStore
  /** What `share` keeps its records in. */
  backend(): Backend
  /** One more store on the same records, through a backend that wraps the one of `backend()`. */
  over(backend: Backend, options?: PartsStoreOptions): SealedSessionStore
  /** Puts a blob under a handle behind the store's back, where there is a record. */
  plant(handle: string, blob: Buffer): Promise<void>
}

export interface PlaceTerms {
  /** What tells the time, where no server does. */
  readonly clock?: { now(): number } | undefined
}

export interface StoreKind {
  readonly name: string
  /** How far off the reading of the clock that decides may be, in ms. */
  readonly clockErrorMs: number
  /** Lets time pass: on the clock given, or, where the server has the only clock, in truth. */
  pass(ms: number, clock: TestClock): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
  place(terms?: PlaceTerms): Place
}

export class InProcessKind implements StoreKind {
  readonly name = 'in process'
  readonly clockErrorMs = 0
  readonly #opened: { close(): Promise<void> }[] = []

  async pass(ms: number, clock: TestClock): Promise<void> {
    clock.advance(ms)
  }

  async start(): Promise<void> {}

  async stop(): Promise<void> {
    await Promise.all(this.#opened.map((opened) => opened.close()))
  }

  place({ clock = { now: () => Date.now() } }: PlaceTerms = {}): Place {
    const inner = this.#keep(new InProcessBackend({ clock }))
    // Nobody can change what is kept in process; this plays the part.
    const planted = new Map<string, Buffer>()
    const backend = wrapBackend(inner, {
      get: async (handle, maxBytes) => {
        const record = await inner.get(handle, maxBytes)
        const blob = planted.get(handle)
        return blob && typeof record === 'object' ? { ...record, blob } : record
      },
    })
    return {
      open: (options) => this.#keep(new InProcessStore({ clock, secrets: [SECRET], ...options })),
      share: (options) => new PartsStore(backend, { clock, ...options }),
      backend: () => backend,
      over: (wrapped, options) => new PartsStore(wrapped, { clock, ...options }),
      plant: async (handle, blob) => {
        planted.set(handle, blob)
      },
    }
  }

  #keep<Opened extends { close(): Promise<void> }>(opened: Opened): Opened {
    this.#opened.push(opened)
    return opened
  }
}

// Time limits that a busy machine keeps; suites about time limits set their own.
const TIMING = { connectTimeoutMs: 10_000, commandTimeoutMs: 10_000 }
const PATIENCE = { ...TIMING, retries: 1 }

export class ValkeyKind implements StoreKind {
  readonly name: string = 'on Valkey'
  // Half a round trip, and a reading cut to whole ms.
  readonly clockErrorMs = 20
  #server: ValkeyServer | undefined
  #client: ValkeyClient | undefined

  async pass(ms: number): Promise<void> {
    await delay(ms)
  }

  async start(): Promise<void> {
    this.#server = await startValkey()
    this.#client = createValkeyClient({ url: this.#server.url }, TIMING)
  }

  async stop(): Promise<void> {
    this.#client?.disconnect()
    await this.#server?.stop()
  }

  get server(): ValkeyServer {
    if (this.#server === undefined) throw new Error('The server has not been started')
    return this.#server
  }

  get client(): ValkeyClient {
    if (this.#client === undefined) throw new Error('The server has not been started')
    return this.#client
  }

  open(options: SessionStoreOptions): SessionStore {
    return new ValkeyStore({
      client: this.client,
      ...PATIENCE,
      ...options,
      secrets: options.secrets ?? [SECRET],
    })
  }

  place(): ValkeyPlace {
    const { client } = this
    const prefix = freshPrefix()
    return {
      prefix,
      open: (options) => this.open({ prefix, ...options }),
      share: (options) => internalsOf(this.open({ prefix, ...options })),
      backend: () => new ValkeyBackend({ client, prefix, maxBlobBytes: maxBlobBytes(65_536), ...PATIENCE }),
      over: (wrapped, options) => new PartsStore(wrapped, { prefix, deadlineMs: 30_000, ...options }),
      plant: async (handle, blob) => {
        const key = createKeys(prefix).record(handle)
        const header = (await client.callBuffer('getrange', key, 0, HEADER_BYTES - 1)) as Buffer
        await client.callBuffer('set', key, Buffer.concat([header, blob]), 'keepttl')
      },
    }
  }
}

export interface ValkeyPlace extends Place {
  readonly prefix: string
}

/** A kind of each sort, for `describe.each`. */
export const storeKinds = (): readonly StoreKind[] => [new InProcessKind(), new ValkeyKind()]

/** A prefix that no other test has. */
export function freshPrefix(): string {
  return `t-${randomUUID().slice(0, 8)}`
}
