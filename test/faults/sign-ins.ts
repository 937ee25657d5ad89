import type { Scene } from './scene.ts'
import type { StoreUnderTest } from './store-under-test.ts'
import type { Subject, User } from './subject.ts'

/** Every user signs in until the cap is reached: whatever went wrong before, exactly those sessions are left. */
export async function signInCalmly(scene: Scene, cap: number): Promise<readonly Clearing[]> {
  const [first] = scene.stores
  if (first === undefined) return []
  return Promise.all(scene.users.map((user) => clear(scene, first.store, { user, cap })))
}

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

async function clear(scene: Scene, store: StoreUnderTest, { user, cap }: { user: User; cap: number }): Promise<Clearing> {
  const older = [...user.subjects]
  const newer: Subject[] = []
  for (let made = 0; made < cap; made += 1) newer.push(await signIn(scene, store, user))
  const listed = await scene.journal.call('list', () => store.registry.list(user.name))
  const handles = new Set(listed.value?.map(({ handle }) => handle))
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
  const { call } = await scene.journal.call('save', () => store.set(subject.sid, live))
  subject.creations.push(call)
  return subject
}

async function lives(scene: Scene, store: StoreUnderTest, subject: Subject): Promise<boolean> {
  const { value } = await scene.read(store, subject)
  return value !== null && value !== undefined
}
