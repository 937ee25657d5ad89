import type { SessionData } from 'express-session'
import { until } from '../support/until.ts'
import type { Inventory } from './checks/evidence.ts'
import type { StoreUnderTest } from './store-under-test.ts'
import type { Subject, User } from './subject.ts'
import { untilAcknowledged } from './until-acknowledged.ts'
import type { Workload } from './workload.ts'

const SIDE_BY_SIDE = 16
const HEALS_WITHIN_MS = 20_000

/** Waits until every store answers again. */
export async function untilHealed(workload: Workload): Promise<void> {
  const [subject] = workload.subjects
  if (subject === undefined) return
  await until(
    async () => {
      const reads = await Promise.all(workload.stores.map(({ store }) => workload.read(store, subject)))
      return reads.every(({ call }) => call.verdict === 'acked')
    },
    { withinMs: HEALS_WITHIN_MS, everyMs: 100, what: 'every store answers again' },
  )
}

/** Takes stock, through all stores in turn. Lists come first: they finish what interrupted sign-ins left undone. */
export async function takeInventory(workload: Workload): Promise<Inventory> {
  const lists = new Map<User, readonly string[]>()
  await eachOf(workload.users, async (user, index) => {
    lists.set(user, await listOf(workload, storeAt(workload, index), user))
  })
  const contents = new Map<Subject, SessionData>()
  await eachOf(workload.subjects, async (subject, index) => {
    const content = await contentOf(workload, storeAt(workload, index), subject)
    if (content !== null) contents.set(subject, content)
  })
  return { lists, contents }
}

async function listOf(workload: Workload, store: StoreUnderTest, user: User): Promise<string[]> {
  const value = await untilAcknowledged(() =>
    workload.history.call('list', () => store.registry.list(user.name)),
  )
  return value.map(({ handle }) => handle)
}

function contentOf(workload: Workload, store: StoreUnderTest, subject: Subject): Promise<SessionData | null> {
  return untilAcknowledged(() => workload.read(store, subject))
}

function storeAt({ stores }: Workload, index: number): StoreUnderTest {
  const named = stores[index % stores.length]
  if (named === undefined) throw new Error('A workload needs a store')
  return named.store
}

async function eachOf<Item>(
  items: readonly Item[],
  visit: (item: Item, index: number) => Promise<void>,
): Promise<void> {
  const queue = items.entries()
  const work = async () => {
    for (const [index, item] of queue) await visit(item, index)
  }
  await Promise.all(Array.from({ length: SIDE_BY_SIDE }, work))
}
