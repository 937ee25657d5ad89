/** The program of dropped.test.ts: drops things, collects garbage, and tells which of them were freed. Run with --expose-gc. */

import { setImmediate as nextTurn } from 'node:timers/promises'
import { InProcessBackend } from '../../lib/backend/in-process-backend.ts'
import { closeOnEnd } from '../../lib/http/close-on-end.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { PartsStore } from '../store/parts-store.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { newUser, signIn } from './requests.ts'

const { gc } = globalThis
if (gc === undefined) throw new Error('Run with --expose-gc')

/** Whether it comes to hold, with garbage collected in between; a collection may leave something for the next one. */
async function comesToHold(condition: () => boolean): Promise<boolean> {
  for (let tries = 0; tries < 50 && !condition(); tries += 1) {
    await nextTurn()
    gc?.()
  }
  return condition()
}

// Each in a function of its own: a variable of a suspended one holds on to what it names. All parts of a store that keep
// anything have its clock.
async function droppedStore(): Promise<WeakRef<object>> {
  const clock = { now: () => Date.now() }
  const store = new InProcessStore({ clock })
  await signIn(store, newUser())
  return new WeakRef(clock)
}

async function storeAfterWatches(): Promise<WeakRef<object>> {
  const clock = { now: () => Date.now() }
  const store = new InProcessStore({ clock })
  const user = newUser()
  const sid = await signIn(store, user)
  const ofSession = store.registry.watch({ sid })
  const stop = new AbortController()
  store.registry.watch({ userId: user }, { signal: stop.signal })
  await store.destroy(sid)
  await ofSession.ended
  stop.abort()
  return new WeakRef(clock)
}

async function storeWithWatches(): Promise<WeakRef<object>> {
  const clock = { now: () => Date.now() }
  const store = new InProcessStore({ clock })
  const user = newUser()
  const sid = await signIn(store, user)
  store.registry.watch({ sid })
  store.registry.watch({ userId: user })
  closeOnEnd({ store, target: { sid }, connection: { close: () => {}, once: () => {} } })
  return new WeakRef(clock)
}

/** A store, and whether any watch of it is left. */
function storeThatTells() {
  const backend = new InProcessBackend({ clock: { now: () => Date.now() } })
  const told = { isWatched: false }
  const subscribe: InProcessBackend['subscribe'] = (listener) => {
    const unsubscribe = backend.subscribe(listener)
    told.isWatched = true
    return () => {
      told.isWatched = false
      unsubscribe()
    }
  }
  return { store: new PartsStore(wrapBackend(backend, { subscribe })), told }
}

// The watch is gone with the function; only the promise is left.
function watchDropped(store: PartsStore, userId: string): Promise<unknown> {
  return store.registry.watch({ userId }).ended
}

async function watchLeft(): Promise<boolean> {
  const { store, told } = storeThatTells()
  const user = newUser()
  const ended = watchDropped(store, user)
  const sid = await signIn(store, user)
  // Dropped, it still owes the first ending.
  await comesToHold(() => false)
  const wasWatched = told.isWatched
  await store.destroy(sid)
  await ended
  return wasWatched && (await comesToHold(() => !told.isWatched))
}

async function watchRead(): Promise<boolean> {
  const { store, told } = storeThatTells()
  const user = newUser()
  const iterator = store.registry.watch({ userId: user })[Symbol.asyncIterator]()
  for (let time = 0; time < 2; time += 1) {
    await store.destroy(await signIn(store, user))
    await iterator.next()
    await comesToHold(() => false)
  }
  const isKept = told.isWatched
  await iterator.return?.()
  return isKept && !told.isWatched
}

const [store, watched, watching] = [await droppedStore(), await storeAfterWatches(), await storeWithWatches()]
process.stdout.write(
  JSON.stringify({
    store: await comesToHold(() => store.deref() === undefined),
    storeAfterWatches: await comesToHold(() => watched.deref() === undefined),
    storeWithWatches: await comesToHold(() => watching.deref() === undefined),
    watchLeft: await watchLeft(),
    watchRead: await watchRead(),
  }),
)
