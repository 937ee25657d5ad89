import type { Redis } from 'iovalkey'
import { until } from '../support/until.ts'

export interface Pair {
  readonly primary: Redis
  readonly replica: Redis
  /** Where the replica listens. */
  readonly replicaPort: number
}

const WITHIN_MS = 30_000

/**
 * Waits until a replica follows what its primary writes. Until the replica has acknowledged something, up to a second
 * after all else looks well, the primary sends it nothing: what is written then would be lost with the primary.
 */
export async function untilInStep({ primary, replica, replicaPort }: Pair): Promise<void> {
  const acknowledged = new RegExp(`port=${replicaPort},state=online,offset=[1-9]`)
  const isInStep = async () => {
    const [seen, given] = await Promise.all([replica.info('replication'), primary.info('replication')])
    return /role:slave[\s\S]*master_link_status:up/.test(seen) && acknowledged.test(given)
  }
  await until(isInStep, { withinMs: WITHIN_MS, everyMs: 50, what: 'the replica is in step' })
}

/** A moment, as late as can be, before which everything that was acknowledged is known to be on the replica. */
export async function lastConfirmedMs({ primary, replica }: Omit<Pair, 'replicaPort'>): Promise<number> {
  const atMs = performance.now()
  const offset = offsetIn(await primary.info('replication'), 'master_repl_offset')
  const hasAll = async () => offsetIn(await replica.info('replication'), 'slave_repl_offset') >= offset
  await until(hasAll, { withinMs: WITHIN_MS, everyMs: 1, what: 'the replica has caught up' })
  return atMs
}

function offsetIn(info: string, name: string): number {
  return Number(new RegExp(`^${name}:(\\d+)`, 'm').exec(info)?.[1])
}
