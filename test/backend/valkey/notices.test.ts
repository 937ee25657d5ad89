import { setImmediate as nextTurn } from 'node:timers/promises'
import * as ioredis from 'ioredis'
import type { Redis } from 'iovalkey'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { EndNotice } from '../../../lib/backend/backend.ts'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { addressFor } from '../../../lib/backend/valkey/connection/client.ts'
import { NoticeChannel } from '../../../lib/backend/valkey/notice-channel.ts'
import type { ValkeyBackend } from '../../../lib/backend/valkey/valkey-backend.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { until } from '../../support/until.ts'
import {
  commandCounts,
  startCluster,
  startSentinels,
  startValkey,
  type ValkeyServer,
} from '../../support/valkey.ts'
import { listen, listenInForce, settle } from '../contract/notices.ts'
import { absent, ending, newBlob, newHandle, newOwner, write } from '../contract/subject.ts'
import { newPrefix, openBackend, openClient, openReadyClient } from './subjects.ts'

let server: ValkeyServer
let admin: Redis
let client: ValkeyClient
let prefix: string
let backend: ValkeyBackend
// What hooks of a test itself would close only after afterEach has looked.
const closing: (() => unknown)[] = []

beforeAll(async () => {
  server = await startValkey()
  admin = server.client()
  client = await openReadyClient({ url: server.url })
})

afterAll(async () => {
  client.disconnect()
  await server.stop()
})

beforeEach(() => {
  prefix = newPrefix()
  backend = openBackend(client, { prefix })
})

afterEach(async () => {
  for (const close of [...closing.splice(0), () => backend.close()]) await close()
  await until(async () => (await subscribers()) === 0, { what: 'the connection is closed' })
})

/** How many connections do nothing but listen. */
async function subscribers(from: Redis = admin): Promise<number> {
  return String(await from.call('client', 'list', 'type', 'pubsub'))
    .split('\n')
    .filter((line) => line !== '').length
}

describe('the subscriber connection', () => {
  it('is one for 5,000 listeners, opened by the first and closed with the last', async () => {
    expect(await subscribers()).toBe(0)
    const heard = Array.from({ length: 5000 }, () => listen(backend))
    await until(() => heard.every(({ gaps }) => gaps === 1))
    expect(await subscribers()).toBe(1)

    const handle = newHandle()
    await backend.end(handle, ending)
    await until(() => heard.every(({ notices }) => notices.length === 1))
    expect(new Set(heard.flatMap((each) => each.handles()))).toEqual(new Set([handle]))
    const [last, ...others] = heard
    for (const { unsubscribe } of others) unsubscribe()
    await settle(backend, ...(last ? [last] : []))
    expect(await subscribers()).toBe(1)
    last?.unsubscribe()
    await until(async () => (await subscribers()) === 0)
  })

  it('tells a gap after it was killed, and hears what comes then', async () => {
    const heard = await listenInForce(backend)
    for (let round = 2; round <= 4; round += 1) {
      await admin.call('client', 'kill', 'type', 'pubsub')
      await until(() => heard.gaps === round)
      const handle = newHandle()
      await backend.end(handle, ending)
      await until(() => heard.handles().includes(handle))
    }

    expect(await subscribers()).toBe(1)
    expect(heard.gaps).toBe(4)
  })

  it('misses nothing: under 20 kills every ending is told, or was done when a gap was', async () => {
    const [told, begun, doneAtGap] = [new Set<string>(), new Set<string>(), new Set<string>()]
    let gaps = 0
    // Looks for itself, as a watcher does: an end may have been done whose answer is still on its way.
    const look = (handle: string): Promise<unknown> =>
      backend.ending(handle).then(
        (tombstone) => tombstone && doneAtGap.add(handle),
        () => look(handle),
      )
    const gap = () => {
      gaps += 1
      for (const handle of begun) void look(handle)
    }
    backend.subscribe({ notice: ({ handle }) => told.add(handle), gap })
    await until(() => gaps === 1)
    for (let round = 0; round < 20; round += 1) {
      const killed = admin.call('client', 'kill', 'type', 'pubsub')
      for (const handle of Array.from({ length: 10 }, newHandle)) {
        begun.add(handle)
        await backend.end(handle, ending)
      }
      await killed
    }

    await until(() => [...begun].every((handle) => told.has(handle) || doneAtGap.has(handle)), {
      withinMs: 45_000,
    })
    await until(() => gaps > 1)
    // And then hears again: of one ending at the latest that comes once the connection is back.
    const later: string[] = []
    await until(async () => {
      const handle = newHandle()
      later.push(handle)
      await backend.end(handle, ending)
      return later.some((one) => told.has(one))
    })
  })

  it('comes back after the server was away', async () => {
    const other = await startValkey()
    onTestFinished(() => other.stop())
    const owned = openBackend(openClient({ url: other.url }), { ownsClient: true, prefix })
    closing.push(() => owned.close())
    const heard = await listenInForce(owned)
    await other.kill()
    const isSilent = async () => {
      const probe = listen(owned)
      await nextTurn()
      probe.unsubscribe()
      return probe.gaps === 0
    }
    await until(isSilent, { what: 'nobody is told that notices arrive' })
    await other.restart()
    await until(() => heard.gaps === 2)
    const handle = newHandle()
    await until(() =>
      owned.end(handle, ending).then(
        () => true,
        () => false,
      ),
    )
    await until(() => heard.handles().includes(handle))
  })

  it('is left when it does not answer any more, though nobody closed it', async () => {
    const proxy = await startFaultProxy(server)
    onTestFinished(() => proxy.stop())
    const proxied = openClient({ url: proxy.url })
    onTestFinished(() => proxied.disconnect())
    const channel = new NoticeChannel({
      client: proxied,
      channel: `${prefix}:n`,
      connectTimeoutMs: 200,
      commandTimeoutMs: 200,
      heartbeatMs: 20,
    })
    closing.push(() => channel.close())
    const notices: EndNotice[] = []
    let gaps = 0
    channel.subscribe({ notice: (notice) => notices.push(notice), gap: () => (gaps += 1) })
    await until(() => gaps === 1)
    await proxy.set({ kind: 'blackhole' })
    const before = proxy.counts.connections
    await until(() => proxy.counts.connections > before)
    await proxy.set({ kind: 'pass' })
    await until(() => gaps === 2)
    const handle = newHandle()
    await backend.end(handle, ending)

    await until(() => notices.some((notice) => notice.handle === handle))
  })

  it('is closed with the backend, also while it is being opened', async () => {
    const proxy = await startFaultProxy(server)
    onTestFinished(() => proxy.stop())
    const owned = openBackend(openClient({ url: proxy.url }), { ownsClient: true, connectTimeoutMs: 60_000 })
    await owned.ping()
    const before = (await commandCounts(admin)).get('subscribe')
    await proxy.set({ kind: 'pause' })
    listen(owned)
    await until(() => proxy.open === 2)
    await owned.close()
    await proxy.set({ kind: 'pass' })

    await until(() => proxy.open === 0)
    expect((await commandCounts(admin)).get('subscribe')).toBe(before)
  })

  it('is opened through ioredis too', async () => {
    const other = new ioredis.Redis({
      host: server.host,
      port: server.port,
      enableOfflineQueue: false,
      maxRetriesPerRequest: 0,
    })
    onTestFinished(() => other.disconnect())
    const through = openBackend(other, { prefix })
    closing.push(() => through.close())
    const heard = await listenInForce(through)
    await settle(backend, heard)
    await admin.call('client', 'kill', 'type', 'pubsub')
    await until(() => heard.gaps === 2)
  })

  it('is asked of a client that cannot open one, in words', () => {
    const bare = Object.create(client, { duplicate: { value: undefined } }) as ValkeyClient

    expect(() => openBackend(bare).subscribe({ notice: () => {}, gap: () => {} })).toThrow(/"duplicate"/)
  })
})

describe('notices', () => {
  it('reach every backend of the same prefix, whoever ends, and no other prefix', async () => {
    const other = await openReadyClient({ url: server.url })
    onTestFinished(() => other.disconnect())
    const [same, foreign] = [openBackend(other, { prefix }), openBackend(other)]
    closing.push(() => same.close())
    closing.push(() => foreign.close())
    const [here, there, elsewhere] = [backend, same, foreign].map(listen)
    if (!here || !there || !elsewhere) throw new Error('There are three')
    await until(() => here.gaps + there.gaps + elsewhere.gaps === 3)
    const [handle, owner] = [newHandle(), newOwner()]
    await backend.put(handle, write(absent, newBlob(), { owner }))
    await same.end(handle, ending)
    await settle(backend, here, there)
    await settle(foreign, elsewhere)

    expect([here.notices, there.notices, elsewhere.notices]).toEqual([
      [{ handle, owner }],
      [{ handle, owner }],
      [],
    ])
  })

  it('that are malformed are ignored', async () => {
    const heard = await listenInForce(backend)
    const [handle, owner] = [newHandle(), newOwner()]
    const payloads = [
      '',
      ' ',
      'x',
      `${handle} `,
      ` ${handle}`,
      `${handle} ${owner} `,
      `${handle} ${owner} ${owner}`,
      `${handle} alice`,
      `${handle}\n`,
      `${handle}  ${owner}`,
      JSON.stringify({ handle }),
      Buffer.from([0xff, 0, 0xfe]),
      'x'.repeat(1_000_000),
    ]
    for (const payload of payloads) await admin.publish(`${prefix}:n`, payload)
    await settle(backend, heard)

    expect(heard.notices).toEqual([])
  })

  it('are sent by an ending when memory is full', async () => {
    const heard = await listenInForce(backend)
    const handle = newHandle()
    await backend.put(handle, write(absent, newBlob()))
    await admin.config('SET', 'maxmemory', '1')
    onTestFinished(async () => void (await admin.config('SET', 'maxmemory', '0')))
    await backend.end(handle, ending)

    await until(() => heard.handles().includes(handle))
  })

  it('follow the primary that sentinels know', async () => {
    const sentinels = await startSentinels()
    onTestFinished(() => sentinels.stop())
    const primary = sentinels.primary.client()
    const ofSentinels = await subscribers(primary)
    const connection = { sentinels: sentinels.addresses, sentinelName: sentinels.name }
    const owned = openBackend(openClient(connection), { ownsClient: true })
    closing.push(() => owned.close())
    const heard = await listenInForce(owned)
    await settle(owned, heard)

    expect(await subscribers(primary)).toBe(ofSentinels + 1)
  })
})

describe('notices in a cluster', () => {
  it('reach a listener on any node from all primaries, over one connection, and after that one was killed', async () => {
    const cluster = await startCluster()
    onTestFinished(() => cluster.stop())
    const nodes = cluster.nodes.map(({ host, port }) => ({ host, port }))
    const client = openClient({ nodes })
    const [first, second] = [
      openBackend(client, { ownsClient: true, prefix }),
      openBackend(openClient({ nodes }), { ownsClient: true, prefix }),
    ]
    closing.push(() => first.close())
    closing.push(() => second.close())
    const admins = cluster.nodes.map((node) => node.client())
    const heard = listen(second)
    await until(() => heard.gaps > 0)
    const counts = await Promise.all(admins.map(subscribers))
    expect(counts.reduce((sum, count) => sum + count)).toBe(1)

    for (let round = 0; round < 3; round += 1) {
      // Between nodes a notice may be lost: what is promised is that there is a way from each, not that none fails.
      const ended = new Set<string>()
      await until(async () => {
        const handle = newHandle()
        ended.add(handle)
        await first.end(handle, ending)
        const told = heard.handles().filter((each) => ended.has(each))
        return new Set(told.map((each) => addressFor(client, `{${each}}`))).size === nodes.length
      })
      const before = heard.gaps
      await Promise.all(admins.map((node) => node.call('client', 'kill', 'type', 'pubsub')))
      await until(() => heard.gaps > before)
    }
  })
})
