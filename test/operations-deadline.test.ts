import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { withDeadline } from '../lib/operations.ts'

const late = () => new Error('late')
const never = () => new Promise<never>(() => {})

describe('withDeadline', () => {
  beforeEach(() => {
    vi.useFakeTimers()
  })
  afterEach(() => {
    vi.useRealTimers()
  })

  test('settles as the work does and leaves no timer behind', async () => {
    const failure = new Error('failed')

    await expect(withDeadline(Promise.resolve(5), 100, late)).resolves.toBe(5)
    await expect(withDeadline(Promise.reject(failure), 100, late)).rejects.toBe(failure)
    expect(vi.getTimerCount()).toBe(0)
  })

  test('rejects at the deadline and not before', async () => {
    const settled = vi.fn()
    const outcome = withDeadline(never(), 100, late)
    outcome.catch(settled)

    await vi.advanceTimersByTimeAsync(99)
    expect(settled).not.toHaveBeenCalled()
    await vi.advanceTimersByTimeAsync(1)
    await vi.advanceTimersToNextTimerAsync()

    await expect(outcome).rejects.toThrow('late')
    expect(vi.getTimerCount()).toBe(0)
  })

  test('swallows a failure of the work after the deadline', async () => {
    const unhandled = vi.fn()
    process.on('unhandledRejection', unhandled)
    let fail: (error: Error) => void = () => {}
    const outcome = withDeadline(new Promise<never>((_, reject) => (fail = reject)), 100, late)
    outcome.catch(() => {})
    await vi.advanceTimersByTimeAsync(100)
    await vi.advanceTimersToNextTimerAsync()

    fail(new Error('too late to matter'))
    await vi.advanceTimersByTimeAsync(0)
    vi.useRealTimers()
    await new Promise((resolve) => setImmediate(resolve))

    process.off('unhandledRejection', unhandled)
    await expect(outcome).rejects.toThrow('late')
    expect(unhandled).not.toHaveBeenCalled()
  })
})
