import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'iovalkey'
import { until } from '../support/until.ts'
import type { ValkeyCluster, ValkeyServer } from '../support/valkey.ts'
import type { LossWindow } from './checks/evidence.ts'
import type { FaultLog } from './fault-log.ts'
import { lastConfirmedMs, untilInStep } from './in-step.ts'
import { serviceGapMs, untilSavesReturn } from './service-gap.ts'
import type { Progress } from './workload-run.ts'

export interface ClusterTerms {
  readonly cluster: ValkeyCluster
  readonly log: FaultLog
  readonly progress: Progress
}

// Replies that were on their way when it stopped.
const LAST_REPLIES_MS = 50
const WITHIN_MS = 30_000
const BATCH = 20

/** Clients of the nodes, past every store. */
export class ClusterAdmin {
  readonly #admins: ReadonlyMap<ValkeyServer, Redis>
  readonly #terms: ClusterTerms

  constructor(terms: ClusterTerms) {
    this.#terms = terms
    this.#admins = new Map(
      terms.cluster.nodes.map((node) => [node, node.client({ maxRetriesPerRequest: null })]),
    )
  }

  stop(): void {
    for (const admin of this.#admins.values()) admin.disconnect()
  }

  /** Moves slots with sessions in them from one primary to another while they are in use; answers how many keys moved. */
  async reshard(slots: number): Promise<number> {
    const [from, to] = await this.#primaries()
    if (from === undefined || to === undefined) throw new Error('A cluster needs two primaries')
    const entry = this.#terms.log.begin('reshard', 'cluster')
    const keys = await this.#of(from).keys('*')
    const used = new Set(await Promise.all(keys.map((key) => this.#of(from).cluster('KEYSLOT', key))))
    let moved = 0
    for (const slot of [...used].slice(0, slots)) moved += await this.#move(slot, from, to)
    entry.toMs = performance.now()
    return moved
  }

  /** A replica takes over from its primary in an orderly way. */
  async failOverGracefully(): Promise<number> {
    const { log, progress } = this.#terms
    const replica = await this.#aReplica()
    const entry = log.begin('graceful failover', 'cluster')
    const startMs = performance.now()
    await this.#of(replica).cluster('FAILOVER')
    await this.#untilPrimary(replica)
    await untilSavesReturn(progress.history, performance.now())
    entry.toMs = performance.now()
    return serviceGapMs(progress.history, startMs, performance.now())
  }

  /** Kills a primary; its replica is elected; the dead one comes back as a replica. */
  async killPrimary(): Promise<{ readonly windows: readonly LossWindow[]; readonly gapMs: number }> {
    const { log, progress } = this.#terms
    const { primary, replica } = await this.#aPair()
    const entry = log.begin('primary killed, failover', 'cluster')
    const pair = { primary: this.#of(primary), replica: this.#of(replica) }
    const fromMs = await lastConfirmedMs(pair)
    await primary.kill('SIGKILL')
    const killedMs = performance.now()
    await this.#untilPrimary(replica)
    await untilSavesReturn(progress.history, performance.now())
    await delay(1000)
    const gapMs = serviceGapMs(progress.history, killedMs, performance.now())
    await primary.restart()
    await this.#untilInStep(primary, replica)
    entry.toMs = performance.now()
    return { windows: [{ fromMs, toMs: killedMs + LAST_REPLIES_MS }], gapMs }
  }

  /** Small faults, one after the other, on nodes in turn. */
  async annoy(rounds: number): Promise<void> {
    const { cluster, log } = this.#terms
    for (let round = 0; round < rounds; round += 1) {
      const node = cluster.nodes[round % cluster.nodes.length]
      if (node === undefined) continue
      const annoyances = this.#annoyances(this.#of(node))
      const [name, annoyance] = annoyances[round % annoyances.length] ?? []
      const entry = log.begin(name ?? '', 'cluster')
      await annoyance?.()
      await delay(60)
      entry.toMs = performance.now()
    }
  }

  #annoyances(admin: Redis): readonly (readonly [string, () => Promise<unknown>])[] {
    return [
      ['connections killed', () => admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')],
      ['scripts forgotten', () => admin.script('FLUSH')],
      ['pause of writes', () => admin.client('PAUSE', 100, 'WRITE')],
      ['slow command', () => admin.call('DEBUG', 'SLEEP', '0.1')],
      ['pause of everything', () => admin.client('PAUSE', 100, 'ALL')],
    ]
  }

  #of(node: ValkeyServer): Redis {
    const admin = this.#admins.get(node)
    if (admin === undefined) throw new Error('That node is not of this cluster')
    return admin
  }

  // https://valkey.io/commands/cluster-setslot/ has these steps.
  async #move(slot: number, from: ValkeyServer, to: ValkeyServer): Promise<number> {
    const [source, target] = [this.#of(from), this.#of(to)]
    const targetId = String(await target.cluster('MYID'))
    await target.cluster('SETSLOT', slot, 'IMPORTING', String(await source.cluster('MYID')))
    await source.cluster('SETSLOT', slot, 'MIGRATING', targetId)
    let moved = 0
    for (;;) {
      const keys = (await source.cluster('GETKEYSINSLOT', slot, BATCH)) as string[]
      if (keys.length === 0) break
      await source.call('MIGRATE', to.host, to.port, '', 0, 5000, 'KEYS', ...keys)
      moved += keys.length
    }
    for (const primary of [to, from, ...(await this.#primaries())])
      await this.#of(primary).cluster('SETSLOT', slot, 'NODE', targetId)
    return moved
  }

  async #primaries(): Promise<ValkeyServer[]> {
    return this.#withRole('master')
  }

  async #withRole(role: 'master' | 'slave'): Promise<ValkeyServer[]> {
    const { nodes } = this.#terms.cluster
    const roles = await Promise.all(nodes.map((node) => this.#of(node).info('replication')))
    return nodes.filter((_node, index) => roles[index]?.includes(`role:${role}`))
  }

  async #aReplica(): Promise<ValkeyServer> {
    const { replica } = await this.#aPair()
    return replica
  }

  /** A replica that is in step, and its primary. */
  async #aPair(): Promise<{ primary: ValkeyServer; replica: ValkeyServer }> {
    const [replica] = await this.#withRole('slave')
    if (replica === undefined) throw new Error('The cluster has no replica')
    const port = Number(/^master_port:(\d+)/m.exec(await this.#of(replica).info('replication'))?.[1])
    const primary = this.#terms.cluster.nodes.find((node) => node.port === port)
    if (primary === undefined) throw new Error('The replica follows a stranger')
    await this.#untilInStep(replica, primary)
    return { primary, replica }
  }

  async #untilPrimary(node: ValkeyServer): Promise<void> {
    await until(async () => (await this.#of(node).info('replication')).includes('role:master'), {
      withinMs: WITHIN_MS,
      what: 'the replica has become the primary',
    })
  }

  async #untilInStep(replica: ValkeyServer, primary: ValkeyServer): Promise<void> {
    const pair = { primary: this.#of(primary), replica: this.#of(replica), replicaPort: replica.port }
    await untilInStep(pair)
  }
}
