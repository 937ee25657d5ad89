import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { CommandSender, ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { defineScript } from '../../../lib/backend/valkey/scripts/script.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import { absent, any, ending, LONG_MS, newBlob, newHandle, write } from '../contract/subject.ts'
import { commandCounts, openBackend, openReadyClient } from './subjects.ts'

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

/** Makes all calls at once, with a flush of the server's scripts among them. */
async function flushedAmid<Reply>(
  handles: readonly string[],
  call: (handle: string) => Promise<Reply>,
): Promise<Reply[]> {
  const calls = handles.map((handle, at) => {
    if (at === handles.length / 2) client.callBuffer('script', 'flush')
    return call(handle)
  })
  return Promise.all(calls)
}

async function callAll(): Promise<void> {
  const backend = openBackend(client)
  const handle = newHandle()
  expect(await backend.put(handle, write(absent, newBlob()))).toMatchObject({ answer: 'stored' })
  expect(await backend.touch(handle, LONG_MS)).toBeGreaterThan(0)
  expect(await backend.end(handle, ending)).toMatchObject({ answer: 'ended' })
  await backend.close()
}

describe('a script', () => {
  it('is sent in full once and by its digest ever after', async () => {
    await client.callBuffer('script', 'flush')
    await client.callBuffer('config', 'resetstat')
    for (let round = 0; round < 10; round += 1) await callAll()

    const counts = await commandCounts(client)
    expect([counts.get('eval'), counts.get('evalsha')]).toEqual([3, 30])
  })

  it('survives a flush between calls', async () => {
    for (let round = 0; round < 20; round += 1) {
      await client.callBuffer('script', 'flush')
      await callAll()
    }
  })

  it('survives 600 foreign scripts, which push it out of the cache', async () => {
    await callAll()
    for (let count = 0; count < 600; count += 1) await client.callBuffer('eval', `return ${count}`, 0)
    await callAll()
  })

  it('survives flushes while 3,000 calls run', async () => {
    const backend = openBackend(client)
    const handles = Array.from({ length: 1000 }, newHandle)
    for (let start = 0; start < handles.length; start += 50) {
      const batch = handles.slice(start, start + 50)
      const stored = await flushedAmid(batch, (handle) => backend.put(handle, write(any, newBlob())))
      await flushedAmid(batch, (handle) => backend.touch(handle, LONG_MS))
      const ended = await flushedAmid(batch, (handle) => backend.end(handle, ending))
      expect(new Set([...stored, ...ended].map(({ answer }) => answer))).toEqual(new Set(['stored', 'ended']))
    }
  })

  it('is not sent in full for any other error', async () => {
    const script = defineScript('return redis.error_reply("OTHER error")')
    await expect(run(script, client)).rejects.toThrow('OTHER error')
    await client.callBuffer('config', 'resetstat')

    await expect(run(script, client)).rejects.toThrow('OTHER error')
    expect((await commandCounts(client)).get('eval')).toBeUndefined()
  })

  // A fake sender, as no server can be made to answer NOSCRIPT at a chosen moment.
  it('is not sent in full after its caller has given up', async () => {
    const sent: string[] = []
    const sender: CommandSender = {
      callBuffer: async (command) => {
        sent.push(command)
        throw new Error('NOSCRIPT No matching script.')
      },
    }

    await expect(run(defineScript('return 1'), sender, false)).rejects.toThrow('NOSCRIPT')
    expect(sent).toEqual(['evalsha'])
  })
})

function run(
  script: ReturnType<typeof defineScript>,
  sender: CommandSender,
  isAwaited = true,
): Promise<unknown> {
  return script.send(sender, [0], { isAwaited })
}
