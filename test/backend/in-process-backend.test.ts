import { spawnSync } from 'node:child_process'
import { setTimeout as delay } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { describe, expect, it, vi } from 'vitest'
import { InProcessBackend } from '../../lib/backend/in-process-backend.ts'
import { absent, allHandles, newBlob, newHandle, write } from './contract/subject.ts'
import { backendContract } from './contract.ts'

function createSettable(nowMs = 1_700_000_000_000) {
  const clock = { nowMs, now: () => clock.nowMs }
  return { clock, backend: new InProcessBackend({ clock }) }
}

backendContract('in process', async () => {
  const { clock, backend } = createSettable()
  const passTo = async (timeMs: number) => {
    clock.nowMs = Math.max(clock.nowMs, timeMs + 1)
  }
  return { backend, passTo }
})

describe('InProcessBackend', () => {
  it('keeps a record through the ms it expires in and not one more', async () => {
    const { clock, backend } = createSettable()
    const handle = newHandle()
    const { expiresAtMs = 0 } = await backend.put(handle, write(absent, newBlob(), { ttlMs: 1 }))

    clock.nowMs = expiresAtMs
    expect(await backend.get(handle, 1000)).toBeDefined()
    clock.nowMs = expiresAtMs + 1
    expect(await backend.get(handle, 1000)).toBeUndefined()
    expect(await allHandles(backend)).toEqual([])
    await backend.close()
  })

  it('neither writes nor touches at the very ms of the hard end', async () => {
    const { clock, backend } = createSettable()
    const handle = newHandle()
    const endsAtMs = clock.nowMs + 5
    await backend.put(handle, write(absent, newBlob(), { endsAtMs }))
    clock.nowMs = endsAtMs

    expect(await backend.touch(handle, 1000)).toBeUndefined()
    expect(await backend.put(newHandle(), write(absent, newBlob(), { endsAtMs }))).toEqual({ answer: 'gone' })
    await backend.close()
  })

  it('rounds a clock and a ttl with fractions to whole ms', async () => {
    const backend = new InProcessBackend({ clock: { now: () => 1000.9 } })

    expect(await backend.now()).toBe(1000)
    expect(await backend.put(newHandle(), write(absent, newBlob(), { ttlMs: 0.2 }))).toMatchObject({
      expiresAtMs: 1001,
    })
    await backend.close()
  })

  it('does not hold the process open', () => {
    const program = `
      import { InProcessBackend } from './lib/backend/in-process-backend.ts'
      const backend = new InProcessBackend({ clock: Date })
      await backend.end('${newHandle()}', { blob: Buffer.alloc(0), ownedTtlMs: 60000, fenceTtlMs: 60000 })
    `
    const args = ['--import', 'tsx', '--input-type=module', '--eval', program]
    const { status, stderr } = spawnSync(process.execPath, args, { timeout: 20_000, encoding: 'utf8' })

    expect({ status, stderr }).toEqual({ status: 0, stderr: '' })
  })

  it('sweeps its registry too', async ({ onTestFinished }) => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const { clock, backend } = createSettable()
    const owner = newHandle()
    await backend.registry.enroll(owner, {
      handle: newHandle(),
      ttlMs: 10,
      beyondCap: 'evict',
      takenWithinMs: 1000,
    })
    clock.nowMs += 11
    vi.advanceTimersByTime(61_000)

    // A clock set back would show what is still there.
    clock.nowMs -= 11
    expect((await backend.registry.roster(owner)).members).toEqual([])
    await backend.close()
  })

  it('frees what expired without being asked for it', async ({ onTestFinished }) => {
    vi.useFakeTimers({ toFake: ['setInterval', 'clearInterval'] })
    onTestFinished(() => void vi.useRealTimers())
    const { clock, backend } = createSettable()
    for (let count = 0; count < 200; count += 1) {
      await backend.put(newHandle(), write(absent, newBlob(100_000), { ttlMs: 10 }))
    }
    clock.nowMs += 1000

    const heldBytes = await leastBufferBytes()
    vi.advanceTimersByTime(61_000)
    expect(heldBytes - (await leastBufferBytes())).toBeGreaterThan(15_000_000)
    await backend.close()
  })
})

// The collector frees buffers in the background, some rounds after their last use.
async function leastBufferBytes(): Promise<number> {
  setFlagsFromString('--expose-gc')
  const collect: () => void = runInNewContext('gc')
  let least = Number.POSITIVE_INFINITY
  for (let round = 0; round < 10; round += 1) {
    collect()
    await delay(10)
    least = Math.min(least, process.memoryUsage().arrayBuffers)
  }
  return least
}
