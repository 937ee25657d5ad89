import fc, { type Scheduler } from 'fast-check'
import { afterAll, beforeAll, describe, expect, inject, test } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import type { SessionStoreOptions } from '../../lib/store/options.ts'
import type { SessionStore } from '../../lib/store/store.ts'
import { SEED } from '../support/seed.ts'
import { failureOf } from './failure-of.ts'
import { generateSession, loadSession, storedContent } from './live-session.ts'
import { type Care, careful, createNaiveBackend } from './naive-backend.ts'
import { PartsStore, SECRET } from './parts-store.ts'
import { InProcessKind, type StoreKind, ValkeyKind } from './stores.ts'
import { wrapBackend } from './wrap-backend.ts'

/** Makes stores on the records of one run, each as a process of its own has it. */
interface Ground {
  readonly backend: Backend
  open(backend: Backend, options?: SessionStoreOptions): SessionStore
}

// Two secrets change places, so that due touches and saves seal anew.
const NEWER = 'the newer secret, as long as it has to be'
const EAGER = { touchAfter: 0, ttl: 600, secrets: [SECRET, NEWER] }
const ROTATED = { ...EAGER, secrets: [NEWER, SECRET] }

const isLong = inject('suite') === 'long'

// How many verbs do something, rather than wait for a turn.
let running = 0

// After each step, until all that it set in motion waits for a turn of its own: what takes a little longer than the
// scheduler would otherwise always come last.
const schedulers = fc.scheduler({
  act: async (step) => {
    await step()
    for (let turns = 0; turns < 4; turns = running > 0 ? 0 : turns + 1)
      await new Promise((resolve) => setImmediate(resolve))
  },
})

/** Every verb waits for its turn before it begins, and once more before its reply is delivered. */
function scheduled(inner: Backend, scheduler: Scheduler, by: string): Backend {
  const turn = (what: string) => scheduler.schedule(Promise.resolve(), `${by} ${what}`)
  const taking = <Args extends unknown[], Reply>(name: string, verb: (...args: Args) => Promise<Reply>) => {
    return async (...args: Args): Promise<Reply> => {
      await turn(name)
      running += 1
      const reply = await verb(...args).finally(() => {
        running -= 1
      })
      await turn(`${name}'s reply`)
      return reply
    }
  }
  return wrapBackend(inner, {
    get: taking('get', inner.get.bind(inner)),
    put: taking('put', inner.put.bind(inner)),
    touch: taking('touch', inner.touch.bind(inner)),
    end: taking('end', inner.end.bind(inner)),
  })
}

/** A request that loads the session, changes a key of its own, and saves, as often as said. */
async function write(store: SessionStore, key: string, times: number): Promise<boolean> {
  const live = await loadSession(store, 'sid')
  if (live === undefined) return false
  const saves = Array.from({ length: times }, (_, n) => {
    live[key] = n + 1
    return failureOf(store.set('sid', live))
  })
  const failures = await Promise.all(saves)
  return failures.every((failure) => failure === undefined)
}

async function touch(store: SessionStore): Promise<void> {
  const live = await loadSession(store, 'sid')
  if (live) await failureOf(store.touch('sid', live))
}

/** Ended is ended: whatever else is in flight, nobody reads the session from the moment its end is acknowledged. */
function endedIsEnded(place: (scheduler: Scheduler) => Ground) {
  return fc.asyncProperty(schedulers, fc.boolean(), async (scheduler, isThere) => {
    const { backend, open } = place(scheduler)
    const direct = open(backend, { secrets: EAGER.secrets })
    if (isThere) await direct.set('sid', generateSession(direct, 'sid', { content: { user: 'alice' } }))
    const storeOf = (by: string) => open(scheduled(backend, scheduler, by), EAGER)
    const rotating = open(scheduled(backend, scheduler, 'rotating'), ROTATED)
    const creator = storeOf('creator')

    let readAfterEnd: unknown = null
    const ending = storeOf('ender')
      .destroy('sid')
      .then(async () => {
        readAfterEnd = await direct.get('sid')
      })
    await scheduler.waitFor(
      Promise.all([
        ending,
        write(storeOf('one'), 'one', 2),
        write(rotating, 'two', 1),
        touch(storeOf('three')),
        touch(rotating),
        isThere ? undefined : failureOf(creator.set('sid', generateSession(creator, 'sid'))),
        failureOf(storeOf('script').set('sid', { cookie: {}, script: 1 } as never)),
      ]),
    )

    expect(readAfterEnd).toBeNull()
    expect(await direct.get('sid')).toBeNull()
    expect(
      await direct.set('sid', { cookie: {} } as never).then(
        () => 'stored',
        () => 'refused',
      ),
    ).toBe('refused')
  })
}

/** Nothing is lost: every key that an acknowledged save set is there, with the last value that its request gave it. */
function nothingIsLost(place: (scheduler: Scheduler) => Ground) {
  return fc.asyncProperty(schedulers, async (scheduler) => {
    const { backend, open } = place(scheduler)
    const direct = open(backend)
    await direct.set('sid', generateSession(direct, 'sid', { content: { kept: 0 } }))
    const shared = open(scheduled(backend, scheduler, 'shared'), EAGER)
    const rotating = open(scheduled(backend, scheduler, 'rotating'), ROTATED)

    const [areSaved] = await scheduler.waitFor(
      Promise.all([
        Promise.all([
          write(shared, 'one', 2),
          write(shared, 'two', 1),
          write(rotating, 'three', 2),
          write(rotating, 'four', 1),
        ]),
        touch(shared),
        touch(rotating),
      ]),
    )

    const reader = open(backend, ROTATED)
    expect(areSaved).toEqual([true, true, true, true])
    expect(await storedContent(reader, 'sid')).toEqual({ kept: 0, one: 2, two: 1, three: 2, four: 1 })
  })
}

function groundOf(kind: StoreKind): (scheduler: Scheduler) => Ground {
  return () => {
    const place = kind.place()
    return {
      backend: place.backend(),
      open: (backend, options) => place.over(backend, { deadlineMs: 60_000, ...options }),
    }
  }
}

async function pauseOf(scheduler: Scheduler): Promise<void> {
  running -= 1
  await scheduler.schedule(Promise.resolve(), 'a pause')
  running += 1
}

function naiveGround(
  lack: Partial<Care>,
  options: SessionStoreOptions = {},
): (scheduler: Scheduler) => Ground {
  return (scheduler) => ({
    backend: createNaiveBackend({ ...careful, ...lack }, () => pauseOf(scheduler)),
    open: (backend, more) => new PartsStore(backend, { deadlineMs: 60_000, ...options, ...more }),
  })
}

describe.each([
  { kind: new InProcessKind(), numRuns: isLong ? 200 : 60 },
  { kind: new ValkeyKind(), numRuns: isLong ? 40 : 15 },
])('whatever the order of the steps $kind.name', ({ kind, numRuns }) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  test(`ended is ended, in ${numRuns} random orders`, async () => {
    await fc.assert(endedIsEnded(groundOf(kind)), { seed: SEED, numRuns })
  })

  test(`nothing is lost, in ${numRuns} random orders`, async () => {
    await fc.assert(nothingIsLost(groundOf(kind)), { seed: SEED, numRuns })
  })
})

describe('the same properties', () => {
  const runs = { seed: SEED, numRuns: 300, endOnFailure: true }

  test('hold for a naive backend with all care, so that the cases below fail for their reason', async () => {
    await fc.assert(endedIsEnded(naiveGround({})), { seed: SEED, numRuns: 100 })
    await fc.assert(nothingIsLost(naiveGround({})), { seed: SEED, numRuns: 100 })
  })

  test.each([
    ['ignores tombstones', { heedsTombstones: false }],
    ['leaves no tombstone', { leavesTombstones: false }],
    ['writes back what it has read when it touches', { touchesInPlace: false }],
  ])('catch a backend that %s: an ended session comes back', async (_, lack) => {
    const { failed } = await fc.check(endedIsEnded(naiveGround(lack)), runs)

    expect(failed).toBe(true)
  })

  test.each([
    ['a backend that ignores etags', naiveGround({ heedsEtags: false })],
    ['a backend that writes back what it has read when it touches', naiveGround({ touchesInPlace: false })],
    ['a store that overwrites', naiveGround({}, { concurrency: 'overwrite' })],
  ])('catch %s: an update is lost', async (_, ground) => {
    const { failed } = await fc.check(nothingIsLost(ground), runs)

    expect(failed).toBe(true)
  })
})
