import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { ServerClock } from '../../../lib/backend/valkey/commands/server-clock.ts'

const SERVER_MS = 1_700_000_000_000

beforeEach(() => void vi.useFakeTimers({ toFake: ['performance', 'Date'] }))
afterEach(() => void vi.useRealTimers())

function observed(serverMs: number, roundTripMs: number, clock = new ServerClock()): ServerClock {
  const sentAtMs = clock.stamp()
  vi.advanceTimersByTime(roundTripMs)
  clock.observe(serverMs, sentAtMs)
  return clock
}

describe('ServerClock', () => {
  it('knows nothing before the first reading', () => {
    expect(new ServerClock().read()).toBeUndefined()
  })

  it('carries a reading on, taken as of the middle of its round trip', () => {
    const clock = observed(SERVER_MS, 20)
    expect(clock.read()).toBe(SERVER_MS + 10)
    vi.advanceTimersByTime(1000)
    expect(clock.read()).toBe(SERVER_MS + 1010)
  })

  it.each([-24, 24])('does not notice the wall clock stepping by %i hours', (hours) => {
    const clock = observed(SERVER_MS, 0)
    vi.setSystemTime(Date.now() + hours * 3_600_000)
    expect(clock.read()).toBe(SERVER_MS)
  })

  it('is not led astray by a slow reply', () => {
    const clock = observed(SERVER_MS, 2)
    observed(SERVER_MS + 2, 400, clock)
    expect(clock.read()).toBe(SERVER_MS + 1 + 400)
  })

  it('follows a reading that the old one rules out, however slow it came', () => {
    const clock = observed(SERVER_MS, 2)
    observed(SERVER_MS - 5000, 400, clock)
    expect(clock.read()).toBe(SERVER_MS - 5000 + 200)
  })

  it('prefers the quicker of two readings', () => {
    const clock = observed(SERVER_MS, 400)
    observed(SERVER_MS + 390, 2, clock)
    expect(clock.read()).toBe(SERVER_MS + 391)
  })

  it('wants a new reading after a minute and takes any then', () => {
    const clock = observed(SERVER_MS, 2)
    vi.advanceTimersByTime(60_000)
    expect(clock.read()).toBeUndefined()
    observed(SERVER_MS + 60_100, 400, clock)
    expect(clock.read()).toBe(SERVER_MS + 60_300)
  })
})
