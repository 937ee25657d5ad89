import type { RequestName, Site } from './outage-rig.ts'

/** A state a server can be in, and what it makes of requests. */
export interface OutageState {
  readonly name: string
  begin(site: Site): Promise<unknown>
  end(site: Site): Promise<unknown>
  /** The statuses; what is not named is 200. */
  readonly statuses: Partial<Record<RequestName, number>>
  /** What it makes of them at times, beside that. */
  readonly atTimes?: Partial<Record<RequestName, number>>
  /** Requests that are answered 200 although nothing was stored. */
  readonly unsaved?: readonly RequestName[]
  /** The store's reasons for what it could not do: one of these. */
  readonly reasons: readonly string[]
}

const nothing = async () => undefined
const NOTHING_WORKS = { read: 503, save: 503, 'save, no guard': 503, 'sign in': 503, 'sign out': 503 }
// Which of them depends on what comes first: the limit of a command, or that of its socket.
const NO_ANSWER = ['timeout', 'connection', 'breaker-open']

export const outageStates: readonly OutageState[] = [
  { name: 'up', begin: nothing, end: nothing, statuses: {}, reasons: [] },
  {
    name: 'frozen',
    begin: ({ server }) => server.freeze(),
    end: ({ server }) => server.thaw(),
    statuses: NOTHING_WORKS,
    reasons: NO_ANSWER,
  },
  {
    name: 'killed',
    begin: ({ server }) => server.kill('SIGKILL'),
    end: ({ server }) => server.restart(),
    statuses: NOTHING_WORKS,
    reasons: NO_ANSWER,
  },
  {
    name: 'unreachable',
    begin: ({ proxy }) => proxy.set({ kind: 'blackhole' }),
    end: ({ proxy }) => proxy.set({ kind: 'pass' }),
    statuses: NOTHING_WORKS,
    reasons: NO_ANSWER,
  },
  {
    name: 'full',
    begin: ({ admin }) => admin.config('SET', 'maxmemory', '1mb'),
    end: ({ admin }) => admin.config('SET', 'maxmemory', '0'),
    statuses: { save: 503, 'sign in': 503 },
    unsaved: ['save, no guard'],
    reasons: ['out-of-memory'],
  },
  {
    name: 'read-only',
    begin: ({ admin }) => admin.replicaof('127.0.0.1', 1),
    end: ({ admin }) => admin.replicaof('NO', 'ONE'),
    statuses: { save: 503, 'sign in': 503, 'sign out': 503 },
    // At READONLY the client connects anew, and the next request may come before it has.
    atTimes: { 'save, no guard': 503 },
    unsaved: ['save, no guard'],
    reasons: ['read-only', 'connection', 'breaker-open'],
  },
]
