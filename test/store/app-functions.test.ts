import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { StoreOptionError, StoreSerializerError } from '../../lib/errors.ts'
import { jsonSerializer } from '../../lib/session/codec.ts'
import { failureOf } from './failure-of.ts'
import { generateSession, loadedSession, storedContent } from './live-session.ts'
import { storeKinds } from './stores.ts'

const forever = () => new Promise<never>(() => {})

describe.each(storeKinds())('functions of the app, $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  const patience = { deadlineMs: 3000 }
  const late = expect.objectContaining({ code: 'ERR_STORE_SERIALIZER', status: 503 })

  test('a serializer that hangs once fails one save, and holds up no later one of the same session', async () => {
    const place = kind.place()
    const state = { hangs: false }
    const stringify = async (session: object) => (state.hangs ? forever() : jsonSerializer.stringify(session))
    const store = place.over(place.backend(), { ...patience, serializer: { ...jsonSerializer, stringify } })
    await store.set('sid', generateSession(store, 'sid', { content: { x: 1 } }))
    const session = Object.assign(await loadedSession(store, 'sid'), { x: 2 })
    state.hangs = true
    const first = failureOf(store.set('sid', session))
    // What the first is to store is captured by now.
    state.hangs = false
    Object.assign(session, { x: 3 })
    const second = store.set('sid', session)

    expect(await first).toEqual(late)
    expect(await first).toBeInstanceOf(StoreSerializerError)
    await second
    expect(await storedContent(store, 'sid')).toEqual({ x: 3 })
  })

  test('a serializer whose promise is of another library, and hangs, fails one save alone', async () => {
    const place = kind.place()
    const state = { hangs: true }
    // biome-ignore lint/suspicious/noThenProperty: as Bluebird's promises
    const hanging = { then: () => {} } as unknown as Promise<string>
    const stringify = (session: object) => (state.hangs ? hanging : jsonSerializer.stringify(session))
    const store = place.over(place.backend(), { ...patience, serializer: { ...jsonSerializer, stringify } })
    const session = generateSession(store, 'sid', { content: { x: 1 } })
    const first = failureOf(store.set('sid', session))
    state.hangs = false

    expect(await first).toEqual(late)
    await store.set('sid', session)
    expect(await storedContent(store, 'sid')).toEqual({ x: 1 })
  })

  test('a serializer that hangs in parse is an error, never an absent session', async () => {
    const place = kind.place()
    const state = { hangs: false }
    const parse = async (stored: string | Buffer) => (state.hangs ? forever() : jsonSerializer.parse(stored))
    const store = place.over(place.backend(), { ...patience, serializer: { ...jsonSerializer, parse } })
    await store.set('sid', generateSession(store, 'sid', { content: { x: 1 } }))
    state.hangs = true
    const invalid: unknown[] = []
    store.on('session-invalid', (event) => void invalid.push(event))

    expect(await failureOf(store.get('sid'))).toEqual(late)
    state.hangs = false
    expect(await storedContent(store, 'sid')).toEqual({ x: 1 })
    expect(invalid).toEqual([])
  })

  test.each(['userId', 'ttl', 'device'] as const)('the option %s is named when it throws', async (option) => {
    const thrown = new Error('of the app')
    const store = kind.place().open({
      [option]: () => {
        throw thrown
      },
    })
    const error = await failureOf(
      store.set('sid', generateSession(store, 'sid', { content: { userId: 'ann' } })),
    )

    expect(error).toBeInstanceOf(StoreOptionError)
    expect(error).toMatchObject({ code: 'ERR_STORE_OPTION', status: 500, option, cause: thrown })
    expect((error as Error).message).toContain(`"${option}"`)
    expect(await store.length()).toBe(0)
  })
})
