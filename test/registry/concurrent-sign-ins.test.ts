import { setTimeout as delay } from 'node:timers/promises'
import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import { freshPrefix } from '../store/stores.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { type Round, SignInProcesses } from './concurrent-sign-ins.ts'

const PROCESSES = 4
const SIGN_INS = 200
const CAPS = [1, 2, 5, 10]
// Together with the caps, the long suite runs a hundred rounds.
const ROUNDS_PER_CAP = inject('suite') === 'long' ? 25 : 1

function expectExactly(cap: number, round: Round): void {
  const { handles, accepted, newestFirst, orders, evicted } = round
  const last = newestFirst.slice(0, cap)
  expect(newestFirst.toSorted()).toEqual(handles.toSorted())
  expect(new Set(orders).size).toBe(handles.length)
  expect(accepted.toSorted()).toEqual(last.toSorted())
  // Each once: the two lists have the same length.
  expect(evicted.toSorted()).toEqual(handles.filter((handle) => !last.includes(handle)).toSorted())
}

describe('on one server', () => {
  const prefix = freshPrefix()
  let server: ValkeyServer
  let admin: Redis
  let processes: SignInProcesses

  beforeAll(async () => {
    server = await startValkey()
    admin = server.client()
    processes = await SignInProcesses.start(PROCESSES, {
      connection: { url: server.url },
      prefix,
      caps: CAPS,
    })
  })
  afterAll(async () => {
    await processes.stop()
    await server.stop()
  })

  /** How many sessions could be used at each of many instants while something was going on. */
  async function sampled<Value>(
    cap: number,
    work: Promise<Value>,
  ): Promise<{ value: Value; samples: number[] }> {
    const samples: number[] = []
    let isOver = false
    const value = work.finally(() => {
      isOver = true
    })
    // One script: all of them at one instant.
    const sample = async () =>
      (await admin.eval("return #redis.call('KEYS', ARGV[1])", 0, `${prefix}-${cap}:r:*`)) as number
    for (; !isOver; await delay(1)) samples.push(await sample())
    return { value: await value, samples: [...samples, await sample()] }
  }

  test.each(CAPS)(
    `${SIGN_INS} sign-ins at once through ${PROCESSES} processes, ${ROUNDS_PER_CAP} times, leave exactly the last %i`,
    async (cap) => {
      let most = 0
      for (let round = 1; round <= ROUNDS_PER_CAP; round += 1) {
        const { value, samples } = await sampled(cap, processes.round(cap, SIGN_INS))
        expectExactly(cap, value)
        most = Math.max(most, ...samples)
        await admin.flushdb()
      }

      expect(most).toBe(cap)
    },
    600_000,
  )
})
