import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { Breaker } from '../../../lib/backend/valkey/commands/breaker.ts'
import type { Failure } from '../../../lib/backend/valkey/commands/failures.ts'

const HALF_OPEN_AFTER_MS = 1000

function failing(reason: string): () => Promise<{ failure: Failure }> {
  return async () => ({ failure: { reason, mayBeApplied: false, isWorthRepeating: false } })
}

const succeeding = async (): Promise<{ failure?: Failure }> => ({})

async function repeat(times: number, run: () => Promise<unknown>): Promise<void> {
  for (let time = 0; time < times; time += 1) await run()
}

describe('the breaker', () => {
  let breaker: Breaker

  beforeEach(() => {
    // The only clock it looks at; what it waits for is nobody's timer.
    vi.useFakeTimers({ toFake: ['Date'] })
    breaker = new Breaker({ failures: 5, halfOpenAfterMs: HALF_OPEN_AFTER_MS })
  })

  afterEach(() => {
    vi.useRealTimers()
  })

  test('opens after 5 failures in a row, and then answers without asking', async () => {
    await repeat(4, () => breaker.run(failing('timeout')))
    expect(breaker.state).toBe('closed')
    await breaker.run(failing('connection'))
    const asked = vi.fn(succeeding)

    const answer = await breaker.run(asked)

    expect(breaker.state).toBe('open')
    expect(answer.failure).toMatchObject({ reason: 'breaker-open', mayBeApplied: false })
    expect(asked).not.toHaveBeenCalled()
  })

  test('starts counting anew after a success', async () => {
    await repeat(4, () => breaker.run(failing('timeout')))
    await breaker.run(succeeding)
    await repeat(4, () => breaker.run(failing('timeout')))

    expect(breaker.state).toBe('closed')
  })

  test.each([
    'out-of-memory',
    'read-only',
    'no-permission',
    'unreadable',
    'misconfigured',
    'no-replicas',
    'moved',
  ])('never opens for %s, which a server answers that is there', async (reason) => {
    await repeat(50, () => breaker.run(failing(reason)))

    expect(breaker.state).toBe('closed')
  })

  test('lets exactly one of 100 find out whether the server is back, and answers the others at once', async () => {
    await repeat(5, () => breaker.run(failing('timeout')))
    vi.setSystemTime(Date.now() + HALF_OPEN_AFTER_MS)
    let release = () => {}
    const probe = vi.fn(() => new Promise<{ failure?: Failure }>((resolve) => (release = () => resolve({}))))

    const calls = Array.from({ length: 100 }, () => breaker.run(probe))
    const others = await Promise.all(calls.slice(1))

    expect(probe).toHaveBeenCalledTimes(1)
    expect(breaker.state).toBe('half-open')
    expect(new Set(others.map(({ failure }) => failure?.reason))).toEqual(new Set(['breaker-open']))
    release()
    expect((await calls[0])?.failure).toBeUndefined()
    expect(breaker.state).toBe('closed')
  })

  test('opens again when the probe fails', async () => {
    await repeat(5, () => breaker.run(failing('timeout')))
    vi.setSystemTime(Date.now() + HALF_OPEN_AFTER_MS)

    await breaker.run(failing('timeout'))

    expect(breaker.state).toBe('open')
    expect((await breaker.run(succeeding)).failure?.reason).toBe('breaker-open')
  })
})
