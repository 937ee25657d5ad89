import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { primaryAddresses, slotOf } from '../../../lib/backend/valkey/connection/client.ts'
import { createKeys } from '../../../lib/backend/valkey/keys.ts'
import type { ValkeyBackend } from '../../../lib/backend/valkey/valkey-backend.ts'
import { ValkeyLabelSets } from '../../../lib/labels/valkey-label-sets.ts'
import { until } from '../../support/until.ts'
import { startCluster, type ValkeyCluster, type ValkeyServer } from '../../support/valkey.ts'
import { allHandles, ending, newHandle } from '../contract/subject.ts'
import { newPrefix, openBackend, openClient } from './subjects.ts'

const TIMING = { connectTimeoutMs: 1000, commandTimeoutMs: 1000 }
const BREAKER = { failures: 3, halfOpenAfterMs: 200 }

let cluster: ValkeyCluster
let away: ValkeyServer
let client: ValkeyClient
let backend: ValkeyBackend
let prefix: string

beforeEach(async () => {
  cluster = await startCluster({ args: ['--cluster-require-full-coverage', 'no'] })
  const [first, , last] = cluster.primaries as [ValkeyServer, ValkeyServer, ValkeyServer]
  away = last
  client = openClient({ nodes: [{ host: first.host, port: first.port }] })
  prefix = newPrefix()
  backend = openBackend(client, { ...TIMING, prefix, breaker: BREAKER })
  await until(async () =>
    backend.ping().then(
      () => true,
      () => false,
    ),
  )
})

afterEach(async () => {
  await backend.close()
  client.disconnect()
  await cluster.stop()
})

const addressOf = ({ host, port }: ValkeyServer): string => `${host}:${port}`

/** Handles whose records the primary that goes away has, or has not. */
function handlesOf({ isAway, count = 30 }: { isAway: boolean; count?: number }): string[] {
  const keys = createKeys(prefix)
  const found: string[] = []
  while (found.length < count) {
    const handle = newHandle()
    const address = client.slots?.[slotOf(keys.record(handle))]?.[0]
    if ((address === addressOf(away)) === isAway) found.push(handle)
  }
  return found
}

async function failuresOf(calls: readonly Promise<unknown>[]): Promise<unknown[]> {
  const outcomes = await Promise.allSettled(calls)
  return outcomes.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []))
}

describe.each([
  ['was killed', () => away.kill(), () => away.restart()],
  ['is frozen', () => away.freeze(), () => away.thaw()],
])('of three primaries one %s', (_, leave, comeBack) => {
  test('which fails its own records alone, says so, and ends with it', async () => {
    const elsewhere = handlesOf({ isAway: false })
    const there = handlesOf({ isAway: true })
    await leave()

    const failing = failuresOf(there.map((handle) => backend.get(handle, 100)))
    const failures: unknown[] = []
    let isOver = false
    const lost = failing.finally(() => {
      isOver = true
    })
    do {
      failures.push(...(await failuresOf(elsewhere.map((handle) => backend.get(handle, 100)))))
      failures.push(...(await failuresOf(elsewhere.map((handle) => backend.end(handle, ending)))))
    } while (!isOver)

    expect(failures).toEqual([])
    expect(await lost).toHaveLength(there.length)
    expect(backend.condition).toMatchObject({ breaker: 'open', primaries: { [addressOf(away)]: 'open' } })
    const others = [...primaryAddresses(client)].filter((address) => address !== addressOf(away))
    for (const other of others) expect(backend.condition.primaries?.[other] ?? 'closed').toBe('closed')
    await expect(backend.ping()).resolves.toBeUndefined()
    expect(await backend.now()).toBeGreaterThan(0)
    // It needs every primary, and passes none over.
    await expect(allHandles(backend)).rejects.toMatchObject({ code: 'ERR_STORE_UNAVAILABLE' })

    await comeBack()
    const [handle = ''] = there
    await until(async () => (await failuresOf([backend.get(handle, 100)])).length === 0, { withinMs: 30_000 })
    await until(() => backend.condition.breaker === 'closed')
  })
})

test('labels, too, fail where the primary is away, and nowhere else', async () => {
  const sets = new ValkeyLabelSets({ ...TIMING, client, retries: 1, breaker: BREAKER, ownsClient: false })
  const keep = { leastMs: 0, targetMs: 0 }
  await away.kill()

  const [lost, failures] = await Promise.all([
    failuresOf(handlesOf({ isAway: true }).map((handle) => sets.read(`${prefix}:r:{${handle}}`, keep))),
    failuresOf(handlesOf({ isAway: false }).map((handle) => sets.read(`${prefix}:r:{${handle}}`, keep))),
  ])

  expect(failures).toEqual([])
  expect(lost).toHaveLength(30)
  await sets.close()
})

test('a start check waits for none that is away', async () => {
  const reports: unknown[] = []
  const strict = openBackend(client, {
    ...TIMING,
    prefix,
    breaker: BREAKER,
    unsafeServer: { isRefused: true, report: (findings) => reports.push(...findings) },
  })
  await away.freeze()

  expect(await failuresOf(handlesOf({ isAway: false }).map((handle) => strict.get(handle, 100)))).toEqual([])
  expect(reports).toEqual([])
  await away.thaw()
  await strict.close()
})
