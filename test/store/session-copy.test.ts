import { describe, expect, test } from 'vitest'
import type { SessionBody } from '../../lib/session/codec.ts'
import type { SessionRecord } from '../../lib/session/records.ts'
import { SessionCopy } from '../../lib/store/session-copy.ts'

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

function loadedCopy(text: string): SessionCopy {
  return new SessionCopy(HANDLE, { record: recordOf(text) })
}

const draftOf = (copy: SessionCopy, text: string) => copy.draft({}, Promise.resolve(body(text)), TERMS)

describe('a SessionCopy', () => {
  test('bases the first draft of a loaded session on what was loaded, of a new one on nothing', async () => {
    const loaded = loadedCopy('v0')
    const created = new SessionCopy(HANDLE)

    expect(await loaded.baseOf(draftOf(loaded, 'v1'))).toEqual(body('v0'))
    expect(created.baseOf(draftOf(created, 'v1'))).toBeUndefined()
  })

  test('bases each draft on the one before it, stored or still in flight', async () => {
    const copy = loadedCopy('v0')
    const first = draftOf(copy, 'v1')
    const second = draftOf(copy, 'v2')

    copy.stored(recordOf('v1'))

    expect(await copy.baseOf(first)).toEqual(body('v0'))
    expect(await copy.baseOf(second)).toEqual(body('v1'))
  })

  test('carries the changes of a failed draft over to the next, until one is stored', async () => {
    const copy = loadedCopy('v0')
    const first = draftOf(copy, 'v1')
    const second = draftOf(copy, 'v2')
    copy.failed(first)
    expect(copy.hasUnsaved()).toBe(true)
    expect(await copy.baseOf(second)).toEqual(body('v0'))

    copy.failed(second)
    const third = draftOf(copy, 'v3')
    expect(await copy.baseOf(third)).toEqual(body('v0'))

    copy.stored(recordOf('v3'))
    expect(copy.hasUnsaved()).toBe(false)
    expect(await copy.baseOf(draftOf(copy, 'v4'))).toEqual(body('v3'))
  })

  test('is new again after a failed first save', () => {
    const copy = new SessionCopy(HANDLE)
    copy.failed(draftOf(copy, 'v1'))

    expect(copy.hasUnsaved()).toBe(true)
    expect(copy.baseOf(draftOf(copy, 'v2'))).toBeUndefined()
  })

  test('knows its own attempts until one is stored', () => {
    const copy = loadedCopy('v0')
    copy.attempting(Buffer.alloc(16, 'a'))
    copy.attempting(Buffer.alloc(16, 'b'))

    expect(copy.hasAttempted(Buffer.alloc(16, 'a'))).toBe(true)
    expect(copy.hasAttempted(Buffer.alloc(16, 'c'))).toBe(false)

    copy.stored(recordOf('v1'))
    expect(copy.hasAttempted(Buffer.alloc(16, 'a'))).toBe(false)
  })

  test('takes up what other requests changed, and stays as it was if that fails', async () => {
    const copy = loadedCopy('v0')
    copy.rebase(async (view) => body(`${(await view).bytes.toString()} and theirs`))
    expect(await copy.baseOf(draftOf(copy, 'v1'))).toEqual(body('v0 and theirs'))

    copy.rebase(() => Promise.reject(new Error('no')))
    expect(await copy.baseOf(draftOf(copy, 'v2'))).toEqual(body('v1'))
  })
})
