// The stores that are compared, each as its own documentation sets it up.
import { RedisStore } from 'connect-redis'
import type { Request } from 'express'
import session, { type Session, type SessionData } from 'express-session'
import { InProcessStore, ValkeyStore } from 'express-session-valkey'
import { Redis } from 'iovalkey'
import { createClient } from 'redis6'
import { FloorStore } from './floor.ts'

export type Done = (error?: unknown) => void

/** What express-session calls of a store, which each of them has. */
export interface KeptStore {
  get(sid: string, done: (error: unknown, session?: SessionData | null) => void): unknown
  set(sid: string, session: SessionData, done: Done): unknown
  touch(sid: string, session: SessionData, done: Done): unknown
  destroy(sid: string, done: Done): unknown
  createSession(req: Request, data: SessionData): Session & SessionData
}

export interface Candidate {
  readonly store: session.Store & KeptStore
  /** The same sessions, where the store is one of ours, in a store in which every touch is due. */
  readonly eager?: KeptStore
  readonly close: () => Promise<void>
}

/** Where the server is; candidates that need none ignore it. */
export interface Place {
  readonly host: string
  readonly port: number
}

/** What our stores may be opened with otherwise. */
export interface OurOptions {
  readonly prefix?: string
  readonly encrypt?: boolean
  /** Nodes of a cluster, in place of one server. */
  readonly nodes?: readonly Place[]
}

export const SECRET = 'of the benchmark, and at least 32 bytes long'
export const CAP = 5
const TTL = 86_400

export const OURS = ['ours signed', 'ours encrypted', 'ours in process'] as const
export const PEERS = ['connect-redis', 'connect-valkey', 'MemoryStore'] as const
export const FLOORS = ['raw iovalkey', 'floor signed', 'floor AES-GCM'] as const

export type CandidateName = (typeof OURS)[number] | (typeof PEERS)[number] | (typeof FLOORS)[number]

/** Opens a candidate; `options` are for stores of ours. */
export async function openCandidate(
  name: CandidateName,
  place: Place,
  options: OurOptions = {},
): Promise<Candidate> {
  switch (name) {
    case 'ours signed':
      return openOurs(place, { prefix: 'signed', ...options })
    case 'ours encrypted':
      return openOurs(place, { prefix: 'encrypted', encrypt: true, ...options })
    case 'ours in process': {
      const store = new InProcessStore({ secrets: [SECRET], maxSessionsPerUser: CAP })
      return { store, close: () => store.close() }
    }
    case 'connect-redis':
      return openConnectRedis(place)
    case 'connect-valkey':
      return openConnectValkey(place)
    case 'MemoryStore':
      return { store: new session.MemoryStore(), close: async () => {} }
    case 'raw iovalkey':
      return overClient(place, (client) => new RawStore(client))
    case 'floor signed':
      return overClient(
        place,
        (client) => new FloorStore(client, { secret: SECRET, prefix: 'floor', encrypt: false }),
      )
    case 'floor AES-GCM':
      return overClient(
        place,
        (client) => new FloorStore(client, { secret: SECRET, prefix: 'aes', encrypt: true }),
      )
  }
}

/** Whether the candidate can run here: GLIDE is native, and not built for every machine. */
export async function isAvailable(name: CandidateName): Promise<boolean> {
  if (name !== 'connect-valkey') return true
  return import('@valkey/valkey-glide').then(
    () => true,
    () => false,
  )
}

function openOurs({ host, port }: Place, { nodes, ...options }: OurOptions): Candidate {
  const settings = {
    ...options,
    connection: nodes === undefined ? { url: `valkey://${host}:${port}` } : { nodes },
    secrets: [SECRET],
    maxSessionsPerUser: CAP,
    // A busy machine is no outage.
    connectTimeoutMs: 10_000,
    commandTimeoutMs: 10_000,
  }
  const store = new ValkeyStore(settings)
  const eager = new ValkeyStore({ ...settings, touchAfter: 0 })
  return { store, eager, close: async () => void (await Promise.all([store.close(), eager.close()])) }
}

async function openConnectRedis({ host, port }: Place): Promise<Candidate> {
  const client = createClient({ url: `redis://${host}:${port}` })
  await client.connect()
  return { store: new RedisStore({ client, ttl: TTL }), close: async () => client.destroy() }
}

async function openConnectValkey({ host, port }: Place): Promise<Candidate> {
  const [{ GlideClient }, { ValkeyStore: Store }] = await Promise.all([
    import('@valkey/valkey-glide'),
    import('connect-valkey'),
  ])
  const client = await GlideClient.createClient({ addresses: [{ host, port }], requestTimeout: 10_000 })
  return { store: new Store({ client, ttl: TTL, prefix: 'glide:' }), close: async () => client.close() }
}

async function overClient(
  place: Place,
  storeOver: (client: Redis) => Candidate['store'],
): Promise<Candidate> {
  const client = new Redis({ host: place.host, port: place.port })
  await client.ping()
  return { store: storeOver(client), close: async () => client.disconnect() }
}

/** Keeps JSON, with the same client as ours and nothing else. */
class RawStore extends session.Store {
  readonly #client: Redis

  constructor(client: Redis) {
    super()
    this.#client = client
  }

  override get(sid: string, done: (error: unknown, session?: SessionData | null) => void): void {
    this.#client.getBuffer(`raw:${sid}`).then((value) => done(null, value && JSON.parse(String(value))), done)
  }

  override set(sid: string, data: SessionData, done: Done = () => {}): void {
    this.#client.set(`raw:${sid}`, JSON.stringify(data), 'EX', TTL).then(() => done(), done)
  }

  override touch(sid: string, _data: SessionData, done: Done = () => {}): void {
    this.#client.expire(`raw:${sid}`, TTL).then(() => done(), done)
  }

  override destroy(sid: string, done: Done = () => {}): void {
    this.#client.del(`raw:${sid}`).then(() => done(), done)
  }
}
