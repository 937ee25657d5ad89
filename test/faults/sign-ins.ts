import type { Inventory } from './checks/evidence.ts'
import type { StoreUnderTest } from './store-under-test.ts'
import type { Subject, User } from './subject.ts'
import { untilAcknowledged } from './until-acknowledged.ts'
import type { Workload } from './workload.ts'

/** What one user's calm sign-ins left. */
export interface Clearing {
  readonly user: User
  /** How many of the new sessions are not in the list, or cannot be read. */
  readonly missing: number
  /** How many older sessions can still be read. */
  readonly left: number
  /** How many the list shows. */
  readonly listed: number
}

export interface ClearingTerms {
  readonly cap: number
  readonly inventory: Inventory
}

/** Every user signs in until the cap is reached: whatever went wrong before, exactly those sessions are left. */
export async function signInCalmly(workload: Workload, terms: ClearingTerms): Promise<readonly Clearing[]> {
  const [first] = workload.stores
  if (first === undefined) return []
  const clearings: Clearing[] = []
  for (const user of workload.users) clearings.push(await clear(workload, first.store, { ...terms, user }))
  return clearings
}

async function clear(
  workload: Workload,
  store: StoreUnderTest,
  { user, cap, inventory }: ClearingTerms & { user: User },
): Promise<Clearing> {
  const older = user.subjects.filter((subject) => inventory.contents.has(subject))
  const newer: Subject[] = []
  for (let made = 0; made < cap; made += 1) newer.push(await signIn(workload, store, user))
  const listed = await untilAcknowledged(() =>
    workload.history.call('list', () => store.registry.list(user.name)),
  )
  const handles = new Set(listed.map(({ handle }) => handle))
  let [left, missing] = [0, 0]
  for (const subject of older) if (await lives(workload, store, subject)) left += 1
  for (const subject of newer) {
    if (!handles.has(store.handle(subject.sid)) || !(await lives(workload, store, subject))) missing += 1
  }
  return { user, missing, left, listed: handles.size }
}

async function signIn(workload: Workload, store: StoreUnderTest, user: User): Promise<Subject> {
  const subject = workload.begin('mortal', user)
  const live = workload.generate(store, subject)
  await untilAcknowledged(async () => {
    const outcome = await workload.history.call('save', () => store.set(subject.sid, live))
    subject.creations.push(outcome.call)
    return outcome
  })
  return subject
}

async function lives(workload: Workload, store: StoreUnderTest, subject: Subject): Promise<boolean> {
  return (await untilAcknowledged(() => workload.read(store, subject))) !== null
}
