import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Backend } from '../../../lib/backend/backend.ts'
import type { Registry } from '../../../lib/backend/registry.ts'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { until } from '../../support/until.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import { listen, listenInForce } from '../contract/notices.ts'
import {
  absent,
  allHandles,
  ending,
  LONG_MS,
  newBlob,
  newHandle,
  version,
  write,
} from '../contract/subject.ts'
import { backendContract } from '../contract.ts'
import { departed, enrolment, HOUR_MS, newOwner, withdrawal } from '../registry/subject.ts'
import { registryContract } from '../registry-contract.ts'
import { openRegistry } from './registry-subjects.ts'
import {
  documentedRights,
  newPrefix,
  openBackend,
  openClient,
  openReadyClient,
  passTo,
  serverMs,
} from './subjects.ts'

// The prefixes of this folder's tests begin with t.
const RIGHTS = documentedRights()
const KEYS = ['r', 'e', 'o', 'x', 'p', 's', 'd', 'u', 'k'].map((letter) => `~t*:${letter}:*`)
const CHANNEL = '&t*:n'
// INFO is used by the client alone, which does without it, but says so on the console.
const SILENT = ['info', 'subscribe']
const PASSWORD = 'only-for-this-test'

// Each with as many arguments as it demands: the number is looked at before the right.
const FOREIGN = [
  ...['acl list', 'append t:r:{x} y', 'bgrewriteaof', 'bgsave', 'client list', 'client kill 1.2.3.4:5'],
  ...[
    'client pause 1',
    'cluster nodes',
    'command count',
    'config get *',
    'config set maxmemory 1',
    'copy t:r:{x} t:r:{y}',
  ],
  ...[
    'dbsize',
    'debug sleep 0',
    'decr t:r:{x}',
    'del t:r:{x}',
    'dump t:r:{x}',
    'expire t:r:{x} 1',
    'failover',
  ],
  ...[
    'flushall',
    'flushdb',
    'function list',
    'get t:r:{x}',
    'getset t:r:{x} y',
    'keys *',
    'lastsave',
    'latency latest',
  ],
  ...[
    'memory stats',
    'migrate 127.0.0.1 1 t:r:{x} 0 1',
    'module list',
    'monitor',
    'move t:r:{x} 1',
    'mset t:r:{x} y',
  ],
  ...[
    'persist t:r:{x}',
    'psync ? -1',
    'randomkey',
    'rename t:r:{x} t:r:{y}',
    'replicaof no one',
    'replconf a b',
  ],
  ...[
    'restore t:r:{x} 0 y',
    'role',
    'sadd t:r:{x} y',
    'save',
    'script flush',
    'shutdown nosave',
    'slowlog get',
  ],
  ...['swapdb 0 1', 'sync', 'touch t:r:{x}', 'wait 1 1', 'zrangebyscore t:o:{x} 0 1'],
]

let server: ValkeyServer
let admin: Redis
let client: ValkeyClient

beforeAll(async () => {
  server = await startValkey()
  admin = server.client()
  await grant('app', RIGHTS)
  client = await openReadyClient({ url: server.url, username: 'app', password: PASSWORD })
})

afterAll(async () => {
  client.disconnect()
  await server.stop()
})

async function grant(user: string, rights: readonly string[], channel = CHANNEL): Promise<void> {
  await admin.acl(
    'SETUSER',
    user,
    'reset',
    'on',
    `>${PASSWORD}`,
    'resetchannels',
    ...(channel === '' ? [] : [channel]),
    ...KEYS,
    '-@all',
    ...rights.map((right) => `+${right}`),
  )
}

backendContract('on Valkey with the least rights', async () => ({
  backend: openBackend(client),
  passTo: (timeMs) => passTo(client, timeMs),
}))

registryContract('on Valkey with the least rights', async () => openRegistry(client, admin))

describe('the rights', () => {
  it(`do not cover any of ${FOREIGN.length} commands that are not needed`, async () => {
    expect(FOREIGN.length).toBeGreaterThanOrEqual(40)
    const outcomes = await Promise.all(
      FOREIGN.map(async (line) => {
        const [command = '', ...args] = line.split(' ')
        const outcome = client.callBuffer(command, ...args).catch((error: Error) => error.message)
        return String(await outcome).startsWith('NOPERM') ? [] : [line]
      }),
    )

    expect(outcomes.flat()).toEqual([])
  })

  it('do not cover keys of others, also not inside a script', async () => {
    await expect(client.callBuffer('eval', 'return 1', 1, 'foreign')).rejects.toThrow(/^NOPERM/)
    await expect(client.callBuffer('getrange', 'foreign', 0, 1)).rejects.toThrow(/^NOPERM/)
    const script = "return redis.call('GETRANGE', 'foreign', 0, 1)"
    await expect(client.callBuffer('eval', script, 0)).rejects.toThrow(/ACL failure|NOPERM/)
  })

  it.each(RIGHTS.filter((right) => !SILENT.includes(right)))('need %s', async (right) => {
    await grant(
      'lacking',
      RIGHTS.filter((other) => other !== right),
    )
    const lacking = openClient({ url: server.url, username: 'lacking', password: PASSWORD })
    const backend = openBackend(lacking, { ownsClient: true })
    onTestFinished(() => backend.close())
    await admin.script('FLUSH')

    await expect(useEverything(backend)).rejects.toMatchObject({ reason: 'no-permission' })
  })

  it.each([
    ['subscribe', RIGHTS.filter((right) => right !== 'subscribe'), CHANNEL],
    ['the channel', RIGHTS, '&t*:other'],
  ])('need %s to hear of endings, and its lack hinders nothing else', async (_name, rights, channel) => {
    await grant('deaf', rights, channel)
    const prefix = newPrefix()
    const connection = { url: server.url, username: 'deaf', password: PASSWORD }
    const backend = openBackend(openClient(connection), { ownsClient: true, prefix })
    onTestFinished(() => backend.close())
    const deaf = listen(backend)
    const hearing = await listenInForce(openBackend(client, { prefix }))
    await openBackend(client, { prefix }).end(newHandle(), ending)
    await until(() => hearing.notices.length > 0)

    expect(await backend.put(newHandle(), write(absent, newBlob()))).toMatchObject({ answer: 'stored' })
    expect([deaf.gaps, deaf.notices]).toEqual([0, []])
    await grant('deaf', RIGHTS)
    await until(() => deaf.gaps > 0)
    hearing.unsubscribe()
  })

  it('need the channel to end anything, and nothing is ended without it', async () => {
    await grant('mute', RIGHTS, '')
    const backend = openBackend(openClient({ url: server.url, username: 'mute', password: PASSWORD }), {
      ownsClient: true,
    })
    onTestFinished(() => backend.close())
    const handle = newHandle()
    await backend.put(handle, write(absent, newBlob()))

    await expect(backend.end(handle, ending)).rejects.toMatchObject({ reason: 'no-permission' })
    expect(await backend.get(handle, 1000)).toBeDefined()
    expect(await backend.ending(handle)).toBeUndefined()
  })

  it('taken away at run time are a refusal, not a missing record', async () => {
    await grant('passing', RIGHTS)
    const backend = openBackend(openClient({ url: server.url, username: 'passing', password: PASSWORD }), {
      ownsClient: true,
    })
    onTestFinished(() => backend.close())
    const handle = newHandle()
    await backend.put(handle, write(absent, newBlob()))
    await admin.acl('SETUSER', 'passing', '-getrange')

    await expect(backend.get(handle, 1000)).rejects.toMatchObject({
      code: 'ERR_STORE_UNAVAILABLE',
      reason: 'no-permission',
    })
  })
})

async function useEverything(backend: Backend): Promise<void> {
  const [handle, blob] = [newHandle(), newBlob()]
  await backend.ping()
  await backend.now()
  await backend.put(handle, write(absent, blob))
  await backend.put(handle, write(version(blob), newBlob()))
  await backend.get(handle, 1000)
  await backend.touch(handle, LONG_MS)
  await allHandles(backend)
  await backend.end(handle, ending)
  await backend.ending(handle)
  await backend.mark('mark')
  await useRegistry(backend.registry)
  expect(await serverMs(admin)).toBeGreaterThan(0)
}

async function useRegistry(registry: Registry): Promise<void> {
  const [owner, first, second] = [newOwner(), newHandle(), newHandle()]
  await registry.enroll(owner, enrolment(first, { cap: 1 }))
  await registry.enroll(owner, enrolment(second, { cap: 1 }))
  await registry.extend(owner, { handle: second, ttlMs: HOUR_MS })
  await registry.standing(owner, second)
  await registry.raise(owner, { keepMs: HOUR_MS })
  await registry.withdraw(owner, withdrawal([first], { departed: [departed(first)] }))
  await registry.roster(owner)
  await registry.count(owner)
}
