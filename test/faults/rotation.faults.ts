import { setTimeout as delay } from 'node:timers/promises'
import { expect, it, onTestFinished } from 'vitest'
import { SEED } from '../support/seed.ts'
import type { LossWindow } from './checks/evidence.ts'
import { FaultLog } from './fault-log.ts'
import { openStores } from './open-stores.ts'
import { expectKept, lossesOf } from './outcome.ts'
import { PlantedSecret } from './planted-secret.ts'
import { Rotation } from './rotation.ts'
import { untilSavesReturn } from './service-gap.ts'
import { DEADLINE_MS } from './timing.ts'
import { type Progress, runWorkload } from './workload-run.ts'

const STORES = 4
const CAP = 3
const ROUNDS = 6
const SIZE = { users: 24, kept: 60, updateWorkers: 4, lifecycleWorkers: 4, samplers: 4 }

interface RotationTerms {
  readonly name: string
  /** Whether a sign-in under way may be registered on one server and stored on the other. */
  readonly isTorn: boolean
  readonly step: (rotation: Rotation) => Promise<readonly LossWindow[]>
}

async function rotate({ name, isTorn, step }: RotationTerms) {
  const planted = new PlantedSecret()
  const log = new FaultLog()
  const rotation = await Rotation.start({ proxies: STORES, log })
  onTestFinished(() => rotation.stop())
  const connections = rotation.proxies.map(({ url }) => ({ url }))
  const stores = openStores({ planted, cap: CAP, connections })

  const nemesis = async ({ history }: Progress) => {
    const windows: LossWindow[] = []
    for (let round = 0; round < ROUNDS; round += 1) {
      await untilSavesReturn(history, performance.now())
      await delay(500)
      windows.push(...(await step(rotation)))
    }
    return windows
  }
  const removeRecord = async () => false
  const report = await runWorkload({
    seed: SEED,
    stores,
    planted,
    cap: CAP,
    deadlineMs: DEADLINE_MS,
    size: SIZE,
    removeRecord,
    isTorn,
    nemesis,
  })
  return { name, seed: SEED, log, report, more: [lossesOf(report)] }
}

it('loses nothing while two servers hand their roles over to each other under load', async () => {
  const outcome = await rotate({ name: 'hand-over', isTorn: false, step: (rotation) => rotation.handOver() })

  expectKept(outcome)
  expect(outcome.report.writes).toMatchObject({ excused: 0, lost: 0 })
})

it('loses nothing outside of the asynchronous window while two servers take roles from each other under load', async () => {
  expectKept(await rotate({ name: 'take-over', isTorn: true, step: (rotation) => rotation.takeOver() }))
})
