import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import type { Redis } from 'iovalkey'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { SessionStore } from '../../lib/store/store.ts'
import { ValkeyKind, type ValkeyPlace } from '../store/stores.ts'
import { until } from '../support/until.ts'
import { collect } from './collected-endings.ts'
import type { EndOrder } from './ending-process.ts'
import { newSid, newUser, ownerOf, signIn, signInTimes } from './requests.ts'

const kind = new ValkeyKind()
let admin: Redis
let place: ValkeyPlace
let other: ChildProcess

beforeAll(async () => {
  await kind.start()
  admin = kind.server.client()
  place = kind.place()
  const program = new URL('./ending-process.ts', import.meta.url)
  const setting = JSON.stringify({ url: kind.server.url, prefix: place.prefix })
  other = fork(program, [setting], { execArgv: ['--import', 'tsx'] })
  await once(other, 'message')
})

afterAll(async () => {
  other.disconnect()
  await once(other, 'exit')
  await kind.stop()
})

const opened: SessionStore[] = []
afterEach(async () => {
  await Promise.all(opened.splice(0).map((store) => store.close()))
  await until(async () => (await subscribers()) === 0, { what: 'nobody listens any more' })
})

function open(): SessionStore {
  // Looked at again it would be found as well; here notices and gaps alone must tell.
  const store = place.open({ watchIntervalMs: 3_600_000 })
  opened.push(store)
  return store
}

async function endElsewhere(order: EndOrder): Promise<void> {
  const done = once(other, 'message')
  other.send(order)
  await done
}

/** How many connections of the server do nothing but listen. */
async function subscribers(): Promise<number> {
  const list = String(await admin.call('client', 'list', 'type', 'pubsub'))
  return list.split('\n').filter((line) => line !== '').length
}

test('an ending in another process is told by its notice, 20 times', async () => {
  const store = open()
  const user = newUser()
  const ofUser = collect(store.registry.watch({ userId: user }))
  for (let time = 1; time <= 20; time += 1) {
    const sid = await signIn(store, user)
    const watch = store.registry.watch({ sid })
    await endElsewhere({ handle: store.handle(sid) })

    expect(await watch.ended).toMatchObject({ handle: store.handle(sid), reason: 'elsewhere' })
    await until(() => ofUser.endings.length === time)
  }
})

test('5,000 watches cost one connection, and each is told', async () => {
  const store = open()
  const user = newUser()
  const sids = await signInTimes(store, user, 50)
  const watches = sids.flatMap((sid) => Array.from({ length: 99 }, () => store.registry.watch({ sid })))
  const ofUser = sids.map(() => collect(store.registry.watch({ userId: user })))
  await until(async () => (await subscribers()) > 0)

  await endElsewhere({ userId: user })
  const endings = await Promise.all(watches.map(({ ended }) => ended))
  await until(() => ofUser.every((heard) => heard.endings.length === sids.length))

  expect(watches.length + ofUser.length).toBe(5000)
  expect(await subscribers()).toBe(1)
  expect(new Set(endings.map(({ handle }) => handle))).toEqual(new Set(sids.map((sid) => store.handle(sid))))
  expect(new Set(endings.map(({ reason }) => reason))).toEqual(new Set(['elsewhere']))
})

test('nothing is missed while the listening connection is killed over and over, 20 times', async () => {
  const store = open()
  const user = newUser()
  const sids = await signInTimes(store, user, 20)
  const watches = sids.map((sid) => store.registry.watch({ sid }))
  const ofUser = collect(store.registry.watch({ userId: user }))
  await until(async () => (await subscribers()) === 1)
  let killed = 0
  for (const sid of sids) {
    // Ended after the connection was killed, beside it, and before it.
    const order = killed % 3
    if (order === 0) await endElsewhere({ handle: store.handle(sid) })
    const killing = admin.call('client', 'kill', 'type', 'pubsub')
    if (order === 1) await endElsewhere({ handle: store.handle(sid) })
    killed += Number(await killing)
    if (order === 2) await endElsewhere({ handle: store.handle(sid) })
    await until(async () => (await subscribers()) === 1)
  }

  const endings = await Promise.all(watches.map(({ ended }) => ended))
  await until(() => ofUser.endings.length === sids.length)

  const handles = sids.map((sid) => store.handle(sid))
  expect(endings.map(({ handle }) => handle)).toEqual(handles)
  expect(ofUser.handles().toSorted()).toEqual(handles.toSorted())
  expect(killed).toBe(20)
})

test('notices that somebody made up end nothing and tell nothing', async () => {
  const store = open()
  const user = newUser()
  const [sid = '', mark = '', ready = ''] = await signInTimes(store, user, 3)
  const ofSession = collect(store.registry.watch({ sid }))
  const ofUser = collect(store.registry.watch({ userId: user }))
  await store.registry.end({ sid: ready }, { reason: 'ready' })
  await until(() => ofUser.endings.length === 1)

  const [handle, unknown, owner] = [store.handle(sid), store.handle(newSid()), ownerOf(user)]
  for (const message of [handle, `${handle} ${owner}`, `${unknown} ${owner}`, unknown, 'nonsense', ''])
    expect(await admin.publish(`${place.prefix}:n`, message)).toBe(1)
  await store.registry.end({ sid: mark }, { reason: 'mark' })
  await until(() => ofUser.handles().includes(store.handle(mark)))

  expect(ofUser.endings.map(({ reason }) => reason)).toEqual(['ready', 'mark'])
  expect(ofSession).toMatchObject({ endings: [], isOver: false })
  expect(await store.get(sid)).toMatchObject({ userId: user })
})
