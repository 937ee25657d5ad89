import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ValkeyClient } from '../../../lib/backend/valkey/connection/client.ts'
import { startValkey, type ValkeyServer } from '../../support/valkey.ts'
import { newPrefix, openBackend, openReadyClient, serverMs } from './subjects.ts'

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

const COUNT = 200
const TTL_MS = 100_000
const HARD_END_MS = 50_000

// A process whose wall clock is wrong from the start and steps back and forth while it works.
const program = (skewMs: number, url: string, prefix: string) => `
  const trueNow = Date.now
  let skewMs = ${skewMs}
  Date.now = () => trueNow() + skewMs
  const { createValkeyClient } = await import('./lib/backend/valkey/connection/connection.ts')
  const { ValkeyBackend } = await import('./lib/backend/valkey/valkey-backend.ts')
  const { randomBytes } = await import('node:crypto')
  const limits = { commandTimeoutMs: 3000, connectTimeoutMs: 3000 }
  const client = createValkeyClient({ url: '${url}' }, limits)
  const backend = new ValkeyBackend({ client, prefix: '${prefix}', maxBlobBytes: 1000, ownsClient: true, ...limits })
  const written = []
  for (let index = 0; index < ${COUNT}; index += 1) {
    skewMs = -skewMs
    const handle = randomBytes(32).toString('base64url')
    const endsAtMs = index % 2 === 0 ? (await backend.now()) + ${HARD_END_MS} : undefined
    await backend.put(handle, { expect: { kind: 'absent' }, blob: randomBytes(50), ttlMs: ${TTL_MS}, endsAtMs })
    await backend.touch(handle, ${TTL_MS})
    written.push(handle)
  }
  const nowMs = await backend.now()
  console.log(JSON.stringify({ nowMs, written }))
  await backend.close()
`

describe('a process with a wrong clock', () => {
  it.each([-86_400_000, -300_000, 300_000, 86_400_000])(
    '%i ms off writes what expires at the time of the server',
    async (skewMs) => {
      const prefix = newPrefix()
      const startMs = await serverMs(client)
      const args = ['--import', 'tsx', '--input-type=module', '--eval', program(skewMs, server.url, prefix)]
      const { stdout } = await promisify(execFile)(process.execPath, args)
      const endMs = await serverMs(client)
      const { nowMs, written } = JSON.parse(stdout) as { nowMs: number; written: string[] }

      expect(written).toHaveLength(COUNT)
      expect(nowMs).toBeGreaterThanOrEqual(startMs - 1)
      expect(nowMs).toBeLessThanOrEqual(endMs + 1)
      const backend = openBackend(client, { prefix })
      for (const [index, handle] of written.entries()) {
        const lifetimeMs = index % 2 === 0 ? HARD_END_MS : TTL_MS
        const found = await backend.get(handle, 1000)
        const expiresAtMs = typeof found === 'object' ? found.expiresAtMs : 0
        expect(await client.callBuffer('pexpiretime', `${prefix}:r:{${handle}}`)).toBe(expiresAtMs)
        expect(expiresAtMs).toBeGreaterThanOrEqual(startMs + lifetimeMs - 1)
        expect(expiresAtMs).toBeLessThanOrEqual(endMs + lifetimeMs + 1)
      }
      await backend.close()
    },
  )
})
