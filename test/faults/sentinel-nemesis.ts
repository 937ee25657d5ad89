import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'iovalkey'
import { until } from '../support/until.ts'
import type { ValkeySentinels, ValkeyServer } from '../support/valkey.ts'
import type { LossWindow } from './checks/evidence.ts'
import type { FaultLog } from './fault-log.ts'
import { lastConfirmedMs, untilInStep } from './in-step.ts'
import { serviceGapMs, untilSavesReturn } from './service-gap.ts'
import type { Progress } from './workload-run.ts'

export interface FailoverTerms {
  readonly sentinels: ValkeySentinels
  readonly log: FaultLog
  readonly progress: Progress
}

export interface Failover {
  readonly windows: readonly LossWindow[]
  /** For how long no save was acknowledged. */
  readonly gapMs: number
}

// Replies that were on their way when it stopped.
const LAST_REPLIES_MS = 50
const FAILS_OVER_WITHIN_MS = 30_000

/** Kills the primary; the sentinels promote the replica; the dead one comes back as replica of the new primary. */
export async function killPrimary(terms: FailoverTerms): Promise<Failover> {
  const { old, next } = await roles(terms)
  const entry = terms.log.begin('primary killed, failover', 'sentinel')
  const fromMs = await confirmedMs(old, next)
  await old.kill('SIGKILL')
  const killedMs = performance.now()
  const gapMs = await takenOver(terms, next, killedMs)
  await old.restart()
  await follow(old, next)
  entry.toMs = performance.now()
  return { windows: [{ fromMs, toMs: killedMs + LAST_REPLIES_MS }], gapMs }
}

/** Freezes the primary until the replica has taken over; then it wakes, and for a while takes itself for the primary. */
export async function freezePrimary(terms: FailoverTerms): Promise<Failover> {
  const { old, next } = await roles(terms)
  const entry = terms.log.begin('primary frozen, failover, two primaries', 'sentinel')
  const fromMs = await confirmedMs(old, next)
  await old.freeze()
  const frozenMs = performance.now()
  const gapMs = await takenOver(terms, next, frozenMs)
  const thawedMs = performance.now()
  await old.thaw()
  const servedMs = await lastServedAt(old)
  await inStep(old, next)
  entry.toMs = performance.now()
  const around = { fromMs, toMs: frozenMs + LAST_REPLIES_MS }
  return { windows: [around, { fromMs: thawedMs, toMs: servedMs + LAST_REPLIES_MS }], gapMs }
}

/** When a server that is no longer the primary last ran a script for somebody who takes it for the primary. */
async function lastServedAt(server: ValkeyServer): Promise<number> {
  return withAdmin(server, async (admin) => {
    let [calls, changedMs] = ['', performance.now()]
    await until(
      async () => {
        const now = /^cmdstat_evalsha:calls=(\d+)/m.exec(await admin.info('commandstats'))?.[1] ?? ''
        if (now !== calls) [calls, changedMs] = [now, performance.now()]
        return (await admin.info('replication')).includes('role:slave')
      },
      { withinMs: FAILS_OVER_WITHIN_MS, what: 'the sentinels have demoted the old primary' },
    )
    return changedMs
  })
}

async function roles({ sentinels }: FailoverTerms): Promise<{ old: ValkeyServer; next: ValkeyServer }> {
  const { primary, replica } = sentinels
  const port = await until(() => sentinels.primaryPort(), { what: 'the sentinels agree on a primary' })
  const pair = port === primary.port ? { old: primary, next: replica } : { old: replica, next: primary }
  await inStep(pair.next, pair.old)
  return pair
}

/** Resolves to the gap once the other server is primary and acknowledges saves. */
async function takenOver(
  { sentinels, progress }: FailoverTerms,
  next: ValkeyServer,
  sinceMs: number,
): Promise<number> {
  await until(async () => (await sentinels.primaryPort()) === next.port, {
    withinMs: FAILS_OVER_WITHIN_MS,
    everyMs: 50,
    what: 'the sentinels have promoted the replica',
  })
  await untilSavesReturn(progress.history, sinceMs)
  // All stores are to come back, not only the first.
  await delay(1000)
  return serviceGapMs(progress.history, sinceMs, performance.now())
}

async function follow(server: ValkeyServer, primary: ValkeyServer): Promise<void> {
  await withAdmin(server, async (admin) => admin.replicaof(primary.host, primary.port))
  await inStep(server, primary)
}

async function inStep(server: ValkeyServer, primary: ValkeyServer): Promise<void> {
  await withAdmin(server, (replica) =>
    withAdmin(primary, (admin) => untilInStep({ primary: admin, replica, replicaPort: server.port })),
  )
}

async function confirmedMs(primary: ValkeyServer, replica: ValkeyServer): Promise<number> {
  return withAdmin(primary, (admin) =>
    withAdmin(replica, (other) => lastConfirmedMs({ primary: admin, replica: other })),
  )
}

async function withAdmin<Value>(
  server: ValkeyServer,
  work: (admin: Redis) => Promise<Value>,
): Promise<Value> {
  const admin = server.client({ maxRetriesPerRequest: null })
  try {
    return await work(admin)
  } finally {
    admin.disconnect()
  }
}
