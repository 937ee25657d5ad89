/** The program of watch-processes.test.ts: ends sessions when it is told to, and tells when it has. */

import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import { SECRET } from '../store/parts-store.ts'

/** What to end: one session, or all of a user. */
export interface EndOrder {
  readonly handle?: string
  readonly userId?: string
}

const { url, prefix } = JSON.parse(process.argv[2] ?? '') as { url: string; prefix: string }
const store = new ValkeyStore({
  connection: { url },
  prefix,
  secrets: [SECRET],
  connectTimeoutMs: 10_000,
  commandTimeoutMs: 10_000,
})

process.on('message', async ({ handle, userId }: EndOrder) => {
  if (handle !== undefined) await store.registry.end({ handle }, { reason: 'elsewhere' })
  if (userId !== undefined) await store.registry.endAll(userId, { reason: 'elsewhere' })
  process.send?.('ended')
})

await store.health()
process.send?.('ready')

// The parent has closed the channel, or is gone.
process.once('disconnect', () => process.exit())
