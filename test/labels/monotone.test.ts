import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { fileURLToPath } from 'node:url'
import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { LabelLimitError } from '../../lib/errors.ts'
import { placeOf } from '../../lib/labels/label.ts'
import type { LabelStore } from '../../lib/labels/label-store.ts'
import { TestClock } from '../support/clock.ts'
import { Random } from '../support/random.ts'
import { SEED } from '../support/seed.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import type { Adding } from './adding-process.ts'
import { newSid, openMemory, openValkey } from './subjects.ts'

const OPERATIONS = inject('suite') === 'long' ? 10_000 : 3000
const LANES = 20
const NAMES = Array.from({ length: 70 }, (_, index) => `label-${index}`)

let server: ValkeyServer
let admin: Redis

beforeAll(async () => {
  server = await startValkey()
  admin = server.client()
})

afterAll(() => server?.stop())

interface Model {
  readonly labels: Set<string>
  /** Every label it ever had. */
  readonly names: Set<string>
}

type Operation = (store: LabelStore, sid: string, model: Model, random: Random) => Promise<void>

const some = (random: Random) => NAMES.filter(() => random.below(20) === 0)

// `expect` would cost more than what it looks at, 10,000 times over.
function check(found: ReadonlySet<string> | undefined, wanted: ReadonlySet<string> | undefined): void {
  const isSame = found?.size === wanted?.size && [...(wanted ?? [])].every((label) => found?.has(label))
  if (!isSame) expect(found).toEqual(wanted)
}

const add: Operation = async (store, sid, model, random) => {
  const labels = some(random)
  if (new Set([...model.names, ...labels]).size > 64) {
    const failure: unknown = await store.add(sid, labels).catch((error: unknown) => error)
    return expect(failure).toBeInstanceOf(LabelLimitError)
  }
  const answer = await store.add(sid, labels)
  for (const label of labels) {
    model.labels.add(label)
    model.names.add(label)
  }
  check(answer, labels.length === 0 ? undefined : model.labels)
}

const load: Operation = async (store, sid, model) => {
  const { state, labels } = await store.load(sid)
  check(labels, model.labels)
  check(new Set([state]), new Set([model.names.size > 0 ? 'stored' : 'empty']))
}

const loadRemembering: Operation = async (store, sid, model, random) => {
  // What a session remembers is what it once had.
  const remembered = [...model.names].filter(() => random.below(2) === 0)
  const { labels } = await store.load(sid, { remembered, atLeastMs: 1 + random.below(100_000) })
  check(labels, model.labels)
}

const misuse: Operation = async (store, sid) => {
  const failure: unknown = await store.add(sid, ['fine', 'not fine']).catch((error: unknown) => error)
  expect(failure).toBeInstanceOf(TypeError)
}

const declassify: Operation = async (store, sid, model, random) => {
  const labels = [...model.labels].filter(() => random.below(4) === 0)
  if (labels.length === 0) return
  for (const label of labels) model.labels.delete(label)
  check(await store.declassify({ sid, labels, actor: { type: 'test' }, reason: 'test' }), model.labels)
}

const operations: readonly Operation[] = [
  add,
  add,
  add,
  load,
  load,
  loadRemembering,
  loadRemembering,
  misuse,
  declassify,
]

async function lane(stores: readonly LabelStore[], random: Random): Promise<void> {
  let sid = newSid()
  let model: Model = { labels: new Set(), names: new Set() }
  for (let done = 0; done < OPERATIONS / LANES; done += 1) {
    if (random.below(100) === 0) {
      sid = newSid()
      model = { labels: new Set(), names: new Set() }
    }
    const store = stores[random.below(stores.length)]
    await operations[random.below(operations.length)]?.(store as LabelStore, sid, model, random)
  }
}

describe(`labels only grow, but for declassification (SEED=${SEED})`, () => {
  it.each<[string, () => readonly LabelStore[]]>([
    // A clock that stands still: a release is refused when it comes late.
    ['in process', () => [openMemory({ clock: new TestClock() }).store]],
    [
      'on Valkey, by three nodes',
      () => Array.from({ length: 3 }, () => openValkey(server.url, { commandTimeoutMs: 20_000 }).store),
    ],
  ])(`in ${OPERATIONS} random operations %s`, async (_, open) => {
    const stores = open()

    const lanes = Array.from({ length: LANES }, (_, index) => lane(stores, new Random(SEED + index)))

    await expect(Promise.all(lanes)).resolves.toHaveLength(LANES)
    await Promise.all(stores.map((store) => store.close()))
  })

  it('when 50 labels are added in parallel by two processes, 200 times', async () => {
    const file = fileURLToPath(new URL('adding-process.ts', import.meta.url))
    const children = [1, 2].map(() => fork(file, [server.url], { execArgv: ['--import', 'tsx'] }))
    await Promise.all(children.map((child) => once(child, 'message')))
    const { store } = openValkey(server.url)
    const labels = NAMES.slice(0, 50)
    const missing: string[] = []
    for (let round = 0; round < 200; round += 1) {
      const sid = newSid()

      const answers = await Promise.all([
        tell(children[0], { sid, labels: labels.slice(0, 25) }),
        tell(children[1], { sid, labels: labels.slice(25) }),
      ])

      expect(answers).toEqual(['added', 'added'])
      const held = (await store.load(sid)).labels
      missing.push(...labels.filter((label) => !held.has(label)))
      expect(await admin.pttl(placeOf('taint:v1', sid).key)).toBeGreaterThan(500_000)
    }
    for (const child of children) child.disconnect()
    await store.close()

    expect(missing).toEqual([])
  })
})

async function tell(child: ChildProcess | undefined, adding: Adding): Promise<string> {
  if (!child) throw new Error('forked above')
  const answer = once(child, 'message') as Promise<[string]>
  child.send(adding)
  return (await answer)[0]
}
