import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Registry } from '../../../lib/backend/registry.ts'
import type { CommandSender, ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { SessionInvalidError, StoreUnavailableError } from '../../../lib/errors.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import {
  departed,
  enrollAll,
  enrolment,
  granted,
  HOUR_MS,
  memberHandles,
  newHandle,
  newHandles,
  newOwner,
  withdrawal,
} from '../registry/subject.ts'
import { registryContract } from '../registry-contract.ts'
import { openRegistry } from './registry-subjects.ts'
import { openReadyClient } from './subjects.ts'

let server: ValkeyServer
let client: ValkeyClient

beforeAll(async () => {
  server = await startValkey()
  client = await openReadyClient({ url: server.url })
})

afterAll(async () => {
  client.disconnect()
  await server.stop()
})

registryContract('on Valkey', async () => openRegistry(client))

/** Every verb once, on a handle that is a member already. */
const verbs: readonly (readonly [
  name: string,
  call: (registry: Registry, owner: string, handle: string) => Promise<unknown>,
])[] = [
  ['enroll', (registry, owner) => registry.enroll(owner, enrolment(newHandle(), { cap: 3 }))],
  ['extend', (registry, owner, handle) => registry.extend(owner, { handle, ttlMs: 2 * HOUR_MS })],
  ['standing', (registry, owner, handle) => registry.standing(owner, handle)],
  [
    'withdraw',
    (registry, owner, handle) =>
      registry.withdraw(owner, withdrawal([handle], { departed: [departed(handle)] })),
  ],
  ['roster', (registry, owner) => registry.roster(owner)],
  ['count', (registry, owner) => registry.count(owner)],
  ['raise', (registry, owner) => registry.raise(owner, { keepMs: HOUR_MS })],
]

/** An owner with members, a pending and a departed handle; the last handle is a member. */
async function populate(registry: Registry): Promise<{ owner: string; handle: string }> {
  const [owner, handles] = [newOwner(), newHandles(4)]
  await enrollAll(
    registry,
    owner,
    handles.map((handle) => enrolment(handle, { cap: 3 })),
  )
  await registry.withdraw(owner, withdrawal([], { departed: [departed(newHandle())] }))
  return { owner, handle: handles[3] ?? '' }
}

async function dump(runner: CommandSender, keys: readonly string[]): Promise<unknown> {
  return Promise.all(
    keys.map(async (key) => [
      await runner.callBuffer('dump', key),
      await runner.callBuffer('pexpiretime', key),
    ]),
  )
}

describe('ValkeyRegistry', () => {
  it('keeps six keys per owner, whose names differ in one letter before the owner', async () => {
    const { registry, keysOf } = openRegistry(client)
    const { owner } = await populate(registry)
    const keys = keysOf(owner)
    const types = await Promise.all(keys.map(async (key) => String(await client.callBuffer('type', key))))

    expect(types).toEqual(['zset', 'zset', 'zset', 'hash', 'zset', 'zset'])
    expect(keys.map((key) => key.replace(/^t\w+/, 'sess'))).toEqual(
      ['o', 'x', 'p', 's', 'd', 'u'].map((letter) => `sess:${letter}:{${owner}}`),
    )
  })

  it.each(verbs)('takes one round trip for %s', async (_name, call) => {
    const { counting, sent } = countingClient(client)
    const { registry } = openRegistry(counting)
    const { owner, handle } = await populate(registry)
    await call(registry, owner, handle)
    sent.length = 0
    await call(registry, owner, handle)

    expect(sent).toEqual(['evalsha'])
  })

  it.each(verbs)('goes on after the server forgot the script of %s', async (_name, call) => {
    const { registry } = openRegistry(client)
    const { owner, handle } = await populate(registry)
    await client.callBuffer('script', 'flush')

    await expect(call(registry, owner, handle)).resolves.not.toThrow()
  })

  it('gives every key a ttl that reaches the furthest member and the departed, after every verb', async () => {
    const { registry, keysOf } = openRegistry(client)
    const [owner, lasting] = [newOwner(), newHandle()]
    await registry.enroll(owner, enrolment(lasting, { ttlMs: 5 * HOUR_MS }))
    const [{ expiresAtMs } = { expiresAtMs: 0 }] = (await registry.roster(owner)).members
    for (const [, call] of verbs) {
      await call(registry, owner, lasting)
      await registry.enroll(owner, enrolment(newHandle(), { ttlMs: 1000, cap: 2 }))
      const untilMs = await Promise.all(keysOf(owner).map((key) => client.callBuffer('pexpiretime', key)))
      // -2: there is no such key.
      expect(untilMs.map((ms) => ms === expiresAtMs || ms === -2)).toEqual([
        true,
        true,
        true,
        true,
        true,
        true,
      ])
    }
  })

  it('holds no more than it shows, after evictions, withdrawals and expiries', async () => {
    const { registry, keysOf, elapse } = openRegistry(client)
    const [owner, handles] = [newOwner(), newHandles(6)]
    await enrollAll(
      registry,
      owner,
      handles.map((handle, index) => enrolment(handle, { cap: 4, ttlMs: (index + 1) * HOUR_MS })),
    )
    await registry.withdraw(
      owner,
      withdrawal(handles.slice(0, 1), { departed: [departed(newHandle())], departedTtlMs: 1000 }),
    )
    await registry.withdraw(
      owner,
      withdrawal(handles.slice(5), { departed: [departed(newHandle())], departedTtlMs: 9 * HOUR_MS }),
    )
    await elapse(owner, 3 * HOUR_MS + 1)
    await registry.enroll(owner, enrolment(newHandle()))
    await registry.withdraw(owner, withdrawal([], { departed: [departed(newHandle())] }))
    const { members, pending, departed: left } = await registry.roster(owner)
    expect([members.length, pending.length, left.length]).toEqual([3, 0, 2])

    const [orders, expiries, waiting, state, gone, untaken] = keysOf(owner)
    const zsets = await Promise.all(
      [orders, expiries, waiting, gone, untaken].map((key) => client.callBuffer('zcard', key)),
    )
    expect([...zsets, await client.callBuffer('hlen', state)]).toEqual([3, 3, 0, 2, 3, 3 + 2])
  })

  it('brings back the ttl of a key that has lost it', async () => {
    const { registry, keysOf } = openRegistry(client)
    const { owner, handle } = await populate(registry)
    for (const key of keysOf(owner)) await client.callBuffer('persist', key)
    await registry.extend(owner, { handle, ttlMs: HOUR_MS })
    const ttls = await Promise.all(keysOf(owner).map((key) => client.callBuffer('pttl', key)))

    for (const ttlMs of ttls) expect(ttlMs).toBeGreaterThan(HOUR_MS - 60_000)
    for (const ttlMs of ttls) expect(ttlMs).toBeLessThanOrEqual(HOUR_MS)
  })

  it('expires by the clock of the server', async () => {
    const { registry, keysOf } = openRegistry(client)
    const [owner, handle] = [newOwner(), newHandle()]
    await registry.enroll(owner, enrolment(handle, { ttlMs: 30 }))

    await expect.poll(() => registry.standing(owner, handle)).toEqual({ epoch: 0, isMember: false })
    expect(await client.callBuffer('exists', ...keysOf(owner))).toBe(0)
  })

  it('gives a higher order than any that stands there, from another clock or by another hand', async () => {
    const { registry, keysOf } = openRegistry(client)
    const [owner, first] = [newOwner(), newHandle()]
    const [orders, , , state] = keysOf(owner)
    const { order } = granted(await registry.enroll(owner, enrolment(first)))
    const ahead = order + 3_600_000_000
    await client.callBuffer('hset', state, 'order', ahead)
    expect(granted(await registry.enroll(owner, enrolment(newHandle()))).order).toBe(ahead + 1)

    await client.callBuffer('zadd', orders, ahead + 10, first)
    expect(granted(await registry.enroll(owner, enrolment(newHandle()))).order).toBe(ahead + 11)
    expect(granted(await registry.enroll(owner, enrolment(newHandle()))).order).toBe(ahead + 12)
  })

  it('keeps orders and epochs exact up to 2^53', async () => {
    const { registry, keysOf } = openRegistry(client)
    const [owner, handles] = [newOwner(), newHandles(3)]
    const nearly = Number.MAX_SAFE_INTEGER - 9
    await client.callBuffer('hset', keysOf(owner)[3], 'order', nearly, 'epoch', nearly)
    await enrollAll(
      registry,
      owner,
      handles.map((handle) => enrolment(handle, { cap: 2 })),
    )
    const { epoch, members, pending } = await registry.raise(owner, { keepMs: HOUR_MS })

    expect(epoch).toBe(nearly + 1)
    expect(members.map(({ order }) => order)).toEqual([nearly + 2, nearly + 3])
    expect(pending).toEqual([handles[0]])
    expect(await registry.enroll(owner, enrolment(handles[2] ?? ''))).toMatchObject({
      order: nearly + 3,
      epoch: nearly + 1,
    })
  })
})

describe('ValkeyRegistry as a user whose rights are taken away', () => {
  it.each(['zadd', 'zrem', 'hset', 'hdel', 'pexpireat'])(
    'loses nobody who is displaced meanwhile: %s',
    async (command) => {
      const { registry } = openRegistry(client)
      const [owner, handles] = [newOwner(), newHandles(3)]
      const [first = '', second = '', third = ''] = handles
      await enrollAll(
        registry,
        owner,
        [first, second].map((handle) => enrolment(handle, { cap: 2 })),
      )
      await client.callBuffer('acl', 'setuser', 'default', `-${command}`)
      const refused = await registry.enroll(owner, enrolment(third, { cap: 2 })).catch((error) => error)
      await client.callBuffer('acl', 'setuser', 'default', `+${command}`)
      const { members, pending } = await registry.roster(owner)

      expect(refused).toMatchObject({ reason: 'no-permission' })
      expect([...members.map(({ handle }) => handle), ...pending]).toEqual(
        expect.arrayContaining([first, second]),
      )
    },
  )
})

describe('ValkeyRegistry over what is no registry', () => {
  const plant: readonly (readonly [type: string, command: readonly string[]])[] = [
    ['string', ['set', 'KEY', 'x']],
    ['list', ['rpush', 'KEY', 'x']],
    ['set', ['sadd', 'KEY', 'x']],
    ['hash', ['hset', 'KEY', 'x', '1']],
    ['zset', ['zadd', 'KEY', '1', 'x']],
    ['stream', ['xadd', 'KEY', '*', 'x', '1']],
  ]

  it.each(verbs)(
    '%s rejects and writes nothing, for every wrong type under every key',
    async (_name, call) => {
      const { registry, keysOf } = openRegistry(client)
      let refusals = 0
      for (const [index, ownType] of ['zset', 'zset', 'zset', 'hash', 'zset', 'zset'].entries()) {
        for (const [, command] of plant.filter(([type]) => type !== ownType)) {
          const { owner, handle } = await populate(registry)
          const keys = keysOf(owner)
          await client.callBuffer('del', keys[index] ?? '')
          const [name = '', ...args] = command.map((word) => (word === 'KEY' ? (keys[index] ?? '') : word))
          await client.callBuffer(name, ...args)
          const before = await dump(client, keys)

          await expect(call(registry, owner, handle)).rejects.toThrow(SessionInvalidError)
          expect(await dump(client, keys)).toEqual(before)
          refusals += 1
        }
      }
      expect(refusals).toBe(30)
    },
  )

  it.each(verbs)(
    '%s rejects and writes nothing, for an epoch or order that is no whole number',
    async (_name, call) => {
      const { registry, keysOf } = openRegistry(client)
      for (const field of ['epoch', 'order']) {
        for (const value of ['', 'x', '-1', '1.5', 'nan', 'inf', '9007199254740993', '1'.repeat(100_000)]) {
          const { owner, handle } = await populate(registry)
          await client.callBuffer('hset', keysOf(owner)[3], field, value)
          const before = await dump(client, keysOf(owner))

          await expect(call(registry, owner, handle)).rejects.toThrow(SessionInvalidError)
          expect(await dump(client, keysOf(owner))).toEqual(before)
        }
      }
    },
  )

  it('leaves foreign names out of the roster and goes on', async () => {
    const { registry, keysOf } = openRegistry(client)
    const { owner } = await populate(registry)
    const before = await registry.roster(owner)
    const [orders, expiries, pending, state, left] = keysOf(owner)
    const farMs = String(Date.now() + HOUR_MS)
    for (const [key, score] of [
      [orders, '1'],
      [expiries, farMs],
      [pending, '1'],
      [left, '1'],
    ] as const) {
      await client.callBuffer('zadd', key, score, 'foreign')
    }
    await client.callBuffer('hset', state, 'foreign', 'x')

    expect(await registry.roster(owner)).toEqual(before)
    expect(await registry.enroll(owner, enrolment(newHandle()))).toMatchObject({ pending: before.pending })
    const raised = await registry.raise(owner, { keepMs: HOUR_MS })
    expect(raised.members.slice(0, -1)).toEqual(before.members)
  })

  it.each([0, 1, 2, 3, 4, 5])(
    'lets nobody back in who was out when the key at index %i was lost',
    async (index) => {
      const { registry, keysOf } = openRegistry(client)
      const { owner } = await populate(registry)
      const { epoch, members, pending } = await registry.roster(owner)
      await client.callBuffer('del', keysOf(owner)[index] ?? '')

      for (const handle of pending)
        expect(await registry.standing(owner, handle)).toMatchObject({ isMember: false })
      const isKept = index === 2 || index >= 4
      for (const { handle } of members) {
        const standing = await registry.standing(owner, handle)
        expect(standing.isMember && standing.epoch === epoch).toBe(isKept)
      }
      const newest = newHandle()
      await registry.enroll(owner, enrolment(newest, { cap: 1 }))
      await registry.enroll(owner, enrolment(newest, { cap: 1 }))
      expect(memberHandles(await registry.roster(owner))).toEqual([newest])
    },
  )
})

describe('ValkeyRegistry under a server with faults', () => {
  it('takes everything but enrolments when memory is full', async () => {
    const { registry } = openRegistry(client)
    const { owner, handle } = await populate(registry)
    const before = await registry.roster(owner)
    await client.callBuffer('config', 'set', 'maxmemory', '1')
    try {
      const refused = registry.enroll(owner, enrolment(newHandle()))
      await expect(refused).rejects.toThrow(StoreUnavailableError)
      await expect(refused).rejects.toMatchObject({ reason: 'out-of-memory' })
      expect(await registry.roster(owner)).toEqual(before)
      expect(await registry.extend(owner, { handle, ttlMs: HOUR_MS })).toMatchObject({ isMember: true })
      expect(await registry.standing(owner, handle)).toMatchObject({ isMember: true })
      expect((await registry.raise(owner, { keepMs: HOUR_MS })).epoch).toBeGreaterThan(before.epoch)
      await registry.withdraw(owner, withdrawal([handle], { departed: [departed(handle)] }))
      expect(await registry.standing(owner, handle)).toMatchObject({ isMember: false })
    } finally {
      await client.callBuffer('config', 'set', 'maxmemory', '0')
    }
  })

  it('asks no replica, not even for a standing', async ({ onTestFinished }) => {
    const replica = await startValkey({ args: ['--replicaof', `127.0.0.1 ${server.port}`] })
    onTestFinished(() => replica.stop())
    // Our own clients leave a server that says READONLY, and fail to connect from then on.
    const onReplica = replica.client({ enableOfflineQueue: false, maxRetriesPerRequest: 0 })
    const { registry } = openRegistry(onReplica)
    for (const [, call] of verbs) {
      const refused = call(registry, newOwner(), newHandle())
      await expect(refused).rejects.toThrow(StoreUnavailableError)
      await expect(refused).rejects.toMatchObject({ reason: 'read-only' })
    }
  })
})

/** The client, and the names of the commands it is given. */
function countingClient(inner: ValkeyClient): { counting: ValkeyClient; sent: string[] } {
  const sent: string[] = []
  const callBuffer: ValkeyClient['callBuffer'] = (command, ...args) => {
    sent.push(command)
    return inner.callBuffer(command, ...args)
  }
  return { counting: Object.create(inner, { callBuffer: { value: callBuffer } }) as ValkeyClient, sent }
}
