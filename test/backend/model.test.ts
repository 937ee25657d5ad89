import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import type { Backend, Expectation } from '../../lib/backend/backend.ts'
import { InProcessBackend } from '../../lib/backend/in-process-backend.ts'
import type { ValkeyClient } from '../../lib/backend/valkey/connection/client.ts'
import { SEED } from '../support/seed.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { allHandles, newBlob, newHandle, newOwner } from './contract/subject.ts'
import { openBackend, openReadyClient, passTo } from './valkey/subjects.ts'

const HANDLES = Array.from({ length: 3 }, newHandle)
const OWNERS = [undefined, newOwner(), newOwner()]
const BLOBS = [newBlob(16), newBlob(100), newBlob(300), newBlob(300)]
const NOTE = Buffer.from('why')

// Far apart, so that an expiry tells which of them it came from, whatever a run takes.
const TTLS_MS = [100_000, 300_000, 500_000]
const HARD_ENDS_MS = [undefined, -1000, 200_000, 400_000]
const isLong = inject('suite') === 'long'
const GRAIN_MS = 50_000

interface Step {
  readonly verb: 'put' | 'touch' | 'end' | 'get' | 'lapse' | 'fence briefly'
  readonly handle: string
  readonly expectation: 'absent' | 'any' | number
  readonly blob: number
  readonly owner: string | undefined
  readonly ttlMs: number
  readonly endsInMs: number | undefined
  readonly maxBytes: number
}

const step: fc.Arbitrary<Step> = fc.record({
  verb: fc.constantFrom('put', 'put', 'put', 'touch', 'end', 'get', 'get', 'lapse', 'fence briefly'),
  handle: fc.constantFrom(...HANDLES),
  expectation: fc.oneof(fc.constantFrom('absent' as const, 'any' as const), fc.nat(BLOBS.length - 1)),
  blob: fc.nat(BLOBS.length - 1),
  owner: fc.constantFrom(...OWNERS),
  ttlMs: fc.constantFrom(...TTLS_MS),
  endsInMs: fc.constantFrom(...HARD_ENDS_MS),
  maxBytes: fc.constantFrom(99, 1000),
})

/** A backend, the time its run began, and how to let a few ms of its clock pass. */
interface Side {
  readonly backend: Backend
  readonly startMs: number
  pass(untilMs: number): Promise<void>
}

function blobAt(index: number): Buffer {
  return BLOBS[index] ?? expect.fail('steps name blobs that are there')
}

function expectationOf(expectation: Step['expectation']): Expectation {
  if (typeof expectation !== 'number') return { kind: expectation }
  return { kind: 'version', etag: blobAt(expectation).subarray(-16) }
}

async function take(side: Side, { verb, handle, ...step }: Step): Promise<unknown> {
  const { backend } = side
  if (verb === 'get') return backend.get(handle, step.maxBytes)
  if (verb === 'touch') return backend.touch(handle, step.ttlMs)
  if (verb === 'end') return backend.end(handle, { blob: NOTE, ownedTtlMs: 300_000, fenceTtlMs: 100_000 })
  if (verb === 'lapse') {
    const expiresAtMs = await backend.touch(handle, 1)
    if (expiresAtMs !== undefined) await side.pass(expiresAtMs)
    return expiresAtMs !== undefined
  }
  if (verb === 'fence briefly') {
    const reply = await backend.end(handle, { blob: NOTE, ownedTtlMs: 1, fenceTtlMs: 1 })
    await side.pass((await backend.now()) + 5)
    return reply
  }
  const endsAtMs = step.endsInMs === undefined ? undefined : side.startMs + step.endsInMs
  const expectation = expectationOf(step.expectation)
  return backend.put(handle, {
    expect: expectation,
    blob: blobAt(step.blob),
    ttlMs: step.ttlMs,
    endsAtMs,
    owner: step.owner,
  })
}

/** The reply with its times counted from the start of the run, in grains. */
function settled(side: Side, reply: unknown): unknown {
  const grains = (timeMs: number) => Math.round((timeMs - side.startMs) / GRAIN_MS)
  if (typeof reply === 'number') return grains(reply)
  if (typeof reply !== 'object' || reply === null || !('expiresAtMs' in reply)) return reply
  return {
    ...reply,
    expiresAtMs: typeof reply.expiresAtMs === 'number' ? grains(reply.expiresAtMs) : undefined,
  }
}

async function replay(side: Side, batches: readonly (readonly Step[])[]): Promise<unknown[]> {
  const trace: unknown[] = []
  for (const batch of batches) {
    const replies = await Promise.all(batch.map((step) => take(side, step)))
    trace.push(...replies.map((reply) => settled(side, reply)))
  }
  for (const handle of HANDLES) trace.push(settled(side, await side.backend.get(handle, 1000)))
  trace.push(new Set(await allHandles(side.backend)))
  await side.backend.close()
  return trace
}

function openInProcess(): Side {
  const clock = { nowMs: 1_700_000_000_000, now: () => clock.nowMs }
  const pass = async (untilMs: number) => {
    clock.nowMs = Math.max(clock.nowMs, untilMs + 1)
  }
  return { backend: new InProcessBackend({ clock }), startMs: clock.nowMs, pass }
}

describe('random steps', () => {
  let server: ValkeyServer
  let client: ValkeyClient

  beforeAll(async () => {
    server = await startValkey()
    client = await openReadyClient({ url: server.url })
  })

  afterAll(async () => {
    client.disconnect()
    await server.stop()
  })

  async function openOnValkey(): Promise<Side> {
    const backend = openBackend(client)
    return { backend, startMs: await backend.now(), pass: (untilMs) => passTo(client, untilMs) }
  }

  it('have the same answers on Valkey as in process, one after another', async () => {
    const run = fc.asyncProperty(fc.array(step, { minLength: 10, maxLength: 40 }), async (steps) => {
      const batches = steps.map((single) => [single])
      expect(await replay(await openOnValkey(), batches)).toEqual(await replay(openInProcess(), batches))
    })
    await fc.assert(run, { seed: SEED, numRuns: isLong ? 400 : 80 })
  })

  it('have the same answers on Valkey as in process, several in flight at once', async () => {
    const untimed = step.filter(({ verb }) => verb !== 'lapse' && verb !== 'fence briefly')
    const run = fc.asyncProperty(
      fc.array(fc.array(untimed, { minLength: 1, maxLength: 8 }), { maxLength: 10 }),
      async (batches) => {
        expect(await replay(await openOnValkey(), batches)).toEqual(await replay(openInProcess(), batches))
      },
    )
    await fc.assert(run, { seed: SEED, numRuns: isLong ? 200 : 40 })
  })
})
