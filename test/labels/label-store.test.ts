import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LabelLimitError, StoreClosedError } from '../../lib/errors.ts'
import type { LabelStore } from '../../lib/labels/label-store.ts'
import { kinds } from './kinds.ts'
import { newSid, type Observed } from './subjects.ts'

const actor = { type: 'dpo', id: 'eve' }
const numbered = (count: number, from = 0) =>
  Array.from({ length: count }, (_, index) => `label-${from + index}`)
const loaded = async (store: LabelStore, sid: string, remembered: string[] = []) => {
  const { state, labels } = await store.load(sid, { remembered })
  return { state, labels: [...labels].sort() }
}

describe.each(kinds)('a label store $name', (kind) => {
  let watched: Observed
  let store: LabelStore

  beforeAll(async () => {
    await kind.start()
    watched = kind.open()
    store = watched.store
  })

  afterAll(() => kind.stop())

  describe('load and add', () => {
    it('confirm that a session nobody labelled is empty', async () => {
      expect(await loaded(store, newSid())).toEqual({ state: 'empty', labels: [] })
    })

    it('answer the whole set after the union', async () => {
      const sid = newSid()

      expect(await store.add(sid, ['pii'])).toEqual(new Set(['pii']))
      expect(await store.add(sid, ['secret', 'pii'])).toEqual(new Set(['pii', 'secret']))
      expect(await loaded(store, sid)).toEqual({ state: 'stored', labels: ['pii', 'secret'] })
    })

    it('keep sessions and subjects apart', async () => {
      const id = newSid()
      await store.add(id, ['of-session'])
      await store.add({ subject: id }, ['of-subject'])

      expect((await store.load({ sid: id })).labels).toEqual(new Set(['of-session']))
      expect((await store.load({ subject: id })).labels).toEqual(new Set(['of-subject']))
    })

    it('reject terms that they do not know', async () => {
      const terms = { atLeast: 5 } as object

      await expect(store.load(newSid(), terms)).rejects.toThrow(/^Unknown option "atLeast" of load/)
      await expect(store.add(newSid(), ['pii'], terms)).rejects.toThrow(/^Unknown option "atLeast" of add/)
    })

    it('ask nobody when there is nothing to add', async () => {
      const sid = newSid()

      expect(await store.add(sid, [])).toBeUndefined()
      expect(await loaded(store, sid)).toEqual({ state: 'empty', labels: [] })
    })

    it('refuse what is no label, or no id, before anything is sent', async () => {
      const sid = newSid()

      await expect(store.add(sid, ['fine', 'not fine'])).rejects.toThrow(TypeError)
      await expect(store.load(sid, { remembered: ['not fine'] })).rejects.toThrow(TypeError)
      await expect(store.add('', ['fine'])).rejects.toThrow(TypeError)
      await expect(store.add(sid, ['fine'], { atLeastMs: Number.NaN })).rejects.toThrow(/"atLeastMs"/)
      expect(await loaded(store, sid)).toEqual({ state: 'empty', labels: [] })
    })
  })

  describe('the limit of 64', () => {
    it('is checked before anything is added', async () => {
      const sid = newSid()
      await store.add(sid, numbered(63))

      await expect(store.add(sid, ['sixty-four', 'sixty-five'])).rejects.toThrow(LabelLimitError)
      expect((await store.load(sid)).labels).toEqual(new Set(numbered(63)))
      expect(await store.add(sid, ['sixty-four'])).toHaveProperty('size', 64)
      expect(await store.add(sid, numbered(63))).toHaveProperty('size', 64)
      await expect(store.add(sid, ['sixty-five'])).rejects.toMatchObject({
        code: 'ERR_LABELS_LIMIT',
        status: 500,
      })
    })

    it('holds for a single add and for declassified labels, too', async () => {
      const sid = newSid()
      await expect(store.add(sid, numbered(65))).rejects.toThrow(LabelLimitError)
      await store.add(sid, numbered(64))
      await store.declassify({ sid, labels: numbered(64), actor, reason: 'reviewed' })

      expect((await store.load(sid)).labels).toEqual(new Set())
      await expect(store.add(sid, ['one-more'])).rejects.toThrow(LabelLimitError)
      await expect(store.declassify({ sid, labels: ['one-more'], actor, reason: 'x' })).rejects.toThrow(
        LabelLimitError,
      )
      expect(await store.add(sid, ['label-7'])).toEqual(new Set(['label-7']))
    })
  })

  describe('what is remembered', () => {
    it('and nowhere stored is lost, with an alarm, and is not put back', async () => {
      const sid = newSid()
      watched.alarms.length = 0

      expect(await loaded(store, sid, ['pii'])).toEqual({ state: 'lost', labels: ['pii'] })
      expect(await loaded(store, sid, ['pii'])).toEqual({ state: 'lost', labels: ['pii'] })
      expect(watched.codes()).toEqual(['labels-lost', 'labels-lost'])
      expect(watched.alarms[0]).toMatchObject({
        labels: ['pii'],
        holder: expect.stringMatching(/^[0-9a-f]{64}$/),
      })
    })

    it('and missing from what is stored is put back, with an alarm', async () => {
      const sid = newSid()
      await store.add(sid, ['stored'])
      watched.alarms.length = 0

      expect(await loaded(store, sid, ['pii', 'stored'])).toEqual({
        state: 'stored',
        labels: ['pii', 'stored'],
      })
      expect(watched.alarms).toMatchObject([{ code: 'labels-shrunk', labels: ['pii'] }])
      expect(await loaded(store, sid)).toEqual({ state: 'stored', labels: ['pii', 'stored'] })
    })

    it('and stored raises no alarm', async () => {
      const sid = newSid()
      await store.add(sid, ['pii', 'more'])
      watched.alarms.length = 0

      expect(await loaded(store, sid, ['pii'])).toEqual({ state: 'stored', labels: ['more', 'pii'] })
      expect(watched.codes()).toEqual([])
    })
  })

  describe('declassify', () => {
    it('takes away what it names, and no session that remembers it puts it back', async () => {
      const sid = newSid()
      await store.add(sid, ['pii', 'secret'])

      expect(await store.declassify({ sid, labels: ['pii'], actor, reason: 'anonymized' })).toEqual(
        new Set(['secret']),
      )
      expect(await loaded(store, sid, ['pii', 'secret'])).toEqual({ state: 'stored', labels: ['secret'] })
      await store.declassify({ sid, labels: ['secret'], actor, reason: 'published' })
      expect(await loaded(store, sid, ['pii', 'secret'])).toEqual({ state: 'stored', labels: [] })
    })

    it('does not hold against what is added after it', async () => {
      const sid = newSid()
      await store.add(sid, ['pii'])
      await store.declassify({ sid, labels: ['pii'], actor, reason: 'anonymized' })

      expect(await store.add(sid, ['pii'])).toEqual(new Set(['pii']))
      expect(await loaded(store, sid, ['pii'])).toEqual({ state: 'stored', labels: ['pii'] })
    })

    it('settles labels that are lost', async () => {
      const sid = newSid()
      expect(await loaded(store, sid, ['pii'])).toMatchObject({ state: 'lost' })

      await store.declassify({ sid, labels: ['pii'], actor, reason: 'lost by a flush, looked into' })

      expect(await loaded(store, sid, ['pii'])).toEqual({ state: 'stored', labels: [] })
    })

    it('of a subject leaves the session of the same name alone', async () => {
      const id = newSid()
      await store.add(id, ['pii'])
      await store.add({ subject: id }, ['pii'])

      await store.declassify({ subject: id, labels: ['pii'], actor, reason: 'anonymized' })

      expect((await store.load({ subject: id })).labels).toEqual(new Set())
      expect((await store.load(id)).labels).toEqual(new Set(['pii']))
    })

    it('is audited before it happens and after', async () => {
      const sid = newSid()
      await store.add(sid, ['pii'])
      watched.audits.length = 0

      await store.declassify({ sid, labels: ['pii'], actor, reason: 'anonymized' })

      const entry = {
        holder: expect.stringMatching(/^[0-9a-f]{64}$/),
        holderKind: 'session',
        labels: ['pii'],
        actor,
        reason: 'anonymized',
      }
      expect(watched.audits).toEqual([
        { ...entry, at: expect.any(Date), outcome: 'intended' },
        { ...entry, at: expect.any(Date), outcome: 'done' },
      ])
      expect(JSON.stringify(watched.audits)).not.toContain(sid)
    })

    it('does not happen if it cannot be audited', async () => {
      const sid = newSid()
      const unaudited = kind.open({ onAudit: () => Promise.reject(new Error('audit log full')) })
      const silent = kind.open({ onAudit: undefined })
      await unaudited.store.add(sid, ['pii'])

      await expect(unaudited.store.declassify({ sid, labels: ['pii'], actor, reason: 'x' })).rejects.toThrow(
        'audit log full',
      )
      await expect(silent.store.declassify({ sid, labels: ['pii'], actor, reason: 'x' })).rejects.toThrow(
        /"onAudit"/,
      )
      expect(await loaded(unaudited.store, sid)).toEqual({ state: 'stored', labels: ['pii'] })
    })

    it('raises an alarm if only its outcome cannot be audited', async () => {
      const sid = newSid()
      const { store: half, codes } = kind.open({
        onAudit: ({ outcome }) => (outcome === 'intended' ? undefined : Promise.reject(new Error('full'))),
      })
      await half.add(sid, ['pii'])

      expect(await half.declassify({ sid, labels: ['pii'], actor, reason: 'x' })).toEqual(new Set())
      expect(codes()).toEqual(['audit-failed'])
    })

    it.each<[string, object, RegExp]>([
      ['no labels', { labels: [] }, /"labels"/],
      ['a wrong label', { labels: ['not fine'] }, /label/],
      ['nobody', { sid: undefined, actor: undefined }, /"actor"/],
      ['an actor without a type', { actor: { id: 'eve' } }, /"actor.type"/],
      ['a line break in the actor', { actor: { type: 'dpo', id: 'eve\nmallory' } }, /"actor.id"/],
      ['no reason', { reason: '' }, /"reason"/],
      ['a reason that could forge a log line', { reason: 'fine\u2028admin: yes' }, /"reason"/],
      ['an endless reason', { reason: 'x'.repeat(501) }, /"reason"/],
      ['two holders', { subject: 'alice' }, /"sid"/],
      ['an unknown name', { because: 'x' }, /"because"/],
    ])('refuses %s', async (_, wrong, message) => {
      const declassification = { sid: newSid(), labels: ['pii'], actor, reason: 'x', ...wrong }

      await expect(store.declassify(declassification)).rejects.toThrow(message)
    })
  })

  it('refuses calls after it was closed, without an alarm', async () => {
    const { store: closed, codes } = kind.open()
    await closed.close()

    await expect(closed.load(newSid())).rejects.toThrow(StoreClosedError)
    await expect(closed.add(newSid(), ['pii'])).rejects.toThrow(StoreClosedError)
    await expect(closed.close()).resolves.toBeUndefined()
    expect(codes()).toEqual([])
  })
})
