import { setTimeout as delay } from 'node:timers/promises'
import { expect, inject, onTestFinished, test } from 'vitest'
import { ValkeyStore, type ValkeyStoreOptions } from '../../lib/store/valkey-store.ts'
import { statefulSite } from '../auth/auth-site.ts'
import { Random } from '../support/random.ts'
import { SEED } from '../support/seed.ts'
import { FaultLog } from './fault-log.ts'
import { FaultSchedule } from './fault-schedule.ts'
import { PlantedSecret } from './planted-secret.ts'
import { RefreshClient, type RefreshRecord } from './refresh-client.ts'
import { Standalone } from './standalone.ts'
import { TIMING } from './timing.ts'
import { Workers } from './workers.ts'

const LEAST = inject('suite') === 'long' ? { refreshes: 10_000, faults: 150 } : { refreshes: 150, faults: 3 }
const CLIENTS = 60
// Longer than elsewhere: most of the time a client can get on.
const REST_MS = [150, 600] as const

// Of honest clients no session ends, and what was signed out stays so, on a server and through networks that fail in every way.
test(`no fault ends a token session, or lets a dead token in: ${LEAST.refreshes} refreshes`, {
  timeout: 900_000,
}, async () => {
  const planted = new PlantedSecret()
  const place = await Standalone.start({ planted, proxies: 4 })
  onTestFinished(() => place.stop())
  const opened: ValkeyStore[] = []
  const make = (options: ValkeyStoreOptions): ValkeyStore => {
    const store = new ValkeyStore(options)
    opened.push(store)
    return store
  }
  place.stores({ make, prefix: 'refresh', cap: 10, options: TIMING })
  onTestFinished(async () => void (await Promise.all(opened.map((store) => store.close()))))
  const events: string[] = []
  const issuer = 'https://app.example/auth'
  const sites = await Promise.all(opened.map((store) => statefulSite({ store, issuer, refreshGrace: 300 })))
  for (const store of opened) {
    store.on('error', () => {})
    store.on('refresh-reused', () => events.push('refresh-reused'))
    store.on('refresh-ahead', () => events.push('refresh-ahead'))
  }
  const random = new Random(SEED)
  const record: RefreshRecord = { refreshes: 0, signIns: 0, violations: [], dead: [] }
  const clients = Array.from(
    { length: CLIENTS },
    () => new RefreshClient({ sites, random: random.fork(), record }),
  )
  const log = new FaultLog()
  const schedule = new FaultSchedule(
    place.lanes(2).map((lane) => ({ ...lane, restMs: REST_MS })),
    log,
    random.fork(),
  )
  const workers = new Workers(clients, random.fork())
  try {
    while (record.refreshes < LEAST.refreshes || log.entries.length < LEAST.faults) await delay(50)
  } finally {
    await schedule.stop()
    await workers.stop()
  }
  await Promise.all(clients.map((client) => client.settle()))
  console.log(
    `${record.refreshes} refreshes of ${record.signIns} sign-ins, ${record.dead.length} dead tokens, ` +
      `${log.entries.length} faults of ${log.kinds.size} kinds`,
  )

  expect(record.violations).toEqual([])
  expect(events).toEqual([])
  expect(record.dead.length).toBeGreaterThan(0)
})
