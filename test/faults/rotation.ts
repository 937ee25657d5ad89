import type { Redis } from 'iovalkey'
import { type FaultProxy, startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import type { LossWindow } from './checks/evidence.ts'
import type { FaultLog } from './fault-log.ts'
import { lastConfirmedMs, untilInStep } from './in-step.ts'

interface Peer {
  readonly server: ValkeyServer
  readonly admin: Redis
}

// Replies that were on their way when a primary lost its role.
const LAST_REPLIES_MS = 50
const WITHIN_MS = 20_000

/** Two servers, each the other's replica in turn, and proxies that lead to whichever is the primary. */
export class Rotation {
  readonly proxies: readonly FaultProxy[]
  readonly #log: FaultLog
  readonly #role: { primary: Peer; replica: Peer }

  private constructor(proxies: readonly FaultProxy[], role: { primary: Peer; replica: Peer }, log: FaultLog) {
    this.proxies = proxies
    this.#role = role
    this.#log = log
  }

  static async start({ proxies: count, log }: { proxies: number; log: FaultLog }): Promise<Rotation> {
    const [primary, replica] = await Promise.all([startPeer(), startPeer()])
    const role = { primary, replica }
    const target = {
      get port() {
        return role.primary.server.port
      },
    }
    const proxies = await Promise.all(Array.from({ length: count }, () => startFaultProxy(target)))
    await follow(replica, primary)
    return new Rotation(proxies, role, log)
  }

  /** The primary holds its writes until the replica has all, then they change roles: nothing may be lost. */
  async handOver(): Promise<readonly LossWindow[]> {
    const { primary, replica } = this.#role
    const entry = this.#log.begin('roles handed over', 'servers')
    const { host, port } = replica.server
    await primary.admin.call('FAILOVER', 'TO', host, port, 'TIMEOUT', 5000)
    await untilRole(replica, 'master')
    await this.#switch()
    await inStep(primary, replica)
    entry.toMs = performance.now()
    return []
  }

  /** The replica is made a primary while the other still is one, as in an emergency; then the other follows it. */
  async takeOver(): Promise<readonly LossWindow[]> {
    const { primary, replica } = this.#role
    const entry = this.#log.begin('role taken over', 'servers')
    const fromMs = await lastConfirmedMs({ primary: primary.admin, replica: replica.admin })
    await replica.admin.replicaof('NO', 'ONE')
    await this.#switch()
    const toMs = performance.now() + LAST_REPLIES_MS
    await follow(primary, replica)
    entry.toMs = performance.now()
    return [{ fromMs, toMs }]
  }

  async stop(): Promise<void> {
    await Promise.all(this.proxies.map((proxy) => proxy.stop()))
    await Promise.all([this.#role.primary, this.#role.replica].map(({ server }) => server.stop()))
  }

  // No connection to the old primary outlives this: a replica would go on to answer reads.
  async #switch(): Promise<void> {
    await Promise.all(this.proxies.map((proxy) => proxy.set({ kind: 'refuse' })))
    const { primary, replica } = this.#role
    Object.assign(this.#role, { primary: replica, replica: primary })
    await Promise.all(this.proxies.map((proxy) => proxy.set({ kind: 'pass' })))
  }
}

async function startPeer(): Promise<Peer> {
  const server = await startValkey({ args: ['--repl-diskless-sync-delay', '0'] })
  return { server, admin: server.client({ maxRetriesPerRequest: null }) }
}

async function follow(peer: Peer, primary: Peer): Promise<void> {
  await peer.admin.replicaof(primary.server.host, primary.server.port)
  await inStep(peer, primary)
}

async function untilRole({ admin }: Peer, role: 'master' | 'slave'): Promise<void> {
  await until(async () => (await admin.info('replication')).includes(`role:${role}`), {
    withinMs: WITHIN_MS,
    what: `a server has the role ${role}`,
  })
}

function inStep(replica: Peer, primary: Peer): Promise<void> {
  return untilInStep({ primary: primary.admin, replica: replica.admin, replicaPort: replica.server.port })
}
