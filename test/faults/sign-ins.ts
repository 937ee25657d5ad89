import type { Inventory } from './checks/evidence.ts'
import { insist } from './insist.ts'
import type { Scene } from './scene.ts'
import type { StoreUnderTest } from './store-under-test.ts'
import type { Subject, User } from './subject.ts'

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
export async function signInCalmly(scene: Scene, terms: ClearingTerms): Promise<readonly Clearing[]> {
  const [first] = scene.stores
  if (first === undefined) return []
  const clearings: Clearing[] = []
  for (const user of scene.users) clearings.push(await clear(scene, first.store, { ...terms, user }))
  return clearings
}

async function clear(
  scene: Scene,
  store: StoreUnderTest,
  { user, cap, inventory }: ClearingTerms & { user: User },
): Promise<Clearing> {
  const older = user.subjects.filter((subject) => inventory.contents.has(subject))
  const newer: Subject[] = []
  for (let made = 0; made < cap; made += 1) newer.push(await signIn(scene, store, user))
  const listed = await insist(() => scene.journal.call('list', () => store.registry.list(user.name)))
  const handles = new Set(listed.map(({ handle }) => handle))
  let [left, missing] = [0, 0]
  for (const subject of older) if (await lives(scene, store, subject)) left += 1
  for (const subject of newer) {
    if (!handles.has(store.handle(subject.sid)) || !(await lives(scene, store, subject))) missing += 1
  }
  return { user, missing, left, listed: handles.size }
}

async function signIn(scene: Scene, store: StoreUnderTest, user: User): Promise<Subject> {
  const subject = scene.begin('mortal', user)
  const live = scene.generate(store, subject)
  await insist(async () => {
    const outcome = await scene.journal.call('save', () => store.set(subject.sid, live))
    subject.creations.push(outcome.call)
    return outcome
  })
  return subject
}

async function lives(scene: Scene, store: StoreUnderTest, subject: Subject): Promise<boolean> {
  return (await insist(() => scene.read(store, subject))) !== null
}
