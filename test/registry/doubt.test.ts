import { describe, expect, it, onTestFinished } from 'vitest'
import type { Backend } from '../../lib/backend/backend.ts'
import { InProcessBackend } from '../../lib/backend/in-process-backend.ts'
import { OutcomeUnknownError, StoreUnavailableError } from '../../lib/errors.ts'
import { failureOf } from '../store/failure-of.ts'
import { generateSession, loadedSession } from '../store/live-session.ts'
import { PartsStore } from '../store/parts-store.ts'
import { eachVerb, type Verb } from './failing-backend.ts'

type Run = (name: Verb, call: () => Promise<unknown>) => Promise<unknown>

const refused = () => {
  throw new StoreUnavailableError('connection')
}

/** A store whose backend may be failing from some moment on. A fake: no server fails one verb of a call only. */
function troubledStore() {
  const backend: Backend = new InProcessBackend({ clock: Date })
  let run: Run = (_name, call) => call()
  const store = new PartsStore(
    eachVerb(backend, (name, call) => run(name, call)),
    { touchAfter: 0 },
  )
  onTestFinished(() => backend.close())
  const fault = (by: Run) => {
    run = by
  }
  return { backend, store, fault, heal: () => fault((_name, call) => call()) }
}

describe('what may have been done in part is not said to be undone', () => {
  it('by a save whose first try may be stored, and whose second never came to be', async () => {
    const { store, fault } = troubledStore()
    await store.set('a', generateSession(store, 'a', { content: { n: 0 } }))
    const live = await loadedSession(store, 'a')
    // As the link answers when a reply was lost, and its repeat met another request's version.
    fault(async (name, call) => (name === 'put' ? { answer: 'unsure' } : name === 'get' ? refused() : call()))

    const failure = await failureOf(store.set('a', Object.assign(live, { n: 1 })))

    expect(failure).toBeInstanceOf(OutcomeUnknownError)
  })

  it('by a sign-out that ended the session and could not tell the registry', async () => {
    const { store, fault } = troubledStore()
    await store.set('a', generateSession(store, 'a', { content: { userId: 'alice' } }))
    fault(async (name, call) => (name === 'withdraw' ? refused() : call()))

    const failure = await failureOf(store.destroy('a'))

    expect(failure).toBeInstanceOf(OutcomeUnknownError)
    expect(await store.get('a')).toBeNull()
  })

  it('by the ending of all of a user’s sessions when the last of them was not reached', async () => {
    const { store, fault } = troubledStore()
    await store.set('a', generateSession(store, 'a', { content: { userId: 'alice' } }))
    fault(async (name, call) => (name === 'end' ? refused() : call()))

    expect(await failureOf(store.registry.endAll('alice'))).toBeInstanceOf(OutcomeUnknownError)
  })
})

it('a sign-in that is tried again in vain leaves registered what the first try stored', async () => {
  const { store, fault, heal } = troubledStore()
  const live = generateSession(store, 'a', { content: { userId: 'alice' } })
  fault(async (name, call) => {
    const answer = await call()
    if (name === 'put') throw new OutcomeUnknownError('connection')
    return answer
  })
  await failureOf(store.set('a', live))
  fault(async (name, call) => (name === 'put' ? refused() : call()))
  await failureOf(store.set('a', live))
  heal()

  expect(await store.get('a')).not.toBeNull()
  expect(await store.registry.count('alice')).toBe(1)
})

it('a sign-in that was refused twice leaves nothing registered', async () => {
  const { backend, store, fault, heal } = troubledStore()
  const live = generateSession(store, 'a', { content: { userId: 'alice' } })
  const owners = new Set<string>()
  const { roster } = backend.registry
  backend.registry.roster = (owner) => {
    owners.add(owner)
    return roster.call(backend.registry, owner)
  }
  fault(async (name, call) => (name === 'put' ? refused() : call()))
  await failureOf(store.set('a', live))
  await failureOf(store.set('a', live))
  heal()

  await store.registry.list('alice')
  const [owner = ''] = owners
  expect((await roster.call(backend.registry, owner)).members).toEqual([])
})
