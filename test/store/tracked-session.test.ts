import { describe, expect, test } from 'vitest'
import type { SessionBody } from '../../lib/session/codec.ts'
import type { SessionRecord } from '../../lib/session/records.ts'
import { TrackedSession } from '../../lib/store/tracked-session.ts'

const HANDLE = 'h'.repeat(43)
const TERMS = 1000

const body = (text: string): SessionBody => ({ bytes: Buffer.from(text), isText: true })
const recordOf = (text: string): SessionRecord => ({
  kind: 'session',
  handle: HANDLE,
  meta: { createdAtMs: 1 },
  body: body(text),
  etag: Buffer.alloc(16, text),
  expiresAtMs: 1,
  isCurrent: true,
})

function loadedSession(text: string): TrackedSession {
  return new TrackedSession(HANDLE, { record: recordOf(text) })
}

const saveOf = (session: TrackedSession, text: string) =>
  session.capture({}, Promise.resolve(body(text)), TERMS)

describe('a TrackedSession', () => {
  test('bases the first save of a loaded session on what was loaded, of a new one on nothing', async () => {
    const loaded = loadedSession('v0')
    const created = new TrackedSession(HANDLE)

    expect(await loaded.baseOf(saveOf(loaded, 'v1'))).toEqual(body('v0'))
    expect(created.baseOf(saveOf(created, 'v1'))).toBeUndefined()
  })

  test('bases each save on the one before it, stored or still in flight', async () => {
    const session = loadedSession('v0')
    const first = saveOf(session, 'v1')
    const second = saveOf(session, 'v2')

    session.stored(recordOf('v1'))

    expect(await session.baseOf(first)).toEqual(body('v0'))
    expect(await session.baseOf(second)).toEqual(body('v1'))
  })

  test('carries the changes of a failed save over to the next, until one is stored', async () => {
    const session = loadedSession('v0')
    const first = saveOf(session, 'v1')
    const second = saveOf(session, 'v2')
    session.failed(first)
    expect(session.hasUnsaved()).toBe(true)
    expect(await session.baseOf(second)).toEqual(body('v0'))

    session.failed(second)
    const third = saveOf(session, 'v3')
    expect(await session.baseOf(third)).toEqual(body('v0'))

    session.stored(recordOf('v3'))
    expect(session.hasUnsaved()).toBe(false)
    expect(await session.baseOf(saveOf(session, 'v4'))).toEqual(body('v3'))
  })

  test('is new again after a failed first save', () => {
    const session = new TrackedSession(HANDLE)
    session.failed(saveOf(session, 'v1'))

    expect(session.hasUnsaved()).toBe(true)
    expect(session.baseOf(saveOf(session, 'v2'))).toBeUndefined()
  })

  test('knows its own attempts until one is stored', () => {
    const session = loadedSession('v0')
    session.attempting(Buffer.alloc(16, 'a'))
    session.attempting(Buffer.alloc(16, 'b'))

    expect(session.hasAttempted(Buffer.alloc(16, 'a'))).toBe(true)
    expect(session.hasAttempted(Buffer.alloc(16, 'c'))).toBe(false)

    session.stored(recordOf('v1'))
    expect(session.hasAttempted(Buffer.alloc(16, 'a'))).toBe(false)
  })

  test('takes up what other requests changed, and stays as it was if that fails', async () => {
    const session = loadedSession('v0')
    session.rebase(async (view) => body(`${(await view).bytes.toString()} and theirs`))
    expect(await session.baseOf(saveOf(session, 'v1'))).toEqual(body('v0 and theirs'))

    session.rebase(() => Promise.reject(new Error('no')))
    expect(await session.baseOf(saveOf(session, 'v2'))).toEqual(body('v1'))
  })
})
