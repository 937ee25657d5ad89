import { describe, expect, it } from 'vitest'
import type { Backend, EndNotice } from '../../../lib/backend/backend.ts'
import { StoreClosedError } from '../../../lib/errors.ts'
import { until } from '../../support/until.ts'
import {
  absent,
  any,
  type CreateSubject,
  ending,
  freshSubject,
  LONG_MS,
  newBlob,
  newHandle,
  newOwner,
  write,
} from './subject.ts'

/** What one listener was told. */
export interface Heard {
  readonly notices: EndNotice[]
  readonly handles: () => string[]
  gaps: number
  unsubscribe(): void
}

export function listen(backend: Backend): Heard {
  const notices: EndNotice[] = []
  const heard = {
    notices,
    handles: () => notices.map(({ handle }) => handle),
    gaps: 0,
    unsubscribe: () => {},
  }
  heard.unsubscribe = backend.subscribe({
    notice: (notice) => notices.push(notice),
    gap: () => {
      heard.gaps += 1
    },
  })
  return heard
}

/** Resolves once notices arrive. */
export async function listenInForce(backend: Backend): Promise<Heard> {
  const heard = listen(backend)
  await until(() => heard.gaps > 0, { what: 'notices arrive' })
  return heard
}

/**
 * Resolves once everything told before now has arrived: with a notice of its own, which it takes out again. Those of one
 * server come in order.
 */
export async function settle(backend: Backend, ...listeners: Heard[]): Promise<void> {
  const last = newHandle()
  await backend.end(last, ending)
  for (const heard of listeners) {
    await until(() => heard.handles().includes(last), { what: 'the last notice arrives' })
    const others = heard.notices.filter(({ handle }) => handle !== last)
    heard.notices.splice(0, heard.notices.length, ...others)
  }
}

export function describeNotices(create: CreateSubject): void {
  describe('subscribe', () => {
    const subject = freshSubject(create)

    it('tells of a gap once, as soon as notices arrive, and not before it returned', async () => {
      const { backend } = subject()
      const heard = listen(backend)
      expect(heard.gaps).toBe(0)
      await until(() => heard.gaps > 0)
      await settle(backend, heard)

      expect(heard.gaps).toBe(1)
    })

    it('tells of a gap to each who comes later, and to nobody else', async () => {
      const { backend } = subject()
      const first = await listenInForce(backend)
      const second = await listenInForce(backend)
      await settle(backend, first, second)

      expect([first.gaps, second.gaps]).toEqual([1, 1])
    })

    it('tells of an ended record with its owner, and of one without', async () => {
      const { backend } = subject()
      const heard = await listenInForce(backend)
      const [owned, ownerless] = [newHandle(), newHandle()]
      const owner = newOwner()
      await backend.put(owned, write(absent, newBlob(), { owner }))
      await backend.put(ownerless, write(absent, newBlob()))
      await backend.end(owned, ending)
      await backend.end(ownerless, ending)
      await settle(backend, heard)

      expect(heard.notices).toHaveLength(2)
      expect(heard.notices).toContainEqual({ handle: owned, owner })
      expect(heard.notices).toContainEqual({ handle: ownerless, owner: undefined })
    })

    it('tells of a fence where there was no record', async () => {
      const { backend } = subject()
      const heard = await listenInForce(backend)
      const handle = newHandle()
      await backend.end(handle, ending)
      await settle(backend, heard)

      expect(heard.notices).toEqual([{ handle, owner: undefined }])
    })

    it('tells once of 50 parallel endings of one record', async () => {
      const { backend } = subject()
      const heard = await listenInForce(backend)
      const handle = newHandle()
      await backend.put(handle, write(absent, newBlob()))
      await Promise.all(Array.from({ length: 50 }, () => backend.end(handle, ending)))
      await settle(backend, heard)

      expect(heard.handles()).toEqual([handle])
    })

    it('tells of nothing but endings', async () => {
      const { backend } = subject()
      const handle = newHandle()
      await backend.end(handle, ending)
      const heard = await listenInForce(backend)
      await backend.end(handle, ending)
      await backend.put(handle, write(any, newBlob()))
      const living = newHandle()
      await backend.put(living, write(absent, newBlob()))
      await backend.touch(living, LONG_MS)
      await backend.get(living, 1000)
      await backend.ending(handle)
      await settle(backend, heard)

      expect(heard.notices).toEqual([])
    })

    it('tells when the tombstone stands already', async () => {
      const { backend } = subject()
      const handle = newHandle()
      await backend.put(handle, write(absent, newBlob()))
      const seen: unknown[] = []
      let isInForce = false
      backend.subscribe({
        notice: async () => seen.push([await backend.ending(handle), await backend.get(handle, 1000)]),
        gap: () => {
          isInForce = true
        },
      })
      await until(() => isInForce)
      await backend.end(handle, ending)
      await until(() => seen.length > 0)

      expect(seen).toEqual([[ending.blob, undefined]])
    })

    it('tells every listener, and one that subscribed twice twice', async () => {
      const { backend } = subject()
      const [first, second] = [await listenInForce(backend), await listenInForce(backend)]
      const calls: string[] = []
      const listener = { notice: ({ handle }: EndNotice) => calls.push(handle), gap: () => calls.push('gap') }
      const unsubscribe = backend.subscribe(listener)
      backend.subscribe(listener)
      await until(() => calls.length === 2)
      const [one, two] = [newHandle(), newHandle()]
      await backend.end(one, ending)
      await settle(backend, first, second)
      await until(() => calls.filter((call) => call === one).length === 2)
      unsubscribe()
      await backend.end(two, ending)
      await settle(backend, first, second)

      expect([first.handles(), second.handles()]).toEqual([
        [one, two],
        [one, two],
      ])
      expect(calls.filter((call) => call === two)).toHaveLength(1)
    })

    it('tells nobody who has unsubscribed, however often, and still tells the others', async () => {
      const { backend } = subject()
      const [leaving, staying] = [await listenInForce(backend), await listenInForce(backend)]
      leaving.unsubscribe()
      leaving.unsubscribe()
      const handle = newHandle()
      await backend.end(handle, ending)
      await settle(backend, staying)

      expect(leaving.notices).toEqual([])
      expect(staying.handles()).toEqual([handle])
    })

    it('tells nobody who unsubscribes at once, and works again for who comes after all have left', async () => {
      const { backend } = subject()
      const brief = listen(backend)
      brief.unsubscribe()
      const next = await listenInForce(backend)
      next.unsubscribe()
      const last = await listenInForce(backend)
      await settle(backend, last)

      expect([brief.gaps, next.gaps, last.gaps]).toEqual([0, 1, 1])
      expect([...brief.notices, ...next.notices, ...last.notices]).toEqual([])
    })

    it('tells nothing after close, and refuses new listeners', async () => {
      const { backend } = subject()
      const heard = await listenInForce(backend)
      const ended = backend.end(newHandle(), ending)
      const closed = backend.close()
      const told = heard.notices.length
      await Promise.all([ended, closed])

      expect(heard.notices).toHaveLength(told)
      expect(() => backend.subscribe({ notice: () => {}, gap: () => {} })).toThrow(StoreClosedError)
      expect(() => heard.unsubscribe()).not.toThrow()
    })
  })
}
