import { inspect } from 'node:util'
import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, it, onTestFinished, test, vi } from 'vitest'
import { LabelsUnreadableError, OutcomeUnknownError, StoreUnavailableError } from '../../lib/errors.ts'
import { createLabelStore } from '../../lib/labels/create-label-store.ts'
import { InProcessLabelSets } from '../../lib/labels/in-process-label-sets.ts'
import { KeyedLabelStore } from '../../lib/labels/keyed-label-store.ts'
import { placeOf } from '../../lib/labels/label.ts'
import { checkLabelOptions, LABEL_STORE_OPTIONS } from '../../lib/labels/label-store-options.ts'
import { ValkeyLabelSets } from '../../lib/labels/valkey-label-sets.ts'
import { readOptions } from '../../lib/option.ts'
import { startFaultProxy } from '../support/fault-proxy.ts'
import { until } from '../support/until.ts'
import { startValkey, type ValkeyServer } from '../support/valkey.ts'
import { type LabelOptions, newSid, type Observed, openMemory, openValkey, patient } from './subjects.ts'

const actor = { type: 'dpo' }
const keyOf = (sid: string) => placeOf('taint:v1', sid).key

let server: ValkeyServer
let admin: Redis

beforeAll(async () => {
  server = await startValkey()
  admin = server.client()
})

afterAll(() => server?.stop())

function open(options: LabelOptions = {}): Observed {
  const opened = openValkey(server.url, options)
  onTestFinished(() => opened.store.close())
  return opened
}

/** A store whose ACL user may not do some things. */
async function openWithout(...rights: string[]): Promise<Observed> {
  const username = `user-${newSid()}`
  await admin.call(
    'ACL',
    'SETUSER',
    username,
    'on',
    '>pass',
    '~taint:*',
    '+@all',
    ...rights.map((right) => `-${right}`),
  )
  return open({ connection: { url: server.url, username, password: 'pass' } })
}

describe('what cannot be read', () => {
  it.each<[string, (sid: string) => Promise<unknown>]>([
    ['a string', (sid) => admin.set(keyOf(sid), 'pii')],
    ['a list', (sid) => admin.rpush(keyOf(sid), 'pii')],
    ['a hash', (sid) => admin.hset(keyOf(sid), 'pii', '1')],
    ['a sorted set', (sid) => admin.zadd(keyOf(sid), 1, 'pii')],
    ['a member that is no label', (sid) => admin.sadd(keyOf(sid), 'pii', 'no label')],
    ['a member of bytes', (sid) => admin.sadd(keyOf(sid), Buffer.from([0xff, 0x00]))],
    ['an empty member', (sid) => admin.sadd(keyOf(sid), '')],
    ['65 members', (sid) => admin.sadd(keyOf(sid), ...Array.from({ length: 65 }, (_, index) => `l${index}`))],
    ['a mark that somebody made up', (sid) => admin.sadd(keyOf(sid), '!aaaaaaaaaaaaaaaaaaaaaapii')],
    ['a mark that is too short', (sid) => admin.sadd(keyOf(sid), '!pii')],
  ])('is %s: an error for load and add, never empty, and with an alarm', async (_, damage) => {
    const { store, codes } = open()
    const sid = newSid()
    await damage(sid)
    const before = await admin.dump(keyOf(sid))

    await expect(store.load(sid)).rejects.toThrow(LabelsUnreadableError)
    await expect(store.add(sid, ['other'])).rejects.toMatchObject({
      code: 'ERR_LABELS_UNREADABLE',
      status: 503,
    })
    await expect(store.declassify({ sid, labels: ['pii'], actor, reason: 'x' })).rejects.toThrow(
      LabelsUnreadableError,
    )
    expect(codes()).toEqual(['load-failed', 'append-failed', 'load-failed'])
    expect((await admin.dump(keyOf(sid)))?.length ?? 0).toBeGreaterThanOrEqual(before?.length ?? 0)
  })

  it('is a member of megabytes, which the server keeps to itself', async () => {
    const { store } = open()
    const sid = newSid()
    const sent = async () => Number(/total_net_output_bytes:(\d+)/.exec(await admin.info('stats'))?.[1])
    const before = await sent()
    await admin.sadd(keyOf(sid), Buffer.alloc(8_000_000, 'x'))

    await expect(store.load(sid)).rejects.toThrow(LabelsUnreadableError)
    await expect(store.add(sid, ['other'])).rejects.toThrow(LabelsUnreadableError)
    await expect(store.declassify({ sid, labels: ['pii'], actor, reason: 'x' })).rejects.toThrow(
      LabelsUnreadableError,
    )
    expect((await sent()) - before).toBeLessThan(1_000_000)
  })

  it('is a mark of another session, or of another secret', async () => {
    const { store } = open()
    const [from, to] = [newSid(), newSid()]
    await store.add(from, ['pii'])
    await store.declassify({ sid: from, labels: ['pii'], actor, reason: 'x' })
    await admin.sadd(keyOf(to), ...(await admin.smembers(keyOf(from))))
    const other = open({ declassifySecret: 'x'.repeat(32) })

    expect((await store.load(from)).state).toBe('stored')
    await expect(store.load(to)).rejects.toThrow(LabelsUnreadableError)
    await expect(other.store.load(from)).rejects.toThrow(LabelsUnreadableError)
  })
})

describe('a right that is missing', () => {
  it('for PEXPIRE does not fail a load that refreshes, but raises an alarm', async () => {
    const sid = newSid()
    await open({ ttl: 5 }).store.add(sid, ['pii'])
    const { store, alarms } = await openWithout('pexpire')
    const sliding = await openWithout('pttl')

    expect(await store.load(sid, { atLeastMs: 60_000 })).toMatchObject({
      state: 'stored',
      labels: new Set(['pii']),
    })
    expect(await sliding.store.load(sid, { atLeastMs: 60_000 })).toMatchObject({ labels: new Set(['pii']) })
    expect(alarms).toMatchObject([{ code: 'refresh-failed', holder: placeOf('', sid).digest }])
    expect(sliding.codes()).toEqual(['refresh-failed'])
  })

  it('for SADD fails an add, with an alarm of its own, and leaves loads alone', async () => {
    const sid = newSid()
    const { store, alarms } = await openWithout('sadd')

    await expect(store.add(sid, ['pii'])).rejects.toThrow(OutcomeUnknownError)
    expect(await store.load(sid)).toMatchObject({ state: 'empty' })
    expect(alarms).toMatchObject([
      {
        code: 'append-failed',
        error: 'ERR_STORE_OUTCOME_UNKNOWN',
        reason: 'no-permission',
        failure: { right: '+sadd' },
      },
    ])
  })

  it('for SREM forbids to declassify, before anything is written, and nothing else', async () => {
    const sid = newSid()
    const { store, audits } = await openWithout('srem')
    await store.add(sid, ['pii'])

    await expect(store.declassify({ sid, labels: ['pii'], actor, reason: 'x' })).rejects.toThrow(
      OutcomeUnknownError,
    )
    expect(await admin.smembers(keyOf(sid))).toEqual(['pii'])
    expect(audits.map(({ outcome }) => outcome)).toEqual(['intended', 'unknown'])
  })

  it('for everything is a load that fails', async () => {
    const { store, alarms } = await openWithout('evalsha', 'eval')

    await expect(store.load(newSid())).rejects.toThrow(StoreUnavailableError)
    expect(alarms.at(-1)).toMatchObject({ code: 'load-failed', reason: 'no-permission' })
  })
})

describe('a declassification', () => {
  it('whose answer is lost is not sent twice, and audited as unknown', async () => {
    const proxy = await startFaultProxy(server)
    onTestFinished(() => proxy.stop())
    const { store, audits } = open({ connection: { url: proxy.url } })
    const sid = newSid()
    await store.add(sid, ['pii'])
    await proxy.set({ kind: 'drop-reply', times: 5, when: (request) => request.includes('!') })

    await expect(store.declassify({ sid, labels: ['pii'], actor, reason: 'x' })).rejects.toThrow(
      OutcomeUnknownError,
    )
    expect(proxy.counts.droppedReplies).toBe(1)
    expect(audits.map(({ outcome }) => outcome)).toEqual(['intended', 'unknown'])
    await proxy.set({ kind: 'pass' })
    expect(await store.load(sid, { remembered: ['pii'] })).toMatchObject({ labels: new Set() })
  })

  it('that arrives after its deadline is not applied', async () => {
    const key = keyOf(newSid())
    const late = {
      marks: ['!aaaaaaaaaaaaaaaaaaaaaapii'],
      keep: { leastMs: 0, targetMs: 0 },
      deadlineMs: Date.now() - 60_000,
    }
    const sets = new ValkeyLabelSets({ client: server.client(), ...patient, retries: 0, ownsClient: true })
    onTestFinished(() => sets.close())
    const inProcess = new InProcessLabelSets(() => Date.now())
    const union = { labels: ['pii'], marks: [], keep: late.keep, sparesMarked: false }
    await sets.unite(key, union)
    await inProcess.unite(key, union)

    expect(await sets.release(key, late)).toBe('late')
    expect(await inProcess.release(key, late)).toBe('late')
    expect((await sets.read(key, late.keep)).members).toEqual(['pii'])
    expect((await inProcess.read(key, late.keep)).members).toEqual(['pii'])
  })

  it('has a deadline of one command timeout by the clock of the server', async () => {
    const sets = new InProcessLabelSets(() => 5000)
    const release = vi.spyOn(sets, 'release').mockResolvedValue('late')
    const options = checkLabelOptions(
      readOptions({ onAudit: () => {} }, LABEL_STORE_OPTIONS, 'the label store'),
    )
    const store = new KeyedLabelStore({ sets, options, releaseWindowMs: 500 })

    const declassified = store.declassify({ sid: newSid(), labels: ['pii'], actor, reason: 'x' })

    await expect(declassified).rejects.toThrow(StoreUnavailableError)
    expect(release.mock.calls[0]?.[1]).toMatchObject({ deadlineMs: 5500 })
  })
})

describe('the eviction policy', () => {
  it.each([
    'allkeys-lru',
    'allkeys-lfu',
    'allkeys-random',
    'volatile-lru',
    'volatile-lfu',
    'volatile-random',
    'volatile-ttl',
  ])('%s raises an alarm at start and by check()', async (policy) => {
    await admin.config('SET', 'maxmemory-policy', policy)
    onTestFinished(() => admin.config('SET', 'maxmemory-policy', 'noeviction').then(() => {}))
    const { store, alarms } = open()

    await until(() => alarms.length > 0)
    expect(alarms).toMatchObject([{ code: 'eviction-policy', message: expect.stringContaining(policy) }])
    expect(await store.check()).toMatchObject([
      { code: 'eviction-policy', severity: 'error', action: 'Set maxmemory-policy to noeviction' },
    ])
  })

  it('noeviction raises none', async () => {
    const { store, codes } = open()

    expect(await store.check()).toEqual([])
    expect(codes()).toEqual([])
  })

  it('is looked at after every reconnect', async () => {
    const { store, codes } = open()
    await store.check()
    await admin.config('SET', 'maxmemory-policy', 'allkeys-lru')
    onTestFinished(() => admin.config('SET', 'maxmemory-policy', 'noeviction').then(() => {}))

    await admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')

    await until(() => codes().includes('eviction-policy'))
  })

  it('that may not be seen is an alarm, too', async () => {
    const { store } = await openWithout('info')

    expect(await store.check()).toMatchObject([
      { code: 'server-unknown', severity: 'unknown', action: expect.stringContaining('+info') },
    ])
  })
})

test('a server that cannot be asked is a finding, as it is of a session store', async () => {
  const { store } = open({ connection: { url: 'valkey://127.0.0.1:1' }, connectTimeoutMs: 100, retries: 0 })

  expect(await store.check()).toMatchObject([
    { code: 'unreachable', severity: 'error', failure: { systemCode: 'ECONNREFUSED' } },
  ])
})

function warnings() {
  const warn = vi.spyOn(process, 'emitWarning').mockImplementation(() => {})
  onTestFinished(() => warn.mockRestore())
  return warn.mock.calls as unknown as [message: string, options: { code: string }][]
}

describe('a ttl shorter than the longest session', () => {
  it('raises an alarm at start and by check(), and warns the process', async () => {
    const given = warnings()
    const { store, codes } = openMemory({ ttl: 60, longestSessionTtl: 61 })

    expect(codes()).toEqual(['ttl-too-short'])
    expect(given).toEqual([[expect.stringContaining('"longestSessionTtl"'), { code: 'ESV_TTL_TOO_SHORT' }]])
    expect(await store.check()).toMatchObject([{ code: 'ttl-too-short', severity: 'warning' }])
    expect(openMemory({ ttl: 60, longestSessionTtl: 60 }).codes()).toEqual([])
    expect(openMemory({ longestSessionTtl: 60 }).codes()).toEqual([])
    expect(given).toHaveLength(1)
  })

  it('warns the process where nobody hears alarms, too', () => {
    const given = warnings()

    createLabelStore({ kind: 'in-process', ttl: 60, longestSessionTtl: 61 })

    expect(given).toHaveLength(1)
  })
})

describe('alarms that nobody hears', () => {
  it('warn the process, once per code', async () => {
    const given = warnings()
    const store = createLabelStore({ kind: 'in-process' })

    for (const sid of ['canary-1', 'canary-2']) await store.load(sid, { remembered: ['pii'] })

    expect(given).toEqual([[expect.not.stringContaining('canary'), { code: 'ESV_LABELS_LOST' }]])
  })
})

describe('a listener', () => {
  it('that throws does not change what the caller gets', async () => {
    const thrown = new Promise((resolve) => {
      const listeners = process.listeners('uncaughtException')
      process.removeAllListeners('uncaughtException')
      process.once('uncaughtException', (error) => {
        for (const listener of listeners) process.on('uncaughtException', listener)
        resolve(error.message)
      })
    })
    const { store } = openMemory({
      onAlarm: () => {
        throw new Error('broken listener')
      },
    })

    expect(await store.load(newSid(), { remembered: ['pii'] })).toMatchObject({ state: 'lost' })
    expect(await thrown).toBe('broken listener')
  })
})

describe('no error and no alarm', () => {
  it('carries an id, a key or what was stored', async () => {
    const { store, alarms } = open()
    const sid = newSid()
    await admin.sadd(keyOf(sid), 'canary in Valkey')
    const errors = [
      await store.load(sid).catch((error: unknown) => error),
      await store.add(sid, ['pii']).catch((error: unknown) => error),
      await store.add(sid, ['canary and no label']).catch((error: unknown) => error),
      await store.load({ subject: `\0${sid}` }).catch((error: unknown) => error),
    ]

    const text = inspect({ errors, alarms }, { depth: Number.POSITIVE_INFINITY, showHidden: true })
    expect(errors.every((error) => error instanceof Error)).toBe(true)
    expect(text).not.toContain(sid)
    expect(text).not.toContain('canary')
  })
})
