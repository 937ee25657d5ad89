import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { SessionTarget, WatchTarget } from '../../lib/registry/targets.ts'
import { InProcessStore } from '../../lib/store/in-process-store.ts'
import { failureOf } from '../store/failure-of.ts'
import { storeKinds } from '../store/stores.ts'
import { newUser, signIn, validOf } from './requests.ts'

// As `genid: () => randomBytes(32).toString('base64url')` makes it.
const newLookalike = (): string => randomBytes(32).toString('base64url')

describe.each(storeKinds())('a session id that looks like a handle, $name,', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  async function signedIn() {
    const store = kind.place().share({ verifyOwner: 'always' })
    const user = newUser()
    const [sid, other] = [newLookalike(), newLookalike()]
    await signIn(store, user, sid)
    await signIn(store, user, other)
    return { store, user, sid, other }
  }

  test('names its session in end, ending and watch', async () => {
    const { store, sid, other } = await signedIn()
    const watch = store.registry.watch({ sid })

    const { outcome } = await store.registry.end({ sid }, { reason: 'stolen' })

    expect(outcome).toBe('ended')
    expect(await watch.ended).toMatchObject({ handle: store.handle(sid), reason: 'stolen' })
    expect(await store.registry.ending({ sid })).toMatchObject({ reason: 'stolen' })
    expect(await store.registry.ending({ handle: sid })).toBeUndefined()
    expect(await validOf(store, [sid, other])).toEqual([other])
  })

  test('names its session in except and current', async () => {
    const { store, user, sid, other } = await signedIn()

    const listed = await store.registry.list(user, { current: { sid } })
    const { ended } = await store.registry.endAll(user, { except: { sid } })

    expect(listed.filter(({ isCurrent }) => isCurrent).map(({ handle }) => handle)).toEqual([
      store.handle(sid),
    ])
    expect(ended).toEqual([store.handle(other)])
    expect(await validOf(store, [sid, other])).toEqual([sid])
  })

  test('is not-found as a handle', async () => {
    const { store, sid, other } = await signedIn()

    expect((await store.registry.end({ handle: sid })).outcome).toBe('not-found')
    expect(await validOf(store, [sid, other])).toEqual([sid, other])
  })
})

const store = new InProcessStore()
afterAll(() => store.close())
const handle = store.handle('some-session')

const calls: readonly (readonly [string, (target: SessionTarget) => unknown])[] = [
  ['end', (target) => store.registry.end(target)],
  ['ending', (target) => store.registry.ending(target)],
  ['endAll', (except) => store.registry.endAll('alice', { except })],
  ['list', (current) => store.registry.list('alice', { current })],
  ['watch', (target) => store.registry.watch(target as WatchTarget)],
]

const wrong: readonly (readonly [string, unknown, object])[] = [
  [
    'a session id',
    'some-session',
    { name: 'TypeError', message: expect.stringContaining('write { sid: … }') },
  ],
  ['a handle', handle, { name: 'TypeError', message: expect.stringContaining('{ handle: … }') }],
  ['nothing', null, { name: 'TypeError', message: expect.stringContaining('{ sid } or { handle }') }],
  ['an empty object', {}, { name: 'TypeError', message: expect.stringContaining('exactly one') }],
  ['both', { sid: 'a', handle }, { name: 'TypeError', message: expect.stringContaining('exactly one') }],
  ['another key', { id: 'a' }, { name: 'TypeError', message: expect.stringContaining('"id"') }],
  ['a list', ['a'], { name: 'TypeError' }],
  [
    'no handle',
    { handle: 'some-session' },
    { name: 'TypeError', message: expect.stringContaining('.handle"') },
  ],
  ['a missing handle', { handle: undefined }, { name: 'TypeError' }],
  ['no session id', { sid: 'with spaces in it' }, { code: 'ERR_SESSION_ID' }],
  ['a missing session id', { sid: undefined }, { code: 'ERR_SESSION_ID' }],
]

describe.each(calls)('the target of %s', (_, call) => {
  test.each(wrong)('is refused if it is %s', async (_, target, failure) => {
    expect(await failureOf((async () => call(target as SessionTarget))())).toMatchObject(failure)
  })
})

test.each([
  [
    'end',
    () => store.registry.end({ handle }, { resaon: 'a' } as object),
    'reason, actor, replicas, timeoutMs',
  ],
  [
    'endAll',
    () => store.registry.endAll('alice', { excpet: { handle } } as object),
    'except, kind, reason, actor, replicas, timeoutMs',
  ],
  [
    'list',
    () => store.registry.list('alice', { curent: { handle } } as object),
    'includeEnded, limit, current, kind',
  ],
  ['watch', () => store.registry.watch({ handle }, { singal: 1 } as object), 'signal, kind'],
  ['commit', () => store.commit({} as never, { saveUninitialised: true } as object), 'saveUninitialized'],
])('an unknown option of %s is answered with all that it knows', async (name, call, known) => {
  const { message } = (await failureOf((async () => call())())) as Error

  expect(message).toMatch(new RegExp(`^Unknown option "\\w+" of ${name} .*known are ${known}$`))
})
