import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Backend, Lookout } from '../../lib/backend/backend.ts'
import { createValkeyClient } from '../../lib/backend/valkey/connection/connection.ts'
import { ValkeyBackend } from '../../lib/backend/valkey/valkey-backend.ts'
import { maxBlobBytes } from '../../lib/session/records.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { PartsStore, SECRET } from '../store/parts-store.ts'
import { freshPrefix, type Place, storeKinds } from '../store/stores.ts'
import { wrapBackend } from '../store/wrap-backend.ts'
import { until } from '../support/until.ts'
import { startCluster, startValkey, type ValkeyCluster } from '../support/valkey.ts'
import { collect } from './collected-endings.ts'
import { newUser, signIn, signInTimes } from './requests.ts'

const INTERVAL_MS = 200

/** Notices arrive, but none is ever told. */
function deaf(place: Place, verbs: Partial<Backend> = {}): Backend {
  const backend = place.backend()
  return wrapBackend(backend, {
    subscribe: ({ gap }) => backend.subscribe({ notice: () => {}, gap }),
    ...verbs,
  })
}

describe.each(storeKinds())('a watch whose notices are all lost, $name,', (kind) => {
  beforeAll(() => kind.start())
  afterAll(() => kind.stop())

  function open(lookout: (inner: Lookout) => Partial<Lookout> = () => ({})) {
    const place = kind.place()
    const inner = place.backend()
    const wrapped = { ...bound(inner.lookout), ...lookout(inner.lookout) }
    const watching = place.over(deaf(place, { lookout: wrapped }), { watchIntervalMs: INTERVAL_MS })
    onTestFinished(() => watching.registry.close())
    return { store: place.share(), watching, user: newUser() }
  }

  test('tells how its session ended', async () => {
    const { store, watching, user } = open()
    const sids = await signInTimes(store, user, 5)
    const watches = sids.map((sid) => watching.registry.watch({ sid }))

    for (const sid of sids) await store.registry.end({ sid }, { reason: 'stolen' })

    const endings = await Promise.all(watches.map(({ ended }) => ended))
    expect(endings.map(({ handle, reason }) => [handle, reason])).toEqual(
      sids.map((sid) => [store.handle(sid), 'stolen']),
    )
  })

  test('tells that a record has vanished as expired', async () => {
    let wasSeen = false
    let hasVanished = false
    const { store, watching, user } = open((inner) => ({
      fates: async (handles) => {
        const fates = await inner.fates(handles)
        if (hasVanished) return fates.map(() => ({ state: 'absent' }))
        wasSeen ||= fates.some((fate) => fate?.state === 'active')
        return fates
      },
    }))
    const sid = await signIn(store, user)
    const watch = watching.registry.watch({ sid })
    await until(() => wasSeen)
    hasVanished = true

    expect(await watch.ended).toMatchObject({ reason: 'expired', actor: { type: 'system' } })
  })

  test('on a user tells each once: those of before, those that are new, and more than a registry remembers or a page holds', async () => {
    const { store, watching, user } = open()
    const [early = ''] = await signInTimes(store, user, 1)
    const heard = collect(watching.registry.watch({ userId: user }))
    await store.registry.end({ sid: early }, { reason: 'early' })
    await until(() => heard.endings.length === 1)

    const sids = await signInTimes(store, user, 210)
    const mark = await signIn(store, user)
    await store.registry.end({ sid: mark }, { reason: 'mark' })
    // All were seen by the look that found the mark.
    await until(() => heard.endings.length === 2)
    await store.registry.endAll(user, { reason: 'late' })
    await until(() => heard.endings.length === 212)
    const last = await signIn(store, user)
    await store.registry.end({ sid: last }, { reason: 'last' })
    await until(() => heard.handles().includes(store.handle(last)))

    expect(heard.handles().toSorted()).toEqual(
      [early, mark, ...sids, last].map((sid) => store.handle(sid)).toSorted(),
    )
  })

  test('takes no outage for an ending, and tells what ended in it afterwards', async () => {
    let isAway = false
    let failed = 0
    const { store, watching, user } = open((inner) => ({
      fates: async (handles) => {
        if (!isAway) return inner.fates(handles)
        failed += 1
        return handles.map(() => undefined)
      },
      registry: {
        roster: async (...args) => {
          if (isAway) throw new Error('away')
          return inner.registry.roster(...args)
        },
      },
    }))
    const [sid = '', other = ''] = await signInTimes(store, user, 2)
    const ofSession = collect(watching.registry.watch({ sid }))
    const ofUser = collect(watching.registry.watch({ userId: user }))
    isAway = true
    await until(() => failed > 3)
    await store.registry.end({ sid: other }, { reason: 'meanwhile' })
    expect([ofSession.endings, ofUser.endings]).toEqual([[], []])
    isAway = false

    await until(() => ofUser.endings.length === 1)
    expect(ofUser.endings).toMatchObject([{ reason: 'meanwhile' }])
    expect(ofSession).toMatchObject({ endings: [], isOver: false })
  })

  test('looks at thousands of sessions, however often it must, in a few batches at a time', async () => {
    const sizes: number[] = []
    let underWay = 0
    let most = 0
    const { watching } = open((inner) => ({
      fates: async (handles) => {
        sizes.push(handles.length)
        underWay += 1
        most = Math.max(most, underWay)
        try {
          await inner.fates(handles)
          return handles.map(() => ({ state: 'active', leftMs: 1_000_000 }))
        } finally {
          underWay -= 1
        }
      },
    }))
    for (let n = 0; n < 3000; n += 1) watching.registry.watch({ sid: `session-${n}` })

    await until(() => sizes.reduce((sum, size) => sum + size, 0) > 9000)
    expect(Math.max(...sizes)).toBeLessThanOrEqual(200)
    expect(most).toBeLessThanOrEqual(4)
  })
})

/** The parts of a lookout as plain properties, to be replaced one by one. */
function bound(inner: Lookout): Lookout {
  return {
    fates: (handles) => inner.fates(handles),
    registry: { roster: (...args) => inner.registry.roster(...args) },
  }
}

test('looks that fail open no breaker of other calls, and are no failure of theirs', async () => {
  const server = await startValkey()
  onTestFinished(() => server.stop())
  const client = createValkeyClient(
    { url: server.url },
    { connectTimeoutMs: 10_000, commandTimeoutMs: 10_000 },
  )
  const backend = new ValkeyBackend({
    client,
    prefix: freshPrefix(),
    maxBlobBytes: maxBlobBytes(65_536),
    ownsClient: true,
    connectTimeoutMs: 50,
    commandTimeoutMs: 50,
    breaker: { failures: 1, halfOpenAfterMs: 1 },
  })
  onTestFinished(() => backend.close())
  let failed = 0
  const lookout: Lookout = {
    ...bound(backend.lookout),
    fates: async (handles) => {
      const fates = await backend.lookout.fates(handles)
      failed += fates.filter((fate) => fate === undefined).length
      return fates
    },
  }
  const store = new PartsStore(wrapBackend(backend, { lookout }), { watchIntervalMs: 100 })
  await until(() => client.status === 'ready')
  const heard = collect(store.registry.watch({ sid: await signIn(store, newUser()) }))
  await server.kill()

  await until(() => failed >= 5)
  expect(backend.condition).toEqual({ breaker: 'closed' })
  expect(heard).toMatchObject({ endings: [], isOver: false })
})

describe('in a cluster whose nodes lose each other just before each ending', () => {
  let cluster: ValkeyCluster

  beforeAll(async () => {
    cluster = await startCluster({ args: ['--enable-debug-command', 'yes'] })
  })
  afterAll(() => cluster.stop())

  test('every watch tells, of sessions and of users', async () => {
    const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }))
    const prefix = freshPrefix()
    const open = () =>
      new ValkeyStore({
        connection: { nodes },
        secrets: [SECRET],
        prefix,
        watchIntervalMs: 1000,
        connectTimeoutMs: 10_000,
        commandTimeoutMs: 10_000,
      })
    const [store, watching] = [open(), open()]
    onTestFinished(async () => void (await Promise.all([store.close(), watching.close()])))
    const admins = cluster.nodes.map((node) => node.client())
    const ids = await Promise.all(admins.map((admin) => admin.call('cluster', 'myid')))
    const cut = () =>
      Promise.all(
        admins.flatMap((admin, at) =>
          ids
            .filter((_, other) => other !== at)
            .map((id) => admin.call('debug', 'clusterlink', 'kill', 'all', String(id))),
        ),
      )
    const user = newUser()
    const sids = await signInTimes(store, user, 60)
    const watches = sids.map((sid) => watching.registry.watch({ sid }))
    const ofUser = collect(watching.registry.watch({ userId: user }))

    for (const sid of sids) {
      await cut()
      await store.registry.end({ sid }, { reason: 'cut-off' })
    }

    const endings = await Promise.all(watches.map(({ ended }) => ended))
    await until(() => ofUser.endings.length === sids.length)
    expect(new Set(endings.map(({ reason }) => reason))).toEqual(new Set(['cut-off']))
    expect(ofUser.handles().toSorted()).toEqual(sids.map((sid) => store.handle(sid)).toSorted())
  })
})
