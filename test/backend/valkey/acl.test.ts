import type { Redis } from 'iovalkey'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import type { Backend } from '../../../lib/backend/backend.ts'
import type { Registry } from '../../../lib/backend/registry.ts'
import type { ValkeyClient } from '../../../lib/backend/valkey/client.ts'
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
const KEYS = ['r', 'e', 'o', 'x', 'p', 's', 'd'].map((letter) => `~t*:${letter}:*`)
const CHANNEL = '&t*:n'
// INFO is used by the client alone, which does without it, but says so on the console.
const SILENT = ['info', 'subscribe']
const PASSWORD = 'only-for-this-test'

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
  it('cover nothing else', async () => {
    const denied = [
      ['keys', '*'],
      ['flushall'],
      ['config', 'get', '*'],
      ['script', 'flush'],
      ['get', 't:r:{x}'],
      ['del', 't:r:{x}'],
    ]
    for (const [command = '', ...args] of denied)
      await expect(client.callBuffer(command, ...args)).rejects.toThrow(/^NOPERM/)
    await expect(client.callBuffer('eval', 'return 1', 1, 'foreign')).rejects.toThrow(/^NOPERM/)
    await expect(client.callBuffer('getrange', 'foreign', 0, 1)).rejects.toThrow(/^NOPERM/)
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
}
