import { onTestFinished } from 'vitest'
import type { ValkeyConnection } from '../../lib/backend/valkey/connection/connection.ts'
import { ValkeyStore } from '../../lib/store/valkey-store.ts'
import type { PlantedSecret } from './planted-secret.ts'
import type { NamedStore } from './store-under-test.ts'
import { BREAKER, TIMING } from './timing.ts'

export interface StoreSetTerms {
  readonly planted: PlantedSecret
  /** `maxSessionsPerUser` of the stores. */
  readonly cap: number
  /** How each store is connected. */
  readonly connections: readonly ValkeyConnection[]
}

/** Stores of one app on several machines, closed when the test is over. The last rejects conflicts, every second has a breaker. */
export function openStores({ planted, cap, connections }: StoreSetTerms): NamedStore[] {
  const secrets = [planted.secret('sealing')]
  const stores = connections.map((connection, index): NamedStore & { readonly store: ValkeyStore } => {
    const rejects = index === connections.length - 1
    const store = new ValkeyStore({
      connection,
      secrets,
      maxSessionsPerUser: cap,
      touchAfter: 0,
      concurrency: rejects ? 'reject' : 'merge',
      breaker: index % 2 === 0 ? BREAKER : false,
      ...TIMING,
    })
    return { name: `store ${index}`, store, rejects }
  })
  onTestFinished(async () => void (await Promise.all(stores.map(({ store }) => store.close()))))
  return stores
}
