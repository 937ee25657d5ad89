import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { placeOf } from '../../lib/labels/label.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { kinds } from './kinds.ts'
import { newSid, openValkey } from './subjects.ts'

describe.each(kinds)('labels $name', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  it('expire a ttl after the last add', async () => {
    const { store } = kind.open({ ttl: 0.4 })
    const sid = newSid()
    await store.add(sid, ['pii'])
    await kind.pass(250)
    await store.add(sid, ['pii'])
    await kind.pass(250)
    await store.load(sid)
    expect((await store.load(sid)).state).toBe('stored')
    await kind.pass(200)

    expect((await store.load(sid)).state).toBe('empty')
  })

  it('expire a ttl after the last load, too, if it slides', async () => {
    const { store } = kind.open({ ttl: 0.4, slidingTtl: true })
    const sid = newSid()
    await store.add(sid, ['pii'])
    await kind.pass(250)
    await store.load(sid)
    await kind.pass(250)

    expect((await store.load(sid)).state).toBe('stored')
  })

  it('live as long as is asked for, beyond their ttl', async () => {
    const { store } = kind.open({ ttl: 0.1 })
    const [added, loaded] = [newSid(), newSid()]
    await store.add(added, ['pii'], { atLeastMs: 2000 })
    await store.add(loaded, ['pii'])
    await store.load(loaded, { atLeastMs: 2000 })
    await kind.pass(200)

    expect((await store.load(added)).state).toBe('stored')
    expect((await store.load(loaded)).state).toBe('stored')
  })

  it('are not kept by a load that finds none', async () => {
    const { store } = kind.open()
    const sid = newSid()
    await store.load(sid, { atLeastMs: 1000 })

    expect((await store.load(sid, { remembered: ['pii'] })).state).toBe('lost')
  })
})

describe('the time to live in Valkey', () => {
  let server: ValkeyServer
  let admin: Redis

  beforeAll(async () => {
    server = await startValkey()
    admin = server.client()
  })

  afterAll(() => server?.stop())

  const pttl = (sid: string) => admin.pttl(placeOf('taint:v1', sid).key)

  it('is none without "ttl", nor ever for a subject', async () => {
    const without = openValkey(server.url)
    const withTtl = openValkey(server.url, { ttl: 10, slidingTtl: true })
    const sid = newSid()
    await without.store.add(sid, ['pii'])
    expect(await pttl(sid)).toBe(-1)

    await withTtl.store.add(sid, ['pii'], { atLeastMs: 5000 })
    await withTtl.store.load(sid)
    await withTtl.store.add({ subject: sid }, ['pii'], { atLeastMs: 5000 })
    await withTtl.store.load({ subject: sid }, { atLeastMs: 5000 })

    expect(await pttl(sid)).toBe(-1)
    expect(await admin.pttl(placeOf('taint:v1', { subject: sid }).key)).toBe(-1)
    await Promise.all([without.store.close(), withTtl.store.close()])
  })

  it('is set with the first label and never shortened', async () => {
    const long = openValkey(server.url, { ttl: 1000 })
    const short = openValkey(server.url, { ttl: 5, slidingTtl: true })
    const sid = newSid()
    await long.store.add(sid, ['pii'])
    expect(await pttl(sid)).toBeGreaterThan(999_000)

    await short.store.add(sid, ['secret'], { atLeastMs: 2000 })
    await short.store.load(sid, { atLeastMs: 2000 })
    await short.store.load(sid, { remembered: ['more'] })
    await short.store.declassify({ sid, labels: ['pii'], actor: { type: 'test' }, reason: 'test' })

    expect(await pttl(sid)).toBeGreaterThan(990_000)
    await Promise.all([long.store.close(), short.store.close()])
  })

  it('has room, so that not every request writes', async () => {
    const { store } = openValkey(server.url)
    const sid = newSid()
    await store.add(sid, ['pii'], { atLeastMs: 100_000 })
    const before = await admin.pexpiretime(placeOf('taint:v1', sid).key)

    await store.load(sid, { atLeastMs: 100_000 })

    expect(await admin.pexpiretime(placeOf('taint:v1', sid).key)).toBe(before)
    await store.close()
  })

  it('is never shorter than what was asked for, in 2,000 random operations', async () => {
    const { store } = openValkey(server.url, { ttl: 20 })
    const sids = Array.from({ length: 20 }, newSid)
    const dueAt = new Map<string, number>()
    const short: string[] = []
    const operate = async (sid: string, isLoad: boolean, atLeastMs: number) => {
      const startMs = performance.now()
      if (isLoad) await store.load(sid, { atLeastMs })
      else await store.add(sid, [`l${Math.floor(Math.random() * 9)}`], { atLeastMs })
      if (isLoad && !dueAt.has(sid)) return
      dueAt.set(sid, Math.max(dueAt.get(sid) ?? 0, startMs + atLeastMs))
    }
    for (let round = 0; round < 100; round += 1) {
      await Promise.all(
        sids.map((sid) => operate(sid, Math.random() < 0.5, Math.ceil(Math.random() * 60_000))),
      )
      for (const sid of sids) {
        const due = dueAt.get(sid)
        if (due === undefined) continue
        const leftMs = await pttl(sid)
        if (leftMs < due - performance.now()) short.push(`${leftMs} of ${due - performance.now()}`)
      }
    }

    expect(dueAt.size).toBe(20)
    expect(short).toEqual([])
    await store.close()
  })
})
